/* Formatting of error causes; every program uses it. */
#include "common/error.h"

#include <stdio.h>
#include <string.h>

int error_set(struct error *err, int code, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
    }
    return code;
}

int error_errno(struct error *err, int code, const char *format, ...)
{
    if (err) {
        char words[400];
        va_list args;
        va_start(args, format);
        vsnprintf(words, sizeof words, format, args);
        va_end(args);
        snprintf(err->text, sizeof err->text, "%s: %s", words, strerror(-code));
    }
    return code;
}

void error_prefix(struct error *err, const char *format, ...)
{
    if (!err) {
        return;
    }
    char words[256];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    struct error old = *err;
    snprintf(err->text, sizeof err->text, "%s: %s", words, old.text);
}
