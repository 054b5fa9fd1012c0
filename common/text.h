/* Small text: growing buffers, durations, sizes, names. No allocation unless said. */
#ifndef COMMON_TEXT_H
#define COMMON_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/* A growing, always NUL-terminated text. Zero-initialise; finish with text_finish. An
 * allocation failure is remembered in `failed` and later appends do nothing, so callers check
 * once. */
struct text {
    char *data; /* NULL until the first append */
    size_t length;
    size_t capacity;
    bool failed;
};

void text_append(struct text *text, const void *bytes, size_t length);
void text_printf(struct text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The text, "" when nothing was appended; owned by `text`. */
const char *text_string(const struct text *text);
/* Hand the heap string to the caller (who frees it; NULL on failure) and reset. */
char *text_take(struct text *text);
void text_finish(struct text *text);

/* "90s", "15m", "24h", "7d", "250ms", a bare number = seconds, "0" = none → milliseconds.
 * Returns 0, or -EINVAL with words. At most 10 years. */
int duration_parse(const char *string, int64_t *milliseconds, struct error *err);
/* Shortest exact or rounded form, for people: "3d2h", "5m12s", "250ms". */
void duration_format(int64_t milliseconds, char *buffer, size_t size);

/* "64M", "1G", "512K", "1T" (powers of 1024), a bare number = bytes. 0 or -EINVAL. */
int size_parse(const char *string, uint64_t *bytes, struct error *err);

/* A whole decimal integer within [low, high]. 0 or -EINVAL. */
int integer_parse(
    const char *string, long long low, long long high, long long *value, struct error *err);

/* Up to `limit` decimal integers with blanks between them, a negative one as its two's
 * complement; returns how many stand before the end or the first that is none. sscanf would do,
 * but costs a static program 100 KB. */
size_t numbers_parse(const char *string, uint64_t *numbers, size_t limit);

/* Names of services, clusters, pools: [a-z0-9][a-z0-9_.-]*, at most 32 bytes, and neither one
 * of the daemon's own ("gearsd", "relay") nor ending in ".sck". 0 or -EINVAL with words. */
int name_check(const char *name, struct error *err);
enum { NAME_TEXT_SIZE = 33 }; /* such a name and a NUL */

/* "TERM", "SIGTERM" or "15" → number; -EINVAL with words. */
int signal_parse(const char *string, int *number, struct error *err);
/* "TERM" for 15; "31" form for unnamed ones. Static storage per thread. */
const char *signal_name(int number);

/* strcmp(a, b) == 0 where both may be NULL (NULL equals only NULL). */
bool string_equal(const char *a, const char *b);

/* Write `bytes` to `out` with control characters and non-ASCII invalid bytes made visible
 * (\n, \t, \xNN), cut at `size` with "…"; for putting what a peer said into one log line. */
void visible_format(const char *bytes, size_t length, char *out, size_t size);

/* The candidate closest to `word` by edit distance (≤ 2), or NULL: "did you mean". `candidates`
 * ends with NULL. */
const char *closest_find(const char *word, const char *const *candidates);

#endif
