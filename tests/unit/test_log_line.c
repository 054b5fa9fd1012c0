/* common/log_line: what the keeper writes is read back, and nothing else passes for a line. */
#include <stdint.h>

#include "common/log_line.h"
#include "tests/unit/check.h"

static void gives_back_what_was_written(void)
{
    static const int64_t times[] = {0, 1, 999999, 1000000, 1795550000123456, INT64_MAX / 2};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        for (const char *mark = "oeOEg"; *mark; mark++) {
            char bytes[LOG_STAMP_SIZE + 8];
            struct log_line line = {0};
            size_t n = log_line_stamp(times[i], *mark, bytes);
            CHECK_INT((long long)n, (long long)strlen(bytes));
            memcpy(bytes + n, " a\0b ", 5);
            CHECK(log_line_parse(bytes, n + 5, &line));
            CHECK_INT(line.at_us, times[i]);
            CHECK_INT(line.mark, *mark);
            CHECK(line.length == 5 && !memcmp(line.text, " a\0b ", 5));
            CHECK(log_line_parse(bytes, n, &line) && !line.length); /* an empty line */
            for (size_t cut = 0; cut < n; cut++) {
                CHECK(!log_line_parse(bytes, cut, &line));
            }
        }
    }
    char bytes[LOG_STAMP_SIZE];
    log_line_stamp(-5, 'o', bytes);
    CHECK_STRING(bytes, "0.000000 o ");
}

static void refuses_what_is_none(void)
{
    static const char *const bad[] = {"", "text", "1.23 o x", "1.000000", "1.000000 o",
        "1.000000 x y", "1.000000  o y", " 1.000000 o y", "-1.000000 o y", "+1.000000 o y",
        "1.-00001 o y", "1.0000000 o y", "1,000000 o y", ".000000 o y", "1.000000\no y",
        "1.000000 oe y", "9223372036854.775807 o y", "99999999999999.000000 o y"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct log_line line;
        if (!CHECK(!log_line_parse(bad[i], strlen(bad[i]), &line))) {
            fprintf(stderr, "    %s\n", bad[i]);
        }
    }
    struct log_line line;
    CHECK(!log_line_parse("1.000000 \0 y", 12, &line)); /* no mark, not even strchr's NUL */
}

int main(void)
{
    gives_back_what_was_written();
    refuses_what_is_none();
    return check_result();
}
