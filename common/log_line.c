/* Stamps of log lines, both ways. Used by keepers and gearsd; needs nothing but libc. */
#include "common/log_line.h"

#include <stdio.h>
#include <string.h>

enum { SECOND_US = 1000000, SECONDS_DIGITS = 13, MICROS_DIGITS = 6 };

size_t log_line_stamp(int64_t at_us, char mark, char out[LOG_STAMP_SIZE])
{
    at_us = at_us > 0 ? at_us : 0;
    return (size_t)snprintf(out, LOG_STAMP_SIZE, "%lld.%06lld %c ",
        (long long)(at_us / SECOND_US), (long long)(at_us % SECOND_US), mark);
}

/* The number at the front; how many digits it has, at most `most`. */
static size_t read_digits(const char *at, const char *end, size_t most, int64_t *value)
{
    size_t count = 0;
    *value = 0;
    while (count < most && at + count < end && at[count] >= '0' && at[count] <= '9') {
        *value = *value * 10 + (at[count] - '0');
        count++;
    }
    return count;
}

bool log_line_parse(const char *line, size_t length, struct log_line *out)
{
    const char *at = line, *end = line + length;
    int64_t seconds, micros;
    size_t digits = read_digits(at, end, SECONDS_DIGITS, &seconds);
    at += digits;
    if (!digits || seconds >= INT64_MAX / SECOND_US || at == end || *at++ != '.' ||
        read_digits(at, end, MICROS_DIGITS, &micros) != MICROS_DIGITS) {
        return false;
    }
    at += MICROS_DIGITS;
    if (end - at < 3 || at[0] != ' ' || !at[1] || !strchr("oeOEg", at[1]) || at[2] != ' ') {
        return false;
    }
    *out = (struct log_line){
        seconds * SECOND_US + micros, at[1], at + 3, (size_t)(end - (at + 3))};
    return true;
}
