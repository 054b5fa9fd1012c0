/* GEARS_HOME and the folders in it. */
#include "common/home.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"

int home_init(struct home *home, struct error *err)
{
    const char *root = getenv("GEARS_HOME");
    const char *user_home = getenv("HOME");
    int length;
    if (root && *root) {
        length = snprintf(home->root, sizeof home->root, "%s", root);
    } else if (user_home && *user_home == '/') {
        length = snprintf(home->root, sizeof home->root, "%s/gears", user_home);
    } else {
        return error_set(err, -EINVAL, "neither GEARS_HOME nor HOME is set; set HOME");
    }
    if (home->root[0] != '/') {
        return error_set(
            err, -EINVAL, "GEARS_HOME is \"%s\"; it must be an absolute path", home->root);
    }
    if (length >= (int)sizeof home->root) {
        return error_set(
            err, -ENAMETOOLONG, "GEARS_HOME is longer than %zu bytes", sizeof home->root - 1);
    }
    while (length > 1 && home->root[length - 1] == '/') {
        home->root[--length] = 0;
    }
    if (length == 1) { /* its run and log would be the system's */
        return error_set(err, -EINVAL, "GEARS_HOME is \"/\"; set it to a folder of its own");
    }
    int code = host_name(home->host, err);
    return code ? code : host_boot_id(home->boot_id, err);
}

int home_path(
    const struct home *home, char out[PATH_MAX], const char *area, const char *format, ...)
{
    int used = snprintf(out, PATH_MAX, "%s/%s/%s", home->root, area, home->host);
    va_list args;
    va_start(args, format);
    char rest[PATH_MAX / 2];
    int length = vsnprintf(rest, sizeof rest, format, args);
    va_end(args);
    if (used >= PATH_MAX || length < 0 || length >= (int)sizeof rest ||
        used + 1 + length >= PATH_MAX) {
        return -ENAMETOOLONG;
    }
    if (length) {
        snprintf(out + used, PATH_MAX - (size_t)used, "/%s", rest);
    }
    return 0;
}

static int check_root(const struct home *home, struct error *err)
{
    struct stat st;
    if (mkdir(home->root, 0700) && errno != EEXIST) {
        return error_errno(err, -errno, "cannot make %s", home->root);
    }
    if (stat(home->root, &st)) {
        return error_errno(err, -errno, "cannot look at %s", home->root);
    }
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid()) {
        return error_set(
            err, -EPERM, "%s must be a folder that belongs to you; set GEARS_HOME", home->root);
    }
    if (st.st_mode & 022) {
        return error_set(err, -EPERM,
            "%s has mode %04o and can be written by others; run: chmod go-w %s", home->root,
            (unsigned)st.st_mode & 07777, home->root);
    }
    return 0;
}

/* <root>/<area>, then <root>/<area>/<host> and the folders `names` in it. */
static int prepare_area(
    const struct home *home, const char *area, const char *const *names, struct error *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", home->root, area);
    int code = dir_ensure_private(path, err);
    for (; !code && *names; names++) {
        code = home_path(home, path, area, "%s", *names);
        code = code ? error_errno(err, code, "%s", home->root) : dir_ensure_private(path, err);
    }
    return code;
}

int home_prepare(const struct home *home, struct error *err)
{
    static const char *const run[] = {"", "own", "link", NULL}, *const state[] = {"", "service",
                                                                    "exit", "secret", NULL};
    int code = check_root(home, err);
    code = code ? code : prepare_area(home, "run", run, err);
    return code ? code : prepare_area(home, "state", state, err);
}

int home_prepare_log(const struct home *home, struct error *err)
{
    static const char *const log[] = {"", NULL};
    return prepare_area(home, "log", log, err);
}

int home_short_dir(const struct home *home, const char *name, size_t limit, char out[PATH_MAX],
    struct error *err)
{
    char pointer[PATH_MAX], *text = NULL;
    if (home_path(home, out, "run", "%s", name) == 0 && strlen(out) <= limit) {
        return dir_ensure_private(out, err);
    }
    if (home_path(home, pointer, "state", "short-%s", name)) {
        return error_set(err, -ENAMETOOLONG, "%s: path too long", home->root);
    }
    if (!file_read(pointer, PATH_MAX - 1, &text, NULL, NULL)) {
        snprintf(out, PATH_MAX, "%s", text);
        free(text);
        if (!strncmp(out, "/tmp/", 5) && !dir_check_private(out, NULL)) {
            return 0;
        }
    }
    snprintf(out, PATH_MAX, "/tmp/gears-XXXXXX");
    if (!mkdtemp(out)) {
        return error_errno(err, -errno, "cannot make a short folder below /tmp");
    }
    int code = file_write_atomic(pointer, out, strlen(out), 0600, err);
    if (code) {
        rmdir(out);
    }
    return code;
}
