/* Checks for test programs. A failed check is told with its place and the program goes on, so
 * one run shows everything that is wrong; main ends with `return check_result();`. */
#ifndef TESTS_UNIT_CHECK_H
#define TESTS_UNIT_CHECK_H

#include <stdio.h>
#include <string.h>

static int check_count, check_failures;

static inline int check_that(int holds, const char *file, int line, const char *words)
{
    check_count++;
    if (!holds) {
        check_failures++;
        fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, words);
    }
    return holds;
}

static inline int check_integers(
    long long got, long long wanted, const char *file, int line, const char *words)
{
    int holds = check_that(got == wanted, file, line, words);
    if (!holds) {
        fprintf(stderr, "    got %lld, wanted %lld\n", got, wanted);
    }
    return holds;
}

static inline int check_strings(
    const char *got, const char *wanted, const char *file, int line, const char *words)
{
    int holds =
        check_that(got && wanted ? !strcmp(got, wanted) : got == wanted, file, line, words);
    if (!holds) {
        fprintf(stderr, "    got    %.300s\n    wanted %.300s\n", got ? got : "(none)",
            wanted ? wanted : "(none)");
    }
    return holds;
}

static inline int check_result(void)
{
    printf("%d checks, %d failed\n", check_count, check_failures);
    return check_failures || !check_count;
}

/* Each gives whether it held. */
#define CHECK(condition) check_that(!!(condition), __FILE__, __LINE__, #condition)
#define CHECK_INT(got, wanted)                                                                 \
    check_integers((got), (wanted), __FILE__, __LINE__, #got " == " #wanted)
#define CHECK_STRING(got, wanted)                                                              \
    check_strings((got), (wanted), __FILE__, __LINE__, #got " is " #wanted)

#endif
