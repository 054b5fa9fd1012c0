/* A frame of the internal protocol: parse, look at every field there may be. Written again from
 * what was found, it must say the same. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/link.h"

enum { TAGS = 64, REPEATS = 4 };

static void look(const struct link_message *message, enum link_tag tag)
{
    char text[16];
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < REPEATS; i++) {
        size_t length = 0;
        const uint8_t *field = link_find(message, tag, i, &length);
        if (!field) {
            break;
        }
        if (field < message->fields || length > message->length ||
            (size_t)(field - message->fields) > message->length - length) {
            abort(); /* outside of the frame */
        }
        for (size_t at = 0; at < length; at++) {
            sum = (uint8_t)(sum + field[at]);
        }
        if (link_find_string(message, tag, i, text, sizeof text) &&
            strlen(text) >= sizeof text) {
            abort();
        }
        free(link_copy_string(message, tag, i));
    }
    link_u64(message, tag, 0);
}

/* The fields found, in the order of their tags. */
static void check_again(const struct link_message *message)
{
    struct link_frame frame;
    struct link_message again;
    link_frame_start(&frame, message->type, message->request);
    for (unsigned tag = 0; tag < TAGS; tag++) {
        size_t length = 0;
        const uint8_t *field;
        for (size_t i = 0;
             i < REPEATS && (field = link_find(message, (enum link_tag)tag, i, &length)); i++) {
            link_frame_bytes(&frame, (enum link_tag)tag, field, length);
        }
    }
    if (frame.failed || link_parse(frame.data, frame.length, &again) ||
        again.type != message->type || again.request != message->request) {
        abort();
    }
    for (unsigned tag = 0; tag < TAGS; tag++) {
        for (size_t i = 0; i < REPEATS; i++) {
            size_t length = 0, other = 0;
            const uint8_t *field = link_find(message, (enum link_tag)tag, i, &length);
            const uint8_t *copy = link_find(&again, (enum link_tag)tag, i, &other);
            if (!field != !copy || length != other ||
                (field && length && memcmp(field, copy, length) != 0)) {
                abort();
            }
        }
    }
    link_frame_finish(&frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* A copy of exactly this size: reading one byte too far is seen. */
    uint8_t *copy = malloc(size ? size : 1);
    struct link_message message = {0};
    if (!copy) {
        return 0;
    }
    if (size) {
        memcpy(copy, data, size);
    }
    int code = link_parse(copy, size, &message);
    if (code && code != -EBADMSG) {
        abort();
    }
    for (unsigned tag = 0; !code && tag < TAGS; tag++) {
        look(&message, (enum link_tag)tag);
    }
    if (!code) {
        check_again(&message);
        link_message_finish(&message);
    }
    free(copy);
    return 0;
}
