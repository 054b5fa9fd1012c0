/* The files of the configuration on disk: site packs, the site's file, the user's. Runs on a
 * worker or before the loop does; called by config_job.c and at the start. */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "daemon/core/config.h"

enum { FILE_LIMIT = 1 << 20 };

/* A missing file gives NULL. */
static int read_file(const char *path, char **text, struct text *errors)
{
    struct error err;
    size_t length = 0;
    int code = file_read(path, FILE_LIMIT, text, &length, &err);
    if (code == -ENOENT || code == -ENOTDIR) {
        return 0;
    }
    if (code) {
        text_printf(errors, "%s\n", err.text);
    } else if (strlen(*text) != length) {
        code = -EINVAL;
        text_printf(errors, "%s: holds a NUL byte; it is no text file\n", path);
    }
    return code;
}

/* The site may put a file "disabled" beside its gears.conf; its text is the reason. */
static int read_disabled(const char *site, char **text, struct text *errors)
{
    char path[PATH_MAX];
    const char *slash = strrchr(site, '/');
    snprintf(path, sizeof path, "%.*sdisabled", slash ? (int)(slash + 1 - site) : 0, site);
    int code = read_file(path, text, errors);
    if (!code && *text) {
        (*text)[strcspn(*text, "\r\n")] = 0;
        if (!**text) {
            free(*text);
            *text = strdup("Gears is switched off on this host by its administrators");
        }
    }
    return code;
}

/* The packs in the folder, by name. `found` keeps their paths; the caller frees both. */
static int read_packs(const char *share, glob_t *found, struct config_file **packs,
    size_t *count, struct text *errors)
{
    char pattern[PATH_MAX + 32];
    int code = 0;
    snprintf(pattern, sizeof pattern, "%s/clusters/*.conf", share ? share : "");
    int globbed = share ? glob(pattern, 0, NULL, found) : GLOB_NOMATCH;
    if (globbed == GLOB_NOMATCH) {
        return 0;
    }
    if (globbed || found->gl_pathc > CONFIG_CLUSTERS) {
        text_printf(errors, "%s: %s\n", pattern,
            globbed ? "cannot be listed" : "more packs than Gears has room for");
        return -EINVAL;
    }
    *packs = calloc(found->gl_pathc, sizeof **packs);
    for (size_t i = 0; *packs && !code && i < found->gl_pathc; i++) {
        char *text = NULL;
        code = read_file(found->gl_pathv[i], &text, errors);
        (*packs)[(*count)++] = (struct config_file){found->gl_pathv[i], text};
    }
    return *packs ? code : -ENOMEM;
}

int config_load(
    const struct home *home, const char *share, struct config **config, struct text *errors)
{
    const char *site = getenv("GEARS_SITE_CONFIG");
    char user[PATH_MAX], *site_text = NULL, *user_text = NULL, *disabled = NULL;
    struct config_file *packs = NULL;
    size_t count = 0;
    glob_t found = {0};
    site = site ? site : "/etc/gears/gears.conf";
    snprintf(user, sizeof user, "%s/etc/gears.conf", home->root);
    int code = read_packs(share, &found, &packs, &count, errors);
    code = code ? code : read_file(site, &site_text, errors);
    code = code ? code : read_disabled(site, &disabled, errors);
    code = code ? code : read_file(user, &user_text, errors);
    struct config_files files = {packs, count, {site, site_text}, {user, user_text}};
    code = code ? code : config_parse(&files, config, errors);
    if (!code && disabled) {
        free((*config)->disabled);
        (*config)->disabled = disabled;
        disabled = NULL;
    }
    for (size_t i = 0; i < count; i++) {
        free((char *)packs[i].text);
    }
    free(packs);
    globfree(&found);
    free(disabled);
    free(site_text);
    free(user_text);
    return code;
}
