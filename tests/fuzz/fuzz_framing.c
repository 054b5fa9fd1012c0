/* NUL framing: the first bytes say how the rest is cut into reads, and the limit. However it is
 * cut, the messages are those between the NULs, up to the first that is too long. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/varlink_framing.h"

/* What must come: walks over `data` by itself. */
struct expected {
    const uint8_t *at, *end;
    size_t limit;
};

static void check_message(struct expected *expected, const char *message, size_t length)
{
    const uint8_t *zero = memchr(expected->at, 0, (size_t)(expected->end - expected->at));
    if (!zero || (size_t)(zero - expected->at) != length || length + 1 > expected->limit ||
        message[length] || memcmp(message, expected->at, length) != 0) {
        abort();
    }
    expected->at = zero + 1;
}

/* -EMSGSIZE is right when the next message is too long, or has as many bytes without an end. */
static void check_too_long(const struct expected *expected, size_t arrived)
{
    size_t left = arrived;
    const uint8_t *zero = memchr(expected->at, 0, left);
    if (zero ? (size_t)(zero - expected->at) + 1 <= expected->limit : left < expected->limit) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4) {
        return 0;
    }
    struct varlink_framing framing = {.limit = 1 + data[0]};
    struct expected expected = {data + 4, data + size, framing.limit};
    const uint8_t *at = expected.at;
    size_t cuts[3] = {1 + data[1] % 32u, 1 + data[2], 1 + data[3] * 16u}, most = 0;
    int code = 0;
    for (size_t round = 0; code != -EMSGSIZE && at < expected.end; round++) {
        size_t left = (size_t)(expected.end - at), cut = cuts[round % 3];
        size_t n = left < cut ? left : cut, length = 0;
        char *message = NULL, *room = varlink_framing_room(&framing, cut);
        if (!room) {
            return 0;
        }
        memcpy(room, at, n);
        varlink_framing_add(&framing, n);
        at += n;
        while ((code = varlink_framing_next(&framing, &message, &length)) == 1) {
            check_message(&expected, message, length);
        }
        size_t waiting = (size_t)(at - expected.at);
        if (code == -EMSGSIZE) {
            check_too_long(&expected, waiting);
            if (varlink_framing_next(&framing, &message, &length) != -EMSGSIZE) {
                abort(); /* it stays so */
            }
        } else if (code || waiting != varlink_framing_waiting(&framing) ||
                   memchr(expected.at, 0, waiting) || waiting >= framing.limit ||
                   varlink_framing_has_news(&framing)) {
            abort();
        }
        most = framing.capacity > most ? framing.capacity : most;
    }
    if (most > 2 * (framing.limit + 16 * 256 + 256)) {
        abort(); /* memory follows the limit and the reads, not the stream */
    }
    varlink_framing_finish(&framing);
    return 0;
}
