/* Lines of a log on disk, which holds whatever programs print. A line that is taken for one
 * must be what a keeper would have written; its text must be fit for a message. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/log_line.h"
#include "proto/varlink_depth.h"

static void check_text(const struct log_line *line)
{
    char *text = malloc(line->length + 1);
    if (!text) {
        return;
    }
    memcpy(text, line->text, line->length);
    text[line->length] = 0;
    varlink_text_repair(text, line->length);
    /* Between quotes nothing nests: only the encoding is judged. */
    if (strlen(text) != line->length || !varlink_text_is_sane(text, line->length, INT32_MAX)) {
        char *at = text;
        while ((at = strpbrk(at, "\"\\"))) {
            *at = '.'; /* these end or escape what the check takes for a string */
        }
        if (strlen(text) != line->length ||
            !varlink_text_is_sane(text, line->length, INT32_MAX)) {
            abort();
        }
    }
    free(text);
}

static void check_line(const char *bytes, size_t length)
{
    struct log_line line;
    char stamp[LOG_STAMP_SIZE];
    if (!log_line_parse(bytes, length, &line)) {
        return;
    }
    size_t head = (size_t)(line.text - bytes), n;
    if (line.at_us < 0 || !memchr("oeOEg", line.mark, 5) || line.text < bytes ||
        head + line.length != length) {
        abort();
    }
    n = log_line_stamp(line.at_us, line.mark, stamp);
    /* Leading zeros are the one freedom. */
    if (n > head || n != strlen(stamp) || memcmp(stamp, bytes + head - n, n) != 0 ||
        strspn(bytes, "0") < head - n) {
        abort();
    }
    check_text(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *at = data, *end = data + size;
    for (;;) {
        const uint8_t *newline = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        size_t length = (size_t)((newline ? newline : end) - at);
        /* A copy of exactly this size: reading one byte too far is seen. */
        char *line = malloc(length ? length : 1);
        if (line && length) {
            memcpy(line, at, length);
        }
        if (line) {
            check_line(line, length);
        }
        free(line);
        if (!newline) {
            return 0;
        }
        at = newline + 1;
    }
}
