/* Public sockets: Unix paths and loopback ports, opened, guarded by uid, made again when a
 * cleaner deletes them, and left alone when another host's stands in their place. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "daemon/relay/relay.h"

enum { BACKLOG = 1024, ACCEPTS_PER_ROUND = 64, PAUSE_MS = 1000, TELL_AGAIN_MS = 60000 };

static struct listener **find_place(struct service *service, const char *path, uint16_t port)
{
    for (int i = 0; i < SERVICE_LISTENERS; i++) {
        struct listener *l = service->listeners[i];
        if (l && (path ? !strcmp(l->path, path) : l->port && l->port == port)) {
            return &service->listeners[i];
        }
    }
    return NULL;
}

static int listen_tcp(uint16_t *port, struct error *err)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons(*port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int code = sockdiag_open();
    if (code) {
        return error_errno(err, code, "cannot ask the kernel who connects");
    }
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return error_errno(err, -errno, "cannot make a socket");
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* accepted ones inherit it */
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, BACKLOG) ||
        getsockname(fd, (struct sockaddr *)&address, &length)) {
        code = -errno;
        close(fd);
        return error_errno(err, code, "cannot listen on 127.0.0.1:%d", *port);
    }
    *port = ntohs(address.sin_port);
    return fd;
}

static int accept_one(struct listener *listener)
{
    if (!listener->port) {
        return unix_accept_same_uid(listener->source.fd, NULL);
    }
    int fd = accept4(listener->source.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        return -errno;
    }
    if (sockdiag_check_peer(fd)) {
        close(fd);
        return -EACCES;
    }
    return fd;
}

/* Whether there may be more. */
static bool accept_some(struct listener *listener)
{
    struct service *service = listener->service;
    struct relay_counters *counters = &service->relay->counters[service->slot];
    for (int i = 0; i < ACCEPTS_PER_ROUND && !service->relay->paused; i++) {
        int fd = accept_one(listener);
        if (fd == -EACCES) {
            atomic_fetch_add(&counters->refused, 1);
        } else if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM || fd == -ENOBUFS) {
            listener_pause(service->relay);
        } else if (fd == -EAGAIN) {
            return false;
        } else if (fd >= 0) { /* any other failure was that one client's */
            atomic_fetch_add(&counters->accepted, 1);
            atomic_store(&counters->last_used_us, (uint64_t)clock_utc_us());
            connection_start(service, fd, listener->port);
        }
    }
    return !service->relay->paused;
}

static void on_connect(struct source *source, uint32_t events)
{
    (void)events;
    struct listener *listener = (struct listener *)source;
    if (listener->service) {
        accept_some(listener);
    }
}

static int watch(struct listener *listener)
{
    struct relay *relay = listener->service->relay;
    return relay_arm(relay, &listener->source, relay->paused ? SOURCE_QUIET : EPOLLIN);
}

/* Again for what is there. */
static int check_same(const struct listener *listener, struct error *err)
{
    return listener->lost
               ? error_set(err, -EEXIST, "another's socket stands at %s now; it was left alone",
                     listener->path)
               : 0;
}

static void close_place(struct listener **place, bool forget_file)
{
    struct listener *listener = *place;
    *place = NULL;
    if (forget_file && listener->path[0]) {
        unix_file_remove(listener->path, &listener->bound);
    }
    relay_close(&listener->source); /* epoll may have told of it in this round already */
    listener->next_dead = listener->service->relay->dead_listeners;
    listener->service->relay->dead_listeners = listener;
    listener->service = NULL;
}

int listener_open(struct service *service, const char *path, uint16_t *port, struct error *err)
{
    struct listener **place = find_place(service, path, *port);
    if (place) {
        return check_same(*place, err);
    }
    for (int i = 0; i < SERVICE_LISTENERS && !place; i++) {
        place = service->listeners[i] ? NULL : &service->listeners[i];
    }
    struct listener *listener = place ? calloc(1, sizeof *listener) : NULL;
    if (!listener) {
        return error_set(err, -ENOSPC, "%s has too many sockets", service->name);
    }
    int fd = path ? unix_listen(path, SOCK_STREAM, BACKLOG, err) : listen_tcp(port, err);
    if (fd < 0) {
        free(listener);
        return fd;
    }
    *listener = (struct listener){
        .source = {on_connect, fd, 0}, .service = service, .port = path ? 0 : *port};
    snprintf(listener->path, sizeof listener->path, "%s", path ? path : "");
    *place = listener;
    if (path) {
        watch_path(service->relay, path);
        unix_file_note(path, &listener->bound);
    }
    int code = watch(listener);
    if (code) {
        close_place(place, true); /* a deaf one would keep clients waiting */
        return error_errno(err, code, "cannot watch a socket of %s", service->name);
    }
    return 0;
}

void listener_free_dead(struct relay *relay)
{
    while (relay->dead_listeners) {
        struct listener *next = relay->dead_listeners->next_dead;
        free(relay->dead_listeners);
        relay->dead_listeners = next;
    }
}

void listener_close(struct service *service, const char *path, uint16_t port)
{
    struct listener **place = find_place(service, path, port);
    if (place) {
        close_place(place, true);
    }
}

void listener_close_all(struct service *service, bool forget_files)
{
    for (int i = 0; i < SERVICE_LISTENERS; i++) {
        if (service->listeners[i]) {
            close_place(&service->listeners[i], forget_files);
        }
    }
}

static void set_paused(struct relay *relay, bool paused)
{
    relay->paused = paused;
    for (struct service *s = relay->services; s; s = s->next) {
        for (int i = 0; i < SERVICE_LISTENERS; i++) {
            if (s->listeners[i]) {
                watch(s->listeners[i]);
            }
        }
    }
}

void listener_pause(struct relay *relay)
{
    int64_t now = clock_monotonic_ms();
    if (relay->paused) {
        return;
    }
    set_paused(relay, true);
    relay->resume_ms = now + PAUSE_MS;
    relay_timer(relay, relay->resume_ms);
    if (!relay->exhausted_told_ms || now >= relay->exhausted_told_ms + TELL_AGAIN_MS) {
        relay->exhausted_told_ms = now;
        relay_log(relay, "out of descriptors connections=%zu", relay->open_connections);
    }
}

void listener_resume(struct relay *relay)
{
    if (relay->paused && relay->open_connections < relay->most_connections) {
        set_paused(relay, false);
    }
}

void listener_run_timers(struct relay *relay, int64_t now_ms)
{
    if (relay->paused && now_ms >= relay->resume_ms) {
        relay->resume_ms = now_ms + PAUSE_MS;
        listener_resume(relay);
    }
    if (relay->paused) {
        relay_timer(relay, relay->resume_ms);
    }
}

/* The path leads to a new socket; who already connected to the old one is taken in first. */
static void rebind(struct listener *listener)
{
    struct service *service = listener->service;
    struct relay *relay = service->relay;
    struct link_frame frame;
    struct error err;
    int fd = unix_listen(listener->path, SOCK_STREAM, BACKLOG, &err);
    if (fd < 0) {
        relay_log(relay, "not rebound path=%s cause=\"%s\"", listener->path, err.text);
        return;
    }
    while (accept_some(listener)) {
    }
    relay_close(&listener->source);
    listener->source.fd = fd;
    unix_file_note(listener->path, &listener->bound);
    watch(listener);
    link_frame_start(&frame, LINK_RELAY_REBOUND, 0);
    link_frame_string(&frame, LINK_TAG_SERVICE, service->name);
    link_frame_string(&frame, LINK_TAG_LISTEN_PATH, listener->path);
    control_send(relay, &frame);
}

/* Once replaced it is never ours again, whatever becomes of the other's. */
static void check_file(struct listener *listener)
{
    int code = unix_file_look(listener->path, &listener->bound);
    if (code == -EEXIST && !listener->lost) {
        listener->lost = true;
        relay_log(
            listener->service->relay, "replaced by another's socket path=%s", listener->path);
    } else if (code == -ENOENT && !listener->lost) {
        rebind(listener);
    }
}

void listener_check_files(struct relay *relay)
{
    for (struct service *s = relay->services; s && !relay->draining; s = s->next) {
        for (int i = 0; i < SERVICE_LISTENERS; i++) {
            struct listener *l = s->listeners[i];
            if (l && l->path[0]) {
                check_file(l);
            }
        }
    }
}
