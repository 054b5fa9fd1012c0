/* A record from disk, perhaps half-written. What is accepted must come back the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/record.h"

static void must_be_equal(const struct record *a, const struct record *b, const char *key)
{
    const char *left, *right;
    size_t i = 0;
    do {
        left = record_find(a, key, i);
        right = record_find(b, key, i);
        if (!left != !right || (left && strcmp(left, right) != 0)) {
            abort();
        }
        i++;
    } while (left);
    if (record_integer(a, key, -1) != record_integer(b, key, -1)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = {""};
    struct record *record = NULL, *again = NULL;
    if (record_parse((const char *)data, size, &record, &err)) {
        if (!err.text[0]) {
            abort(); /* refused without words */
        }
        return 0;
    }
    size_t length = 0;
    char *text = record_format(record, &length);
    if (!text) {
        abort();
    }
    if (record_parse(text, length, &again, &err)) {
        abort();
    }
    must_be_equal(record, again, "service");
    must_be_equal(record, again, "a");
    must_be_equal(record, again, "exit.at");
    free(text);
    record_destroy(again);
    record_destroy(record);
    return 0;
}
