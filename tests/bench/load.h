/* The load generator of the bench: both ends of what a relay is measured with. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stddef.h>
#include <stdint.h>

enum { BULK_BLOCK = 64 * 1024, SMALL_MESSAGE = 64, LARGER_MESSAGE = 1024 };

enum load_mode {
    LOAD_DOWN = 'd',
    LOAD_UP = 'u',
    LOAD_ECHO = 'e',
    LOAD_ONCE = 'o',
    LOAD_IDLE = 'i'
};

/* What a client says first. `amount`: bytes of a bulk transfer, messages of an echo, which are
 * `size` bytes each; unused by the others. Both ends run on one machine, so its own byte order
 * will do. */
struct load_request {
    uint64_t amount;
    uint32_t size;
    char mode;
    char padding[SMALL_MESSAGE - sizeof(uint64_t) - sizeof(uint32_t) - 1];
};

/* Print to stderr and exit: a bench that goes wrong has no result. */
void load_die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
/* "unix:PATH" or "tcp:PORT" on the loopback; a blocking descriptor, never negative. */
int load_listen(const char *address);
int load_connect(const char *address);
/* Exactly `length` bytes; read returns 0 when the peer closed before the first of them, and
 * both die on any other failure. */
void load_write(int fd, const void *bytes, size_t length);
int load_read(int fd, void *bytes, size_t length);

/* load_server.c: serves until it is killed. */
void load_serve(int count, char **addresses) __attribute__((noreturn));
/* load_client.c: one measurement; prints one JSON object. */
void load_run(const char *what, const char *address, uint64_t amount);

#endif
