/* Environments, secrets and folders for a start. */
#include "daemon/kinds/prepare.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/file.h"
#include "common/nonce.h"

extern char **environ;

void list_add(struct list *list, const char *format, ...)
{
    char *item = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&item, format, args);
    va_end(args);
    char **items = n < 0 ? NULL : realloc(list->items, (list->count + 2) * sizeof *items);
    if (!items) {
        free(n < 0 ? NULL : item);
        list->failed = true;
        return;
    }
    list->items = items;
    items[list->count++] = item;
    items[list->count] = NULL;
}

char **list_take(struct list *list)
{
    char **items = list->items;
    if (list->failed || !items) {
        for (size_t i = 0; i < list->count; i++) {
            free(items[i]);
        }
        free(items);
        items = NULL;
    }
    *list = (struct list){0};
    return items;
}

static bool is_allowed(const char *assignment)
{
    static const char *const names[] = {"HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE",
        "TZ", "TMPDIR", "MODULEPATH", "MODULESHOME", "BASH_ENV", "SLURM_CONF", "http_proxy",
        "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "GEARS_HOME",
        "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"};
    size_t length = strcspn(assignment, "=");
    if (!strncmp(assignment, "LC_", 3) || !strncmp(assignment, "LMOD_", 5)) {
        return true;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i]) == length && !strncmp(assignment, names[i], length)) {
            return true;
        }
    }
    return false;
}

void prepare_environment(
    const struct service_config *service, const char *bin, struct list *env)
{
    const char *path = getenv("PATH");
    path = path ? path : "/usr/local/bin:/usr/bin:/bin";
    for (char **item = environ; *item; item++) {
        if (is_allowed(*item)) {
            list_add(env, "%s", *item);
        }
    }
    if (bin) {
        list_add(env, "PATH=%s:%s", bin, path);
    } else {
        list_add(env, "PATH=%s", path);
    }
    for (char **item = service->environment; item && *item; item++) {
        if (strchr(*item, '=')) {
            list_add(env, "%s", *item);
        }
    }
}

void prepare_argv(const struct service_config *service, struct list *plain, struct list *argv)
{
    if (service->modules || service->setup) {
        list_add(argv, "/bin/bash");
        list_add(argv, "-lc");
        list_add(argv, "%s%s%s%s\n%s\nexec \"$@\"", service->modules ? "module load " : "",
            service->modules ? service->modules : "",
            service->modules ? " || { echo 'gears: module load failed' >&2; exit 78; }" : "",
            "", service->setup ? service->setup : "");
        list_add(argv, "bash");
    }
    for (size_t i = 0; i < plain->count; i++) {
        list_add(argv, "%s", plain->items[i]);
    }
    argv->failed = argv->failed || plain->failed;
    for (size_t i = 0; i < plain->count; i++) {
        free(plain->items[i]);
    }
    free(plain->items);
    *plain = (struct list){0};
}

int prepare_cwd(const struct service_config *service, char **cwd, struct error *err)
{
    const char *home = getenv("HOME");
    const char *path = service->cwd         ? service->cwd
                       : service->workspace ? service->workspace
                       : home               ? home
                                            : "/";
    struct stat st;
    if (stat(path, &st) || !S_ISDIR(st.st_mode)) {
        return error_set(err, -ENOTDIR, "the folder %s does not exist; make it or change %s",
            path, service->cwd ? "cwd" : "workspace");
    }
    *cwd = strdup(path);
    return *cwd ? 0 : error_set(err, -ENOMEM, "out of memory");
}

int prepare_secret(const char *path, size_t bytes, char **secret, struct error *err)
{
    char text[129] = "";
    struct stat st;
    if (lstat(path, &st)) {
        nonce_hex(text, bytes <= 64 ? bytes : 64);
        int code = file_write_atomic(path, text, strlen(text), 0600, err);
        explicit_bzero(text, sizeof text);
        if (code) {
            return code;
        }
    } else if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077)) {
        return error_set(err, -EPERM, "%s is not a private file of yours; remove it", path);
    }
    return secret ? file_read(path, 1024, secret, NULL, err) : 0;
}

int prepare_env_dir(const struct home *home, const struct service_config *service,
    char out[PATH_MAX], struct error *err)
{
    char python[PATH_MAX + 16];
    struct utsname uts;
    const char *name = service->env ? service->env : "default";
    if (name[0] == '/') {
        snprintf(out, PATH_MAX, "%s", name);
    } else {
        uname(&uts);
        for (char *c = uts.sysname; *c; c++) {
            *c = (char)tolower((unsigned char)*c);
        }
        snprintf(out, PATH_MAX, "%s/env/%s-%s/%s", home->root, uts.sysname, uts.machine, name);
    }
    snprintf(python, sizeof python, "%s/bin/python", out);
    if (access(python, X_OK)) {
        snprintf(python, sizeof python, "%s/bin/python3", out);
    }
    return access(python, X_OK)
               ? error_set(err, -ENOENT,
                     "there is no Python environment in %s; run: gearsctl init", out)
               : 0;
}
