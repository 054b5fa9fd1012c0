/* Reading and writing messages of SSH; packets, keys and agents are taken apart by this. */
#include "daemon/tunnel/wire.h"

uint8_t wire_byte(struct wire *wire)
{
    if (!wire->left) {
        wire->bad = true;
        return 0;
    }
    wire->left--;
    return *wire->at++;
}

uint32_t wire_u32(struct wire *wire)
{
    uint32_t value = 0;
    if (wire->left < 4) {
        wire->bad = true;
        wire->left = 0;
        return 0;
    }
    for (int i = 0; i < 4; i++) {
        value = value << 8 | wire_byte(wire);
    }
    return value;
}

const uint8_t *wire_string(struct wire *wire, size_t *length)
{
    size_t claimed = wire_u32(wire);
    *length = 0;
    if (wire->bad || claimed > wire->left) {
        wire->bad = true;
        wire->left = 0;
        return NULL;
    }
    const uint8_t *string = wire->at;
    wire->at += claimed;
    wire->left -= claimed;
    *length = claimed;
    return string;
}

void wire_put_u32(uint8_t out[4], uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        out[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}
