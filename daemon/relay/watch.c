/* Who deletes or replaces our socket files: inotify on the folders where they are. Tells
 * listener.c of public sockets and control.c of the link. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "daemon/relay/relay.h"

enum { GONE = IN_DELETE | IN_MOVED_FROM };

static bool is_link(const struct relay *relay, const struct inotify_event *event)
{
    const char *name = strrchr(relay->link_path, '/');
    return event->len && name && !strcmp(event->name, name + 1);
}

/* In a folder that other hosts share, another may have put its socket in our place. */
static bool is_replaced(const struct relay *relay, const struct inotify_event *event)
{
    bool is_shared = false;
    for (int i = 0; i < WATCHED_FOLDERS; i++) {
        is_shared |= relay->watched[i].number == event->wd;
    }
    return is_shared && (event->mask & IN_MOVED_TO);
}

/* The folder itself went: when a socket is made there again it is another. */
static void forget_folder(struct relay *relay, int number)
{
    for (int i = 0; i < WATCHED_FOLDERS; i++) {
        if (relay->watched[i].number == number) {
            relay->watched[i].number = 0;
        }
    }
}

static void on_inotify(struct source *source, uint32_t events)
{
    (void)events;
    struct relay *relay =
        (struct relay *)(void *)((char *)source - offsetof(struct relay, watch));
    char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool link = false, files = false;
    ssize_t n;
    while ((n = read(source->fd, buffer, sizeof buffer)) > 0) {
        for (char *at = buffer; at < buffer + n;) {
            const struct inotify_event *event = (const struct inotify_event *)at;
            link = link || is_link(relay, event) || (event->mask & IN_IGNORED);
            files = files || (event->mask & GONE) || is_replaced(relay, event);
            if (event->mask & IN_IGNORED) {
                forget_folder(relay, event->wd);
            }
            at += sizeof *event + event->len;
        }
    }
    if (files) {
        listener_check_files(relay);
    }
    if (link) {
        control_check_link(relay);
    }
}

static void folder_of(const char *path, char *out, size_t size)
{
    const char *slash = strrchr(path, '/');
    snprintf(out, size, "%.*s", slash ? (int)(slash - path) : 0, path);
}

static int watch_folder(struct relay *relay, const char *folder, uint32_t mask)
{
    int number = inotify_add_watch(relay->watch.fd, folder, IN_MASK_ADD | mask);
    return number < 0 ? -errno : number;
}

int watch_start(struct relay *relay)
{
    char folder[PATH_MAX];
    relay->watch = (struct source){on_inotify, inotify_init1(IN_CLOEXEC | IN_NONBLOCK), 0};
    int code = relay->watch.fd < 0 ? -errno : watch_folder(relay, relay->run_dir, GONE);
    if (code >= 0) {
        folder_of(relay->link_path, folder, sizeof folder);
        code = watch_folder(relay, folder, GONE | IN_MOVED_TO);
    }
    code = code < 0 ? code : relay_arm(relay, &relay->watch, EPOLLIN);
    if (code) {
        relay_close(&relay->watch);
    }
    return code;
}

void watch_path(struct relay *relay, const char *path)
{
    char folder[UNIX_PATH_SIZE];
    struct watched *place = NULL;
    folder_of(path, folder, sizeof folder);
    if (relay->watch.fd < 0 || !strcmp(folder, relay->run_dir)) {
        return;
    }
    for (int i = 0; i < WATCHED_FOLDERS; i++) {
        struct watched *watched = &relay->watched[i];
        if (watched->number && !strcmp(watched->folder, folder)) {
            place = watched; /* asked again: the folder may be another by now */
            break;
        }
        place = watched->number ? place : watched;
    }
    int number = place ? watch_folder(relay, folder, GONE | IN_MOVED_TO) : -ENOSPC;
    if (number < 0) {
        relay_log(relay, "deleted sockets will not be noticed folder=%s cause=\"%s\"", folder,
            place ? strerror(-number) : "too many folders");
        return;
    }
    place->number = number;
    snprintf(place->folder, sizeof place->folder, "%s", folder);
}
