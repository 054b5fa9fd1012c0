/* Relays TCP to a port of the loopback and holds every byte back for a while, each way, as a
 * long line does: bench_delay MS PORT. Prints the port that it listens at; ends with its
 * standard input. In C, so that it is no bottleneck: what comes in is copied into a ring by one
 * thread and out of it, when it is due, by another. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/load.h"

enum { RING = 64 << 20, PIECES = 64 * 1024, PIECE_MOST = 256 * 1024 };

struct piece {
    uint64_t end; /* of its bytes, counted from the first ever */
    int64_t due_ns;
};

/* One direction of one connection. Positions only grow; their remainders are places. */
struct way {
    int from, to;
    char *ring;
    struct piece pieces[PIECES];
    uint64_t in, out;     /* bytes */
    uint64_t first, last; /* pieces */
    int ended;            /* `from` says no more */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
};

static int64_t delay_ns;
static int listener;
static char target[32];

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void *take(void *argument)
{
    struct way *way = argument;
    int one = 1;
    for (;;) {
        pthread_mutex_lock(&way->mutex);
        while (way->in - way->out == RING || way->last - way->first == PIECES) {
            pthread_cond_wait(&way->changed, &way->mutex);
        }
        if (way->in == way->out) {
            way->in = way->out = 0; /* the same pages again: they are in the caches */
        }
        size_t at = (size_t)(way->in % RING), room = RING - (size_t)(way->in - way->out);
        pthread_mutex_unlock(&way->mutex);
        room = room < RING - at ? room : RING - at;
        ssize_t n = recv(way->from, way->ring + at, room < PIECE_MOST ? room : PIECE_MOST, 0);
        /* A sender that waits for an acknowledgement (Nagle) is not to wait for this host's. */
        setsockopt(way->from, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
        pthread_mutex_lock(&way->mutex);
        way->in += n > 0 ? (uint64_t)n : 0;
        way->ended = n <= 0;
        way->pieces[way->last++ % PIECES] = (struct piece){way->in, now_ns() + delay_ns};
        pthread_cond_broadcast(&way->changed);
        pthread_mutex_unlock(&way->mutex);
        if (n <= 0) {
            return NULL;
        }
    }
}

static void sleep_until(int64_t due_ns)
{
    struct timespec due = {due_ns / 1000000000, due_ns % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) {
    }
}

static void *give(void *argument)
{
    struct way *way = argument;
    for (;;) {
        pthread_mutex_lock(&way->mutex);
        while (way->first == way->last && !way->ended) {
            pthread_cond_wait(&way->changed, &way->mutex);
        }
        int over = way->first == way->last;
        struct piece piece = way->pieces[way->first % PIECES];
        size_t at = (size_t)(way->out % RING), length = (size_t)(piece.end - way->out);
        pthread_mutex_unlock(&way->mutex);
        if (over) {
            shutdown(way->to, SHUT_WR);
            return NULL;
        }
        sleep_until(piece.due_ns);
        size_t done = 0;
        while (done < length) {
            ssize_t n = send(way->to, way->ring + at + done, length - done, MSG_NOSIGNAL);
            if (n <= 0) {
                shutdown(way->from, SHUT_RD);
                return NULL;
            }
            done += (size_t)n;
        }
        pthread_mutex_lock(&way->mutex);
        way->out += length;
        way->first++;
        pthread_cond_broadcast(&way->changed);
        pthread_mutex_unlock(&way->mutex);
    }
}

static void start(int from, int to)
{
    struct way *way = calloc(1, sizeof *way);
    pthread_t thread;
    if (!way) {
        load_die("out of memory");
    }
    way->from = from;
    way->to = to;
    way->ring = mmap(
        NULL, RING, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    pthread_mutex_init(&way->mutex, NULL);
    pthread_cond_init(&way->changed, NULL);
    if (way->ring == MAP_FAILED || pthread_create(&thread, NULL, take, way) ||
        pthread_create(&thread, NULL, give, way)) {
        load_die("cannot hold back another connection");
    }
}

/* Connections last as long as the program: a bench has few. */
static void *accept_all(void *unused)
{
    (void)unused;
    int one = 1, near;
    while ((near = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        int far = load_connect(target);
        setsockopt(near, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        start(near, far);
        start(far, near);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    pthread_t thread;
    char byte;
    if (argc != 3) {
        load_die("usage: bench_delay MS PORT");
    }
    signal(SIGPIPE, SIG_IGN);
    delay_ns = (int64_t)(strtod(argv[1], NULL) * 1e6);
    snprintf(target, sizeof target, "tcp:%s", argv[2]);
    listener = load_listen("tcp:0");
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    if (pthread_create(&thread, NULL, accept_all, NULL)) {
        load_die("cannot start a thread");
    }
    while (read(0, &byte, 1) > 0) {
    }
    return 0;
}
