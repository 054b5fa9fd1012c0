/* What ssh prints, most of it in a server's words. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/tunnel/openssh_words.h"

static void check_visible(const char *text, size_t size)
{
    size_t length = strnlen(text, size);
    if (length == size) {
        abort();
    }
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == 0x7f) {
            abort();
        }
    }
}

/* What is understood does not depend on how the bytes were cut. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct openssh_words whole = {0}, parts = {0};
    words_feed(&whole, (const char *)data, size, NULL, NULL);
    words_finish(&whole);
    size_t step = size ? data[0] % 7 + 1u : 1;
    for (size_t at = 0; at < size; at += step) {
        size_t length = size - at < step ? size - at : step;
        words_feed(&parts, (const char *)data + at, length, NULL, NULL);
    }
    words_finish(&parts);
    if (memcmp(&whole, &parts, sizeof whole) != 0) {
        abort();
    }
    check_visible(whole.last, sizeof whole.last);
    check_visible(whole.detail, sizeof whole.detail);
    check_visible(whole.reason, sizeof whole.reason);
    check_visible(whole.address, sizeof whole.address);
    check_visible(whole.method, sizeof whole.method);
    while (words_take_refused(&whole)) {
    }
    char *text = strndup((const char *)data, size);
    if (text) {
        words_is_host_key(text);
    }
    free(text);
    return 0;
}
