/* A cleaner may delete the control socket's file under a living gearsd: clients then find
 * nobody, and no other gearsd may serve while this one holds the lease. So bind it again. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/unixsock.h"
#include "daemon/control/control_private.h"
#include "daemon/core/log.h"

static const char name[] = "gearsd.sck";

/* The descriptor keeps its number: an upgrade hands it on. */
static void bind_again(struct control *control)
{
    char path[PATH_MAX];
    struct error err;
    if (home_path(&control->manager->home, path, "run", "%s", name)) {
        return;
    }
    if (!control->calls.holds(control->calls.context)) {
        log_line("control socket and lease are another gearsd's now; this one ends");
        control->calls.shutdown(control->calls.context, false);
        return;
    }
    if (!access(path, F_OK)) {
        return; /* made again meanwhile */
    }
    /* On the loop: the folder has just answered, and a client waits. */
    int fd = unix_listen(path, SOCK_STREAM, CONTROL_BACKLOG, &err);
    if (fd < 0) {
        log_line("control socket lost cause=\"%s\"", err.text);
        return;
    }
    event_del(control->accept_event);
    int code = dup3(fd, control->listener, O_CLOEXEC) < 0 ? -errno : 0;
    close(fd);
    event_add(control->accept_event, NULL);
    log_line("control socket deleted by another, bound again code=%d", code);
}

static void on_folder(evutil_socket_t fd, short what, void *argument)
{
    _Alignas(struct inotify_event) char events[4096];
    bool gone = false;
    ssize_t n;
    (void)what;
    while ((n = read((int)fd, events, sizeof events)) > 0) {
        for (char *at = events; at < events + n;) {
            struct inotify_event *one = (struct inotify_event *)(void *)at;
            gone = gone || (one->len && !strcmp(one->name, name));
            at += sizeof *one + one->len;
        }
    }
    if (gone) {
        bind_again(argument);
    }
}

void rebind_start(struct control *control)
{
    char folder[PATH_MAX];
    control->folder_watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (control->folder_watch < 0 ||
        home_path(&control->manager->home, folder, "run", "%s", "") ||
        inotify_add_watch(control->folder_watch, folder, IN_DELETE | IN_MOVED_FROM) < 0) {
        log_line("a deleted control socket will not be noticed cause=\"%s\"", strerror(errno));
    } else {
        control->folder_event = event_new(control->manager->base, control->folder_watch,
            EV_READ | EV_PERSIST, on_folder, control);
        if (control->folder_event) {
            event_add(control->folder_event, NULL);
        }
    }
}

void rebind_stop(struct control *control)
{
    if (control->folder_event) {
        event_free(control->folder_event);
    }
    if (control->folder_watch >= 0) {
        close(control->folder_watch);
    }
}
