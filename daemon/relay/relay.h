/* gears-relay: owns every public listening socket of a host and carries bytes to the services.
 * One epoll loop, libc only; it survives gearsd's death with all its connections. */
#ifndef RELAY_RELAY_H
#define RELAY_RELAY_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

#include "common/error.h"
#include "common/link.h"
#include "common/link_door.h"
#include "common/link_messages.h"
#include "common/nonce.h"
#include "common/relay_counters.h"
#include "common/unixsock.h"
#include "common/unixsock.h"

enum { SERVICE_LISTENERS = 4, WATCHED_FOLDERS = 8 };

/* Whatever epoll watches starts with this: the loop calls `ready`. */
struct source {
    void (*ready)(struct source *source, uint32_t events);
    int fd;
    uint32_t armed; /* what epoll was asked for; 0: it does not know the descriptor */
};

/* Wait for nothing: epoll still tells of a hang-up or error, and being edge-triggered tells it
 * once, where a level would wake the loop again and again. */
#define SOURCE_QUIET ((uint32_t)EPOLLET)

struct relay;
struct service;
struct connection;
struct reach;

struct listener {
    struct source source;
    struct service *service;
    struct listener *next_dead;
    uint16_t port; /* 0: a Unix socket at */
    char path[UNIX_PATH_SIZE];
    struct unix_file bound; /* the file we made there */
    bool lost;              /* another's stands there: not ours to remove or make again */
};

struct service {
    struct service *next;
    struct relay *relay;
    char name[RELAY_NAME_SIZE];
    bool is_fed; /* clients are handed to the tunnel at feed_path, which knows target_path */
    char feed_path[UNIX_PATH_SIZE], target_path[UNIX_PATH_SIZE];
    uint16_t target_port;
    enum link_service_state state;
    char cause[200], command[120];
    int64_t since_us, wait_ms;
    int64_t retry_ms; /* no connect before: the last one found no room, or nobody */
    int slot;
    const struct connection *demander; /* it waits, and gearsd was told; NULL: nobody told */
    struct listener *listeners[SERVICE_LISTENERS];
    struct connection *connections, **last; /* oldest first: who waited longest goes first */
};

struct relay {
    int epoll;
    struct source link, controller, watch; /* link: the door; watch: inotify */
    struct watched {
        int number; /* inotify's; 0: free */
        char folder[UNIX_PATH_SIZE];
    } watched[WATCHED_FOLDERS]; /* of public sockets that are not in run_dir */
    struct link_door door;
    struct unix_file link_bound;
    bool lost; /* link_path is not ours any more and could not be made again */
    char run_dir[PATH_MAX], link_path[PATH_MAX], nonce[NONCE_TEXT_SIZE], build[48];
    bool draining;
    bool paused; /* no descriptor left: listeners are deaf until resume_ms or a close */
    int64_t resume_ms, exhausted_told_ms;
    struct service *services;
    struct reach *reach; /* NULL: paths are local and walked at once */
    struct relay_counters *counters;
    int counters_fd;
    bool slots[RELAY_SLOTS];
    size_t open_connections, most_connections;
    size_t unsettled;        /* connections that do not relay: only they have deadlines */
    int64_t next_timer_ms;   /* 0: none */
    struct connection *dead; /* freed after the round */
    struct listener *dead_listeners;
};

/* main.c */
/* Have `source` called for `events` (or SOURCE_QUIET) from now on. 0 or a negative errno. */
int relay_arm(struct relay *relay, struct source *source, uint32_t events);
/* Have it not called any more: before a close of what lives on in another process. */
void relay_disarm(struct relay *relay, struct source *source);
/* Close the source's descriptor; events still in this round find fd −1. */
void relay_close(struct source *source);
void relay_log(struct relay *relay, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void relay_timer(struct relay *relay, int64_t at_ms); /* wake at or before */

/* watch.c */
/* Notice when sockets in run_dir, or the link, are deleted. 0 or a negative errno. */
int watch_start(struct relay *relay);
/* And the one at `path`, wherever it is; a folder too many is logged. */
void watch_path(struct relay *relay, const char *path);

/* listener.c */
/* Listen at `path`, or on loopback `port` (0: any; then set). Again for what is there: 0. */
int listener_open(struct service *service, const char *path, uint16_t *port, struct error *err);
void listener_close(struct service *service, const char *path, uint16_t port);
void listener_close_all(struct service *service, bool forget_files);
/* No descriptor left: accept nobody for a while; clients stay in the kernel's backlog. */
void listener_pause(struct relay *relay);
void listener_resume(struct relay *relay); /* a descriptor was closed */
void listener_run_timers(struct relay *relay, int64_t now_ms);
void listener_check_files(struct relay *relay); /* make again what a cleaner deleted */
void listener_free_dead(struct relay *relay);

/* reach.c */
/* Learn whether run_dir is on a network file system; `reach` is then there. 0 or a negative
 * errno. Blocking. */
int reach_init(struct relay *relay);

/* service.c */
struct service *service_find(struct relay *relay, const char *name);
struct service *service_get(struct relay *relay, const char *name); /* NULL: no room */
void service_forget(struct service *service);

/* connection.c */
void connection_start(struct service *service, int fd, bool is_tcp); /* owns `fd` */
void connection_service_changed(struct service *service); /* who waits goes on or ends */
void connection_close_all(struct service *service);
void connection_run_timers(struct relay *relay, int64_t now_ms);
void connection_free_dead(struct relay *relay);

/* sockdiag.c */
int sockdiag_open(void); /* once, before the first question. 0 or a negative errno */
/* Whether the process that made the loopback TCP connection `fd` has our uid: 0, -EACCES, or
 * another negative errno when the kernel could not be asked. */
int sockdiag_check_peer(int fd);

/* control.c */
/* Something happened to link_path's name: make it again, or leave when nobody can. */
void control_check_link(struct relay *relay);
/* `fd` is the first controller; others connect to link_path. 0 or a negative errno. */
int control_start(struct relay *relay, int fd, struct error *err);
void control_send(struct relay *relay, struct link_frame *frame);
void control_status(struct relay *relay, uint32_t request);

#endif
