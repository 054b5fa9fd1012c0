/* Who deletes our socket files, or the folder they are in: both are made again, or no later
 * gearsd would find a connection that may have cost a human. Tells control.c and feed.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "common/file.h"
#include "daemon/tunnel/tunnel.h"

/* TRIES: a cleaner may take what was just made again. A folder that is itself gone or moved is
 * told by IN_IGNORED or IN_MOVE_SELF. */
enum { TRIES = 5, PATHS = 2, GONE = IN_DELETE | IN_MOVED_FROM | IN_MOVE_SELF };

struct watch {
    struct tunnel *tunnel;
    int fd;
    struct event *event;
    int numbers[PATHS]; /* of the folders watched; −1: none */
};

/* Not the whole way to it: who deletes all of Gears means it. */
static int make_folder(const char *folder, struct error *err)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(folder, '/');
    snprintf(parent, sizeof parent, "%.*s", slash ? (int)(slash - folder) : 0, folder);
    int code = slash && slash > folder ? dir_ensure_private(parent, err) : 0;
    return code && code != -EPERM ? code : dir_ensure_private(folder, err);
}

/* Watch the folder that is there by that name now, made if there is none. */
static int watch_folder(struct watch *watch, int place, const char *path, struct error *err)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 0, path);
    int number = inotify_add_watch(watch->fd, folder, GONE);
    if (number < 0 && errno == ENOENT) {
        int code = make_folder(folder, err);
        if (code) {
            return code;
        }
        number = inotify_add_watch(watch->fd, folder, GONE);
    }
    if (number < 0) {
        return error_errno(err, -errno, "cannot watch %s", folder);
    }
    watch->numbers[place] = number;
    return 0;
}

void watch_check(struct tunnel *tunnel)
{
    struct watch *watch = tunnel->watch;
    struct error err = {0};
    int code = -ENOENT;
    if (!watch) {
        return; /* not yet */
    }
    for (int i = 0; i < TRIES && code == -ENOENT; i++) {
        int old[PATHS];
        memcpy(old, watch->numbers, sizeof old);
        code = watch_folder(watch, 0, tunnel->link_path, &err);
        code = code ? code : watch_folder(watch, 1, tunnel->feed_path, &err);
        for (int n = 0; n < PATHS; n++) {
            if (old[n] >= 0 && old[n] != watch->numbers[0] && old[n] != watch->numbers[1]) {
                inotify_rm_watch(watch->fd, old[n]); /* moved away, or not there any more */
            }
        }
        int link = control_check_link(tunnel, &err);
        int feed = feed_check_path(tunnel, &err);
        code = link ? link : feed ? feed : code;
    }
    if (code) {
        control_log(tunnel, "a deleted socket is not made again cause=\"%s\"", err.text);
    }
}

static void on_inotify(evutil_socket_t fd, short what, void *argument)
{
    (void)what;
    struct watch *watch = argument;
    char buffer[4096];
    while (read((int)fd, buffer, sizeof buffer) > 0) {
    }
    watch_check(watch->tunnel);
}

int watch_start(struct tunnel *tunnel, struct error *err)
{
    struct watch *watch = calloc(1, sizeof *watch);
    tunnel->watch = watch;
    if (!watch) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    *watch = (struct watch){.tunnel = tunnel, .numbers = {-1, -1}};
    watch->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (watch->fd < 0) {
        return error_errno(err, -errno, "cannot watch for deleted files");
    }
    watch->event = event_new(tunnel->base, watch->fd, EV_READ | EV_PERSIST, on_inotify, watch);
    if (!watch->event || event_add(watch->event, NULL)) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    watch_check(tunnel);
    return 0;
}

void watch_stop(struct tunnel *tunnel)
{
    struct watch *watch = tunnel->watch;
    if (!watch) {
        return;
    }
    if (watch->event) {
        event_free(watch->event);
    }
    if (watch->fd >= 0) {
        close(watch->fd);
    }
    free(watch);
    tunnel->watch = NULL;
}
