/* GEARS_HOME and the folders in it. */
#include "common/home.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"

#define SHORT_PREFIX "/tmp/gears-"
/* "/link/k-", a name of 32 bytes and ".sck" follow, within 107. */
enum { RUN_MOST = 107 - 8 - 32 - 4 };

int home_init(struct home *home, struct error *err)
{
    home->run[0] = 0;
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
    bool is_short = home->run[0] && !strcmp(area, "run") && strcmp(format, "gearsd.lease") != 0;
    int used = is_short ? snprintf(out, PATH_MAX, "%s", home->run)
                        : snprintf(out, PATH_MAX, "%s/%s/%s", home->root, area, home->host);
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

/* The folder that a pointer file names, when it can be one of ours. */
static int read_pointer(const char *pointer, char out[HOME_SHORT_SIZE])
{
    char *text = NULL;
    int code = file_read(pointer, HOME_SHORT_SIZE - 1, &text, NULL, NULL);
    if (!code) {
        snprintf(out, HOME_SHORT_SIZE, "%s", text);
        free(text);
        code = strncmp(out, SHORT_PREFIX, sizeof SHORT_PREFIX - 1) ||
                       strchr(out + sizeof SHORT_PREFIX - 1, '/')
                   ? -EBADMSG
                   : 0;
    }
    return code;
}

/* A random name, remembered in `pointer`. One that is remembered and gone (a cleaner, a reboot)
 * is made again: who was given it finds it there. */
static int make_short(const char *pointer, char out[HOME_SHORT_SIZE], struct error *err)
{
    if (!read_pointer(pointer, out) &&
        ((!mkdir(out, 0700) || errno == EEXIST) && !dir_check_private(out, NULL))) {
        return 0;
    }
    snprintf(out, HOME_SHORT_SIZE, SHORT_PREFIX "XXXXXX");
    if (!mkdtemp(out)) {
        return error_errno(err, -errno, "cannot make a short folder below /tmp");
    }
    int code = file_write_atomic(pointer, out, strlen(out), 0600, err);
    if (code) {
        rmdir(out);
    }
    return code;
}

/* Whether the sockets of this host need another folder; its pointer then. */
static bool needs_short(const struct home *home, char pointer[PATH_MAX])
{
    char folder[PATH_MAX];
    struct home plain = *home;
    plain.run[0] = 0;
    return (home_path(&plain, folder, "run", "%s", "") || strlen(folder) > RUN_MOST) &&
           !home_path(home, pointer, "state", "short-run");
}

int home_find_run(struct home *home)
{
    char pointer[PATH_MAX];
    home->run[0] = 0;
    if (!needs_short(home, pointer)) {
        return 0;
    }
    char found[HOME_SHORT_SIZE];
    if (read_pointer(pointer, found) || dir_check_private(found, NULL)) {
        return -ENOENT;
    }
    memcpy(home->run, found, sizeof found);
    return 0;
}

int home_make_run(struct home *home, struct error *err)
{
    char pointer[PATH_MAX], path[PATH_MAX];
    home->run[0] = 0;
    if (!needs_short(home, pointer)) {
        return 0;
    }
    char made[HOME_SHORT_SIZE];
    int code = make_short(pointer, made, err);
    if (code) {
        return code;
    }
    memcpy(home->run, made, sizeof made);
    home_path(home, path, "run", "own");
    code = dir_ensure_private(path, err);
    home_path(home, path, "run", "link");
    return code ? code : dir_ensure_private(path, err);
}

int home_short_dir(const struct home *home, const char *name, size_t limit, char out[PATH_MAX],
    struct error *err)
{
    char pointer[PATH_MAX], made[HOME_SHORT_SIZE];
    if (home_path(home, out, "run", "%s", name) == 0 && strlen(out) <= limit) {
        return dir_ensure_private(out, err);
    }
    if (home_path(home, pointer, "state", "short-%s", name)) {
        return error_set(err, -ENAMETOOLONG, "%s: path too long", home->root);
    }
    int code = make_short(pointer, made, err);
    snprintf(out, PATH_MAX, "%s", code ? "" : made);
    return code;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    remove(path);
    return 0;
}

void home_drop_short(const struct home *home)
{
    char folder[PATH_MAX], pointer[PATH_MAX + NAME_MAX + 2], made[HOME_SHORT_SIZE];
    DIR *dir = home_path(home, folder, "state", "%s", "") ? NULL : opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (strncmp(entry->d_name, "short-", 6) != 0) {
            continue;
        }
        snprintf(pointer, sizeof pointer, "%s/%s", folder, entry->d_name);
        if (!read_pointer(pointer, made) && !dir_check_private(made, NULL)) {
            nftw(made, remove_entry, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
        }
        unlink(pointer);
    }
    if (dir) {
        closedir(dir);
    }
}

void home_drop_sockets(const struct home *home)
{
    static const char *const parts[] = {"", "own", "link"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char folder[PATH_MAX];
        struct stat st;
        DIR *dir = home_path(home, folder, "run", "%s", parts[i]) ? NULL : opendir(folder);
        for (struct dirent *entry; dir && (entry = readdir(dir));) {
            if (!fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
                S_ISSOCK(st.st_mode)) {
                unlinkat(dirfd(dir), entry->d_name, 0);
            }
        }
        if (dir) {
            closedir(dir);
        }
    }
}

void home_program(const struct home *home, char out[PATH_MAX])
{
    char self[PATH_MAX];
    snprintf(out, PATH_MAX, "%s/bin/gearsctl", home->root);
    ssize_t n = access(out, X_OK) ? readlink("/proc/self/exe", self, sizeof self) : -1;
    if (n > 0 && (size_t)n < sizeof self - sizeof "/gearsctl") {
        self[n] = 0;
        char *slash = strrchr(self, '/');
        snprintf(slash ? slash : self, sizeof "/gearsctl", "/gearsctl");
        snprintf(out, PATH_MAX, "%s", self);
    }
}
