/* The relay's counters, in memory shared with gearsd: reading them wakes nobody. */
#ifndef COMMON_RELAY_COUNTERS_H
#define COMMON_RELAY_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

/* The size of what is shared with relays of other builds: never to be changed. One slot for
 * each service and route. */
enum { RELAY_SLOTS = 2048 };

/* One service's counters; 64 bytes, naturally aligned, relaxed atomics, only ever growing but
 * for `connections`. */
struct relay_counters {
    _Atomic uint64_t connections;  /* open now */
    _Atomic uint64_t accepted;     /* since the relay's start */
    _Atomic uint64_t bytes_in;     /* client → service */
    _Atomic uint64_t bytes_out;    /* service → client */
    _Atomic uint64_t refused;      /* other uid, no descriptor, service down */
    _Atomic uint64_t failed;       /* connects to the service that failed */
    _Atomic uint64_t last_used_us; /* UTC of the last accept */
    uint64_t reserved;
};

#endif
