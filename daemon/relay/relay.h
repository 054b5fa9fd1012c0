/* gears-relay: owns every public listening socket of a host and carries bytes to the services.
 * One epoll loop, libc only; it survives gearsd's death with all its connections. */
#ifndef RELAY_RELAY_H
#define RELAY_RELAY_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"
#include "common/link.h"
#include "common/relay_counters.h"

enum { SHARED_BUFFER = 128 * 1024, ROUND_BUDGET = 256 * 1024, SERVICE_LISTENERS = 4 };

/* Whatever epoll watches starts with this: the loop calls `ready`. */
struct source {
    void (*ready)(struct source *source, uint32_t events);
    int fd;
};

struct relay;
struct service;

struct listener {
    struct source source;
    struct service *service;
    struct listener *next_dead;
    uint16_t port; /* 0: a Unix socket at */
    char path[108];
};

struct service {
    struct service *next;
    struct relay *relay;
    char name[33];
    char target_path[108];
    uint16_t target_port;
    enum link_service_state state;
    char cause[200], command[120];
    int64_t since_us, wait_ms;
    int slot;
    bool demanded;
    struct listener *listeners[SERVICE_LISTENERS];
    struct connection *connections;
};

struct relay {
    int epoll, link_listener, controller, reserve, inotify;
    char run_dir[PATH_MAX], link_path[PATH_MAX], nonce[33], build[48];
    bool draining, paused; /* paused: no descriptor left, listeners are deaf */
    struct service *services;
    struct relay_counters *counters;
    int counters_fd;
    bool slots[RELAY_SLOTS];
    size_t open_connections;
    int64_t next_timer_ms;   /* 0: none */
    struct connection *dead; /* freed after the round */
    struct listener *dead_listeners;
};

/* main.c */
int relay_watch(struct relay *relay, struct source *source, uint32_t events);
void relay_rearm(struct relay *relay, struct source *source, uint32_t events);
void relay_log(struct relay *relay, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void relay_timer(struct relay *relay, int64_t at_ms); /* wake at or before */
/* listener.c */
int listener_open(struct service *service, const char *path, int port, struct error *err);
void listener_close(struct service *service, const char *path, int port);
void listener_close_all(struct service *service, bool forget_files);
void listener_pause(struct relay *relay, bool paused);
void listener_check_files(struct relay *relay);
void listener_free_dead(struct relay *relay);
/* service.c */
struct service *service_find(struct relay *relay, const char *name);
struct service *service_get(
    struct relay *relay, const char *name);    /* NULL: no slot or memory */
void service_changed(struct service *service); /* waiting connections go on or end */
void service_forget(struct service *service);
/* connection.c */
void connection_start(struct service *service, int fd);
void connection_retry(struct connection *connection); /* the service may be there now */
void connection_close_all(struct service *service);
void connection_run_timers(struct relay *relay, int64_t now_ms);
void connection_free_dead(struct relay *relay);
/* page503.c: the page for `service`; the caller frees. */
char *page503_make(const struct service *service, size_t *length);
/* Whether the bytes begin an HTTP request: 1 yes, 0 no, −1 too few to tell. */
int page503_is_http(const char *bytes, size_t length);
/* sockdiag.c: uid of the process that made the loopback TCP connection `fd`; −1 unknown. */
long sockdiag_peer_uid(int fd);
/* control.c */
void control_accept(struct relay *relay);
void control_read(struct relay *relay);
void control_send(struct relay *relay, struct link_frame *frame);
void control_status(struct relay *relay, uint32_t request);

#endif
