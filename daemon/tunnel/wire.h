/* Numbers and strings as SSH sends them (RFC 4251): big-endian, a length before each string.
 * Pure, on memory. */
#ifndef TUNNEL_WIRE_H
#define TUNNEL_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is left to read of a message. Reading beyond its end sets `bad`, and then gives 0. */
struct wire {
    const uint8_t *at;
    size_t left;
    bool bad;
};
uint8_t wire_byte(struct wire *wire);
uint32_t wire_u32(struct wire *wire);
/* A length and that many bytes; they stay where they are. NULL when bad. */
const uint8_t *wire_string(struct wire *wire, size_t *length);

void wire_put_u32(uint8_t out[4], uint32_t value);

#endif
