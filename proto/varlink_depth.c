/* UTF-8 and nesting check of a message, in one pass. */
#include "proto/varlink_depth.h"

#include <string.h>

/* Bytes of the UTF-8 sequence at `at`, 0 when malformed. */
static size_t sequence(const unsigned char *at, size_t left)
{
    size_t n = at[0] < 0x80                     ? 1
               : at[0] >= 0xc2 && at[0] < 0xe0  ? 2
               : at[0] >= 0xe0 && at[0] < 0xf0  ? 3
               : at[0] >= 0xf0 && at[0] <= 0xf4 ? 4
                                                : 0;
    if (!n || n > left) {
        return 0;
    }
    for (size_t i = 1; i < n; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
    bool surrogate = at[0] == 0xed && at[1] >= 0xa0;
    bool beyond = at[0] == 0xf4 && at[1] >= 0x90;
    return overlong || surrogate || beyond ? 0 : n;
}

void varlink_text_mend(char *text)
{
    size_t length = strlen(text), lead = length;
    while (lead && ((unsigned char)text[lead - 1] & 0xc0) == 0x80) {
        lead--;
    }
    if (lead && !sequence((const unsigned char *)text + lead - 1, length - lead + 1)) {
        text[lead - 1] = 0;
    }
}

void varlink_text_repair(char *text, size_t length)
{
    for (size_t at = 0; at < length;) {
        size_t n = sequence((unsigned char *)text + at, length - at);
        if (!n || !text[at]) {
            text[at] = '?';
        }
        at += n ? n : 1;
    }
}

bool varlink_text_is_sane(const char *text, size_t length, int limit)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + length;
    bool quoted = false;
    int depth = 0;
    while (at < end) {
        size_t n = sequence(at, (size_t)(end - at));
        if (!n) {
            return false;
        }
        if (quoted) {
            if (*at == '\\' && at + 1 < end) {
                n = 2;
                if (at[1] >= 0x80) {
                    return false;
                }
            } else if (*at == '"') {
                quoted = false;
            }
        } else if (*at == '"') {
            quoted = true;
        } else if (*at == '{' || *at == '[') {
            if (++depth > limit) {
                return false;
            }
        } else if (*at == '}' || *at == ']') {
            depth--;
        }
        at += n;
    }
    return true;
}
