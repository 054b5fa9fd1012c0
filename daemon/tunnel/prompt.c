/* Makes the texts of servers harmless for a terminal and else leaves them alone: people know
 * their prompts by heart. Used for prompts and for what servers say beside them. */
#include "daemon/tunnel/prompt.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/text.h"

/* The length of the UTF-8 character there, 0 if it is none (overlong, surrogate, too large). */
static size_t character(const uint8_t *at, size_t left, uint32_t *value)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = at[0] < 0x80   ? 1
               : at[0] < 0xc0 ? 0
               : at[0] < 0xe0 ? 2
               : at[0] < 0xf0 ? 3
               : at[0] < 0xf8 ? 4
                              : 0;
    if (!n || n > left) {
        return 0;
    }
    *value = n == 1 ? at[0] : at[0] & (0x7fU >> n);
    for (size_t i = 1; i < n; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
        *value = *value << 6 | (at[i] & 0x3f);
    }
    bool bad = *value < least[n] || *value > 0x10ffff || (*value >= 0xd800 && *value < 0xe000);
    return bad ? 0 : n;
}

static bool harmless(uint32_t value)
{
    bool control = value < 0x20 || (value >= 0x7f && value < 0xa0);
    bool direction = value == 0x200e || value == 0x200f || value == 0x061c ||
                     (value >= 0x2028 && value <= 0x202e) ||
                     (value >= 0x2066 && value <= 0x2069);
    return !direction && (!control || value == '\n');
}

char *prompt_text(const char *bytes, size_t length, size_t most)
{
    const uint8_t *at = (const uint8_t *)bytes;
    struct text text = {0};
    while (length && !text.failed) {
        uint32_t value = 0;
        size_t n = character(at, length, &value);
        char piece[24] = "";
        if (n && harmless(value)) {
            memcpy(piece, at, n);
        } else if (*at != '\r' || length < 2 || at[1] != '\n') {
            for (size_t i = 0; i < (n ? n : 1); i++) {
                snprintf(piece + 4 * i, 5, "\\x%02x", at[i]);
            }
        }
        if (text.length + strlen(piece) + 3 > most) {
            text_printf(&text, "...");
            break;
        }
        text_append(&text, piece, strlen(piece));
        n = n ? n : 1;
        at += n;
        length -= n;
    }
    return text_take(&text);
}

char *prompt_line(const char *bytes, size_t length, size_t most)
{
    char *text = prompt_text(bytes, length, most);
    size_t used = 0;
    for (size_t i = 0; text && text[i]; i++) {
        char c = text[i] == '\n' ? ' ' : text[i];
        if (c != ' ' || (used && text[used - 1] != ' ')) {
            text[used++] = c;
        }
    }
    if (text) {
        text[used && text[used - 1] == ' ' ? used - 1 : used] = 0;
    }
    return text;
}
