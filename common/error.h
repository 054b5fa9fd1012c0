/* Human-readable causes. Fallible functions return 0 or a negative errno and put the words into
 * a last `struct error *err`, which may be NULL when the caller has no use for them. */
#ifndef COMMON_ERROR_H
#define COMMON_ERROR_H

#include <stdarg.h>

struct error {
    char text[512]; /* one line, no newline; "" while nothing failed */
};

/* Replace the text. Longer text is cut. Returns `code`, so that `return error_set(err, -EINVAL,
 * ...)` reads well; `code` is a negative errno. */
int error_set(struct error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As error_set, followed by ": " and the words for errno `-code`. */
int error_errno(struct error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Put `format` and ": " in front of what the text says already. */
void error_prefix(struct error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
