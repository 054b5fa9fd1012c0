/* Public sockets: Unix paths and loopback ports, opened, guarded by uid, made again when a
 * cleaner deletes them. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/unixsock.h"
#include "daemon/relay/relay.h"

enum { BACKLOG = 1024, ACCEPTS_PER_ROUND = 64 };

static struct listener **find_place(struct service *service, const char *path, int port)
{
    for (int i = 0; i < SERVICE_LISTENERS; i++) {
        struct listener *l = service->listeners[i];
        if (l && (path ? !strcmp(l->path, path) : l->port && l->port == port)) {
            return &service->listeners[i];
        }
    }
    return NULL;
}

static int listen_tcp(int port, struct error *err)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return error_errno(err, -errno, "cannot make a socket");
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, BACKLOG)) {
        int code = -errno;
        close(fd);
        return error_errno(err, code, "cannot listen on 127.0.0.1:%d", port);
    }
    return fd;
}

/* No descriptor left: turn one client away with the reserve, and be deaf until one is closed.
 */
static void exhausted(struct relay *relay, int listener)
{
    close(relay->reserve);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        close(fd);
    }
    relay->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (!relay->paused) {
        relay_log(relay, "out of descriptors connections=%zu", relay->open_connections);
        listener_pause(relay, true);
    }
}

static int accept_one(struct listener *listener)
{
    if (!listener->port) {
        return unix_accept_same_uid(listener->source.fd, NULL);
    }
    int fd = accept4(listener->source.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0 && sockdiag_peer_uid(fd) != (long)geteuid()) {
        close(fd);
        return -EACCES;
    }
    return fd < 0 ? -errno : fd;
}

static void on_connect(struct source *source, uint32_t events)
{
    (void)events;
    struct listener *listener = (struct listener *)source;
    struct service *service = listener->service;
    if (!service) {
        return;
    }
    struct relay_counters *counters = &service->relay->counters[service->slot];
    for (int i = 0; i < ACCEPTS_PER_ROUND; i++) {
        int fd = accept_one(listener);
        if (fd == -EMFILE || fd == -ENFILE) {
            exhausted(service->relay, source->fd);
            return;
        }
        if (fd == -EACCES) {
            atomic_fetch_add(&counters->refused, 1);
            continue;
        }
        if (fd < 0) {
            return;
        }
        atomic_fetch_add(&counters->accepted, 1);
        atomic_store(&counters->last_used_us, (uint64_t)clock_utc_us());
        connection_start(service, fd);
    }
}

int listener_open(struct service *service, const char *path, int port, struct error *err)
{
    struct listener **place = find_place(service, path, port);
    if (place) {
        return 0;
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
        .source = {on_connect, fd}, .service = service, .port = (uint16_t)(path ? 0 : port)};
    snprintf(listener->path, sizeof listener->path, "%s", path ? path : "");
    *place = listener;
    return relay_watch(service->relay, &listener->source, service->relay->paused ? 0 : EPOLLIN);
}

static void close_place(struct listener **place, bool forget_file)
{
    struct listener *listener = *place;
    *place = NULL;
    if (forget_file && listener->path[0]) {
        unlink(listener->path);
    }
    close(listener->source.fd);
    listener->source.fd = -1; /* epoll may have told of it in this round already */
    listener->next_dead = listener->service->relay->dead_listeners;
    listener->service->relay->dead_listeners = listener;
    listener->service = NULL;
}

void listener_free_dead(struct relay *relay)
{
    while (relay->dead_listeners) {
        struct listener *next = relay->dead_listeners->next_dead;
        free(relay->dead_listeners);
        relay->dead_listeners = next;
    }
}

void listener_close(struct service *service, const char *path, int port)
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

void listener_pause(struct relay *relay, bool paused)
{
    relay->paused = paused;
    for (struct service *s = relay->services; s; s = s->next) {
        for (int i = 0; i < SERVICE_LISTENERS; i++) {
            if (s->listeners[i]) {
                relay_rearm(relay, &s->listeners[i]->source, paused ? 0 : EPOLLIN);
            }
        }
    }
}

void listener_check_files(struct relay *relay)
{
    struct stat st;
    for (struct service *s = relay->services; s && !relay->draining; s = s->next) {
        for (int i = 0; i < SERVICE_LISTENERS; i++) {
            struct listener *l = s->listeners[i];
            if (!l || !l->path[0] || !lstat(l->path, &st) || errno != ENOENT) {
                continue;
            }
            struct error err;
            int fd = unix_listen(l->path, SOCK_STREAM, BACKLOG, &err);
            if (fd < 0) {
                relay_log(relay, "not rebound path=%s cause=\"%s\"", l->path, err.text);
                continue;
            }
            close(l->source.fd);
            l->source.fd = fd;
            relay_watch(relay, &l->source, relay->paused ? 0 : EPOLLIN);
            struct link_frame frame;
            link_frame_start(&frame, LINK_RELAY_REBOUND, 0);
            link_frame_string(&frame, LINK_TAG_SERVICE, s->name);
            link_frame_string(&frame, LINK_TAG_LISTEN_PATH, l->path);
            control_send(relay, &frame);
        }
    }
}
