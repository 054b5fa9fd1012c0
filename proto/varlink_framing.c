/* The NUL framing of Varlink, for the server's connections and for the client. */
#include "proto/varlink_framing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void varlink_framing_finish(struct varlink_framing *framing)
{
    if (framing->data) {
        explicit_bzero(framing->data, framing->capacity);
    }
    free(framing->data);
    *framing = (struct varlink_framing){.limit = framing->limit};
}

static void drop_used(struct varlink_framing *framing)
{
    if (framing->used) {
        memmove(framing->data, framing->data + framing->used, framing->length - framing->used);
        framing->length -= framing->used;
        framing->scanned -= framing->used;
        framing->used = 0;
    }
}

char *varlink_framing_room(struct varlink_framing *framing, size_t size)
{
    drop_used(framing);
    if (framing->length + size > framing->capacity) {
        size_t capacity = framing->length + size;
        capacity = capacity < 2 * framing->capacity ? 2 * framing->capacity : capacity;
        char *data = malloc(capacity); /* realloc would leave what was said behind */
        if (!data) {
            return NULL;
        }
        if (framing->data) {
            memcpy(data, framing->data, framing->length);
            explicit_bzero(framing->data, framing->length);
            free(framing->data);
        }
        framing->data = data;
        framing->capacity = capacity;
    }
    return framing->data + framing->length;
}

void varlink_framing_add(struct varlink_framing *framing, size_t size)
{
    framing->length += size;
}

int varlink_framing_next(struct varlink_framing *framing, char **message, size_t *length)
{
    char *start = framing->data ? framing->data + framing->used : NULL;
    char *zero = framing->length > framing->scanned ? memchr(framing->data + framing->scanned,
                                                          0, framing->length - framing->scanned)
                                                    : NULL;
    size_t size = zero ? (size_t)(zero - start) + 1 : varlink_framing_waiting(framing);
    if (size > framing->limit || (!zero && size == framing->limit)) {
        return -EMSGSIZE;
    }
    if (!zero) {
        framing->scanned = framing->length;
        return 0;
    }
    *message = start;
    *length = size - 1;
    framing->used += size;
    framing->scanned = framing->used;
    return 1;
}

size_t varlink_framing_waiting(const struct varlink_framing *framing)
{
    return framing->length - framing->used;
}

int varlink_framing_has_news(const struct varlink_framing *framing)
{
    return framing->length > framing->scanned;
}
