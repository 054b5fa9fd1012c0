/* Connecting where a file server knows the names: a path that is walked while it does not
 * answer holds the caller in the kernel, so a thread of its own does it, one after the other,
 * and connections that are open go on meanwhile. Not used on a local file system. Called by
 * connect.c. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/network_fs.h"
#include "common/unixsock.h"
#include "daemon/relay/connection.h"

enum { REQUESTS = 256, STUCK_MS = 5000, STACK_SIZE = 64 * 1024 };

struct request {
    struct connection *connection; /* NULL: it has gone */
    int type, fd;                  /* fd: or a negative errno */
    char path[UNIX_PATH_SIZE];
};

/* Four counts chase each other around the ring: made and heard are the loop's, taken and done
 * the thread's. */
struct reach {
    struct source source; /* an eventfd: something is done */
    struct relay *relay;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool running;
    int64_t started_ms; /* of the one in hand; 0: none */
    size_t made, taken, done, heard;
    struct request ring[REQUESTS];
};

static struct request *at(struct reach *reach, size_t number)
{
    return &reach->ring[number % REQUESTS];
}

static void *thread_main(void *argument)
{
    struct reach *reach = argument;
    pthread_mutex_lock(&reach->lock);
    for (;;) {
        while (reach->taken == reach->made) {
            pthread_cond_wait(&reach->wake, &reach->lock);
        }
        struct request *request = at(reach, reach->taken++);
        int fd = -ECANCELED;
        if (request->connection) {
            reach->started_ms = clock_monotonic_ms();
            pthread_mutex_unlock(&reach->lock);
            fd = unix_connect(request->path, request->type, true, NULL);
            pthread_mutex_lock(&reach->lock);
            reach->started_ms = 0;
        }
        request->fd = fd;
        reach->done++;
        uint64_t one = 1;
        (void)!write(reach->source.fd, &one, sizeof one);
    }
    return NULL;
}

static void on_done(struct source *source, uint32_t events)
{
    (void)events;
    struct reach *reach = (struct reach *)source;
    uint64_t count;
    (void)!read(source->fd, &count, sizeof count);
    pthread_mutex_lock(&reach->lock);
    while (reach->heard < reach->done) {
        struct request one = *at(reach, reach->heard++);
        pthread_mutex_unlock(&reach->lock);
        if (one.connection) {
            connect_reached(one.connection, one.fd);
        } else if (one.fd >= 0) {
            close(one.fd);
        }
        pthread_mutex_lock(&reach->lock);
    }
    pthread_mutex_unlock(&reach->lock);
}

static int start_thread(struct reach *reach)
{
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, old;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    int code = pthread_create(&thread, &attributes, thread_main, reach);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    reach->running = !code;
    return -code;
}

int reach_init(struct relay *relay)
{
    if (!network_fs_holds(relay->run_dir)) {
        return 0;
    }
    struct reach *reach = calloc(1, sizeof *reach);
    if (!reach) {
        return -ENOMEM;
    }
    reach->relay = relay;
    reach->source = (struct source){on_done, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), 0};
    pthread_mutex_init(&reach->lock, NULL);
    pthread_cond_init(&reach->wake, NULL);
    int code = reach->source.fd < 0 ? -errno : relay_arm(relay, &reach->source, EPOLLIN);
    if (code) {
        relay_close(&reach->source);
        free(reach);
        return code;
    }
    relay->reach = reach;
    return 0;
}

int reach_submit(struct connection *connection, const char *path, int type)
{
    struct reach *reach = connection->service->relay->reach;
    if (reach_is_stuck(reach)) {
        return -ETIMEDOUT;
    }
    if (reach->made - reach->heard == REQUESTS || (!reach->running && start_thread(reach))) {
        return -EAGAIN;
    }
    pthread_mutex_lock(&reach->lock);
    struct request *request = at(reach, reach->made++);
    request->connection = connection;
    request->type = type;
    snprintf(request->path, sizeof request->path, "%s", path);
    pthread_cond_signal(&reach->wake);
    pthread_mutex_unlock(&reach->lock);
    return 0;
}

void reach_forget(const struct connection *connection)
{
    struct reach *reach = connection->service->relay->reach;
    pthread_mutex_lock(&reach->lock);
    for (size_t i = reach->heard; i < reach->made; i++) {
        if (at(reach, i)->connection == connection) {
            at(reach, i)->connection = NULL;
        }
    }
    pthread_mutex_unlock(&reach->lock);
}

int64_t reach_due_ms(struct reach *reach)
{
    pthread_mutex_lock(&reach->lock);
    int64_t started_ms = reach->started_ms;
    pthread_mutex_unlock(&reach->lock);
    return (started_ms ? started_ms : clock_monotonic_ms()) + STUCK_MS;
}

bool reach_is_stuck(struct reach *reach)
{
    return reach && reach_due_ms(reach) <= clock_monotonic_ms();
}
