/* The client's measurements. Each prints one JSON object on stdout. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/load.h"

static char block[BULK_BLOCK];
static uint32_t message_size = SMALL_MESSAGE; /* of an echo */

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

static int64_t cpu_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static void print_times(int64_t start_ns, int64_t start_cpu_ns)
{
    printf("{\"seconds\": %.9f, \"cpu\": %.9f}\n", (double)(now_ns() - start_ns) / 1e9,
        (double)(cpu_ns() - start_cpu_ns) / 1e9);
}

static void ask(int fd, enum load_mode mode, uint64_t amount)
{
    struct load_request request = {.amount = amount, .size = message_size, .mode = (char)mode};
    load_write(fd, &request, sizeof request);
}

static void must_read(int fd, void *bytes, size_t length)
{
    if (!load_read(fd, bytes, length)) {
        load_die("the server closed too early");
    }
}

/* The connection is warmed by one small exchange, here and below, so only what comes after its
 * being opened is timed. */
static void run_bulk(const char *address, enum load_mode mode, uint64_t bytes)
{
    char reply[SMALL_MESSAGE];
    int fd = load_connect(address);
    ask(fd, LOAD_IDLE, 0);
    must_read(fd, reply, sizeof reply);
    int64_t start = now_ns(), cpu = cpu_ns();
    ask(fd, mode, bytes);
    for (uint64_t left = bytes; left;) {
        size_t n = left < sizeof block ? (size_t)left : sizeof block;
        if (mode == LOAD_UP) {
            load_write(fd, block, n);
        } else {
            ssize_t got = recv(fd, block, n, 0);
            if (got <= 0) {
                load_die("download: %s", got ? strerror(errno) : "ended too early");
            }
            n = (size_t)got;
        }
        left -= n;
    }
    if (mode == LOAD_UP) {
        must_read(fd, reply, 1);
    }
    close(fd);
    print_times(start, cpu);
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void run_echo(const char *address, uint64_t messages)
{
    char reply[SMALL_MESSAGE];
    int64_t *took = calloc(messages, sizeof *took);
    int fd = load_connect(address);
    if (!took || !messages) {
        load_die("no messages, or no memory for them");
    }
    ask(fd, LOAD_IDLE, 0);
    must_read(fd, reply, sizeof reply);
    ask(fd, LOAD_ECHO, messages);
    for (uint64_t i = 0; i < messages; i++) {
        int64_t start = now_ns();
        load_write(fd, block, message_size);
        must_read(fd, block, message_size);
        took[i] = now_ns() - start;
    }
    close(fd);
    qsort(took, messages, sizeof *took, compare);
    printf("{\"p50_us\": %.3f, \"p99_us\": %.3f}\n", (double)took[messages / 2] / 1e3,
        (double)took[messages * 99 / 100] / 1e3);
    free(took);
}

static void run_once(const char *address, uint64_t connections)
{
    char reply[SMALL_MESSAGE];
    int64_t start = now_ns(), cpu = cpu_ns();
    for (uint64_t i = 0; i < connections; i++) {
        int fd = load_connect(address);
        ask(fd, LOAD_ONCE, 0);
        must_read(fd, reply, sizeof reply);
        close(fd);
    }
    print_times(start, cpu);
}

/* Holds its connections, each of which has carried one message, until stdin ends. */
static void run_idle(const char *address, uint64_t connections)
{
    char reply[SMALL_MESSAGE];
    for (uint64_t i = 0; i < connections; i++) {
        int fd = load_connect(address);
        ask(fd, LOAD_IDLE, 0);
        must_read(fd, reply, sizeof reply);
    }
    printf("{\"held\": %llu}\n", (unsigned long long)connections);
    fflush(stdout);
    while (read(0, reply, sizeof reply) > 0) {
    }
}

void load_run(const char *what, const char *address, uint64_t amount)
{
    if (!strcmp(what, "down") || !strcmp(what, "up")) {
        run_bulk(address, *what == 'd' ? LOAD_DOWN : LOAD_UP, amount);
    } else if (!strcmp(what, "echo") || !strcmp(what, "echo1k")) {
        message_size = what[4] ? LARGER_MESSAGE : SMALL_MESSAGE;
        run_echo(address, amount);
    } else if (!strcmp(what, "once")) {
        run_once(address, amount);
    } else if (!strcmp(what, "idle")) {
        run_idle(address, amount);
    } else {
        load_die("there is no measurement \"%s\"", what);
    }
}
