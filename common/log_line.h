/* One line of a log on disk, written by keepers and gearsd, read back by the Logs method:
 *
 *     SECONDS.MICROS MARK TEXT
 *
 * MARK: o and e for the stream, O and E when the line goes on in the next one, g for a note by
 * Gears. TEXT is whatever a program printed. */
#ifndef COMMON_LOG_LINE_H
#define COMMON_LOG_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LOG_STAMP_SIZE = 32 }; /* of the longest stamp, its space and the closing NUL */

struct log_line {
    int64_t at_us; /* since 1970, UTC */
    char mark;
    const char *text; /* in the line that was parsed: no NUL behind it */
    size_t length;
};

/* All that stands before TEXT, with a closing NUL; returns its length. A time before 1970 is
 * written as 0. */
size_t log_line_stamp(int64_t at_us, char mark, char out[LOG_STAMP_SIZE]);

/* Parse `length` bytes without their newline. False for what is not such a line: nothing in it
 * is guessed. */
bool log_line_parse(const char *line, size_t length, struct log_line *out);

#endif
