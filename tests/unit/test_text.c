/* common/text: growing text and the small values of files and command lines. */
#include <errno.h>
#include <signal.h>

#include "common/text.h"
#include "tests/unit/scratch.h"

static void test_buffer(void)
{
    struct text text = {0};
    CHECK_STRING(text_string(&text), "");
    for (int i = 0; i < 1000; i++) {
        text_printf(&text, "%d,", i % 10);
    }
    text_append(&text, "a\0b", 3);
    CHECK_INT((long long)text.length, 2003);
    CHECK(!memcmp(text.data + 2000, "a\0b", 4));
    char *taken = text_take(&text);
    CHECK(taken && !text.data && !text.length);
    free(taken);
    taken = text_take(&text);
    CHECK_STRING(taken, "");
    free(taken);
    text_append(&text, "x", SIZE_MAX / 2); /* no memory is that large: remembered, no crash */
    CHECK(text.failed);
    text_append(&text, "y", 1);
    CHECK(!text_take(&text) && !text.failed);
}

static void test_durations(void)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"90s", 90000}, {"15m", 900000}, {"24h", 86400000}, {"7d", 604800000},
        {"250ms", 250}, {"30", 30000}, {"0", 0}, {"1h30m", 5400000}, {"3660d", 316224000000}};
    static const char *const bad[] = {"", "s", "-1s", "1.5h", "1 h", "10x", "1h30", "+3",
        "3661d", "99999999999999999999s", "9223372036854775807ms", " 1s", "1S"};
    struct error err;
    int64_t ms;
    char words[32];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        CHECK_INT(duration_parse(good[i].text, &ms, &err), 0);
        CHECK_INT(ms, good[i].ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ms = 77;
        if (!CHECK_INT(duration_parse(bad[i], &ms, &err), -EINVAL) || !CHECK_INT(ms, 77)) {
            fprintf(stderr, "    \"%s\"\n", bad[i]);
        }
    }
    duration_format(250, words, sizeof words);
    CHECK_STRING(words, "250ms");
    duration_format(312000, words, sizeof words);
    CHECK_STRING(words, "5m12s");
    duration_format((3 * 24 + 2) * 3600000LL + 59000, words, sizeof words);
    CHECK_STRING(words, "3d2h");
}

static void test_sizes_and_integers(void)
{
    static const char *const bad[] = {
        "", "K", "-1", "1.5M", "1X", "1MM", "8388608T", "18446744073709551616", " 1"};
    struct error err;
    uint64_t bytes = 0;
    long long number = 0;
    CHECK(!size_parse("64M", &bytes, &err) && bytes == 64ULL << 20);
    CHECK(!size_parse("512KiB", &bytes, &err) && bytes == 512ULL << 10);
    CHECK(!size_parse("1tB", &bytes, &err) && bytes == 1ULL << 40);
    CHECK(!size_parse("17", &bytes, &err) && bytes == 17);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (!CHECK_INT(size_parse(bad[i], &bytes, &err), -EINVAL)) {
            fprintf(stderr, "    \"%s\"\n", bad[i]);
        }
    }
    CHECK(!integer_parse("-5", -5, 5, &number, &err) && number == -5);
    CHECK_INT(integer_parse("6", -5, 5, &number, &err), -EINVAL);
    CHECK_STRING(err.text, "6 is outside -5 to 5");
    CHECK_INT(integer_parse("5x", -5, 5, &number, &err), -EINVAL);
    CHECK_INT(integer_parse("", -5, 5, &number, NULL), -EINVAL);
    CHECK_INT(integer_parse(" 5", -5, 5, &number, NULL), -EINVAL);
    CHECK_INT(integer_parse("99999999999999999999", -5, 5, &number, NULL), -EINVAL);
}

static void test_names_and_signals(void)
{
    static const char *const bad[] = {"", "Lab", "-a", ".a", "a/b", "a b", "gearsd", "relay",
        "x.sck", "abcdefghijklmnopqrstuvwxyz0123456"};
    struct error err;
    int number = 0;
    CHECK_INT(name_check("lab", &err), 0);
    CHECK_INT(name_check("0.a_b-c", &err), 0);
    CHECK_INT(name_check("abcdefghijklmnopqrstuvwxyz012345", &err), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (!CHECK_INT(name_check(bad[i], &err), -EINVAL)) {
            fprintf(stderr, "    \"%s\"\n", bad[i]);
        }
    }
    CHECK(!signal_parse("TERM", &number, &err) && number == SIGTERM);
    CHECK(!signal_parse("SIGUSR1", &number, &err) && number == SIGUSR1);
    CHECK(!signal_parse("9", &number, &err) && number == SIGKILL);
    CHECK_INT(signal_parse("0", &number, &err), -EINVAL);
    CHECK_INT(signal_parse("65", &number, &err), -EINVAL);
    CHECK_INT(signal_parse("BOO", &number, &err), -EINVAL);
    CHECK_STRING(signal_name(SIGKILL), "KILL");
    CHECK_STRING(signal_name(40), "40");
}

static void test_words(void)
{
    static const char *const keys[] = {"stop_timeout", "start_timeout", "env", NULL};
    char out[64], small[8];
    CHECK_STRING(closest_find("stop_timout", keys), "stop_timeout");
    CHECK_STRING(closest_find("evn", keys), "env");
    CHECK_STRING(closest_find("workspace", keys), NULL);
    CHECK_STRING(closest_find("a_word_that_is_longer_than_any_row_here", keys), NULL);
    visible_format("a\n\t\x1b[0m\\\xff", 9, out, sizeof out);
    CHECK_STRING(out, "a\\n\\t\\x1b[0m\\\\\\xff");
    visible_format("aaaaaaaaaaaaaaaa", 16, small, sizeof small);
    CHECK_STRING(small, "aaaa...");
    CHECK(string_equal(NULL, NULL) && string_equal("a", "a") && !string_equal("a", NULL) &&
          !string_equal("a", "b"));
}

static void test_numbers(void)
{
    uint64_t numbers[3] = {0};
    CHECK_INT((int)numbers_parse(" 7 18446744073709551615\n-1 4", numbers, 3), 3);
    CHECK(numbers[0] == 7 && numbers[1] == UINT64_MAX && numbers[2] == UINT64_MAX);
    CHECK_INT((int)numbers_parse("7 8", numbers, 3), 2);
    CHECK_INT((int)numbers_parse("7 8x 9", numbers, 3), 1);
    CHECK_INT((int)numbers_parse("7 - 9", numbers, 3), 1);
    CHECK_INT((int)numbers_parse("", numbers, 3), 0);
}

int main(void)
{
    test_buffer();
    test_numbers();
    test_durations();
    test_sizes_and_integers();
    test_names_and_signals();
    test_words();
    return check_result();
}
