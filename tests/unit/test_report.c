/* The report among what a login shell prints: found wherever it may stand, nowhere else. */
#include <errno.h>
#include <stdlib.h>

#include "daemon/tunnel/report.h"
#include "tests/unit/check.h"

#define WORD "@gears-report 1 "

static char big[200000];

static const char *find(const char *output, size_t length)
{
    static char found[REPORT_TEXT_MOST + 1];
    struct report report;
    CHECK_INT(report_init(&report), 0);
    int code = report_feed(&report, output, length);
    snprintf(found, sizeof found, "%s",
        code == 1   ? report.text
        : code == 0 ? "(none)"
                    : "(too much)");
    report_finish(&report);
    return found;
}

static void finds_it(void)
{
    static const char *const outputs[] = {
        WORD "{}\n",
        "\n" WORD "{}\n",
        WORD "{}\r\n",
        "Welcome\nto Andes\n" WORD "{}\nmore",
        "no newline before the one of the report\n" WORD "{}\n",
        "50%\r100%\r" WORD "{}\n",
        "\033]0;title\007\n" WORD "{}\n",
        WORD "later\n" WORD "{}\n",
        WORD "{\n" WORD "{}\n",
        WORD "{\t}\n" WORD "{}\n",
        WORD "\r" WORD "{}\n",
        "@gears-report 2 {\"newer\":1}\n" WORD "{}\n",
        "@gears-@gears-report 1 {\"a\":1}\n" WORD "{}\n",
        "\n\n\r\n\r\r" WORD "{}\n",
    };
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++) {
        if (!CHECK_STRING(find(outputs[i], strlen(outputs[i])), "{}")) {
            fprintf(stderr, "    %s\n", outputs[i]);
        }
    }
    CHECK_STRING(find("\0\0\n" WORD "{}\n", 3 + sizeof WORD + 2), "{}");
    CHECK_STRING(find(WORD "{\"host\":\"andes-login3\"}\n", sizeof WORD + 23),
        "{\"host\":\"andes-login3\"}");
}

static void finds_nothing_else(void)
{
    static const char *const outputs[] = {"", "\n", WORD "{}", WORD "{}\r", WORD "\n",
        WORD "{\n", WORD "[]\n", WORD "{} x\n", " " WORD "{}\n", "x" WORD "{}\n",
        "+ echo " WORD "{}\n", "@gears-report 10 {}\n", "@gears-report  1 {}\n",
        "@GEARS-REPORT 1 {}\n", WORD "{\033}\n", WORD "{\177}\n", WORD "{\r}\n"};
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++) {
        if (!CHECK_STRING(find(outputs[i], strlen(outputs[i])), "(none)")) {
            fprintf(stderr, "    %s\n", outputs[i]);
        }
    }
    CHECK_STRING(find(WORD "{\0}\n", sizeof WORD + 3), "(none)");
}

static void is_bounded(void)
{
    size_t word = sizeof WORD - 1;
    memset(big, 'x', sizeof big);
    big[REPORT_NOISE_MOST - 1] = '\n';
    memcpy(big + REPORT_NOISE_MOST, WORD "{}\n", word + 3);
    CHECK_STRING(find(big, REPORT_NOISE_MOST + word + 3), "{}");
    big[REPORT_NOISE_MOST - 1] = 'x';
    CHECK_STRING(find(big, sizeof big), "(too much)");

    memset(big, 'x', sizeof big);
    memcpy(big, WORD "{", word + 1);
    big[word + REPORT_TEXT_MOST - 1] = '}';
    big[word + REPORT_TEXT_MOST] = '\n';
    CHECK_INT((long long)strlen(find(big, word + REPORT_TEXT_MOST + 1)), REPORT_TEXT_MOST);
    big[word + REPORT_TEXT_MOST - 1] = 'x';
    big[word + REPORT_TEXT_MOST] = '}';
    big[word + REPORT_TEXT_MOST + 1] = '\n';
    CHECK_STRING(find(big, word + REPORT_TEXT_MOST + 2), "(too much)");
}

static void keeps_the_end(void)
{
    struct report report;
    char last[REPORT_LAST_MOST];
    CHECK_INT(report_init(&report), 0);
    CHECK_INT((long long)report_last(&report, last), 0);
    CHECK_INT(report_feed(&report, "bash: not found\n", 16), 0);
    CHECK_INT((long long)report_last(&report, last), 16);
    CHECK(!memcmp(last, "bash: not found\n", 16));
    for (size_t i = 0; i < sizeof big; i++) {
        big[i] = (char)('a' + i % 26);
    }
    CHECK_INT(report_feed(&report, big, 9000), 0);
    CHECK_INT((long long)report_last(&report, last), REPORT_LAST_MOST);
    CHECK(!memcmp(last, big + 9000 - REPORT_LAST_MOST, REPORT_LAST_MOST));
    report_finish(&report);
}

int main(void)
{
    finds_it();
    finds_nothing_else();
    is_bounded();
    keeps_the_end();
    return check_result();
}
