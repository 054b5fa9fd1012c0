/* The bytes a login shell prints before, around and instead of the report. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/tunnel/report.h"

/* What is found does not depend on how the bytes were cut, and is what it has to be. */
static void check_text(const struct report *report)
{
    size_t length = strlen(report->text);
    if (length < 2 || length > REPORT_TEXT_MOST || report->text[0] != '{' ||
        report->text[length - 1] != '}') {
        abort();
    }
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)report->text[i];
        if (c < 0x20 || c == 0x7f) {
            abort();
        }
    }
}

static void check_last(const struct report *report, const uint8_t *data, size_t size)
{
    char last[REPORT_LAST_MOST];
    size_t length = report_last(report, last);
    if (length > size || (length && memcmp(last, data + size - length, length) != 0)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct report whole, parts;
    if (report_init(&whole) || report_init(&parts)) {
        exit(2);
    }
    int code = report_feed(&whole, (const char *)data, size), other = 0;
    size_t step = size ? data[0] % 7 + 1u : 1, at = 0;
    for (; at < size && other == 0; at += step) {
        other =
            report_feed(&parts, (const char *)data + at, size - at < step ? size - at : step);
    }
    if (code != other || (code == 1 && strcmp(whole.text, parts.text) != 0)) {
        abort();
    }
    if (code == 1) {
        check_text(&whole);
    } else if (code == 0) {
        check_last(&whole, data, size);
        check_last(&parts, data, size);
    }
    report_finish(&whole);
    report_finish(&parts);
    return 0;
}
