/* Which regular expressions may be compiled: what is costly is told from what looks like it. */
#include <stdint.h>
#include <stdlib.h>

#include "daemon/core/regex_cost.h"
#include "tests/unit/check.h"

static void allows_the_usual(void)
{
    static const char *const usual[] = {"", "^up$", "Uvicorn running on .*:[0-9]+",
        "listening (on|at) [^ ]+ \\(pid [0-9]{1,7}\\)", "([0-9]{1,3}\\.){3}[0-9]{1,3}",
        "[]{}(+]{2}", "[[:space:]]+[[.-.]]{3}", "a{,3}", "x{255}", "(x{20}){20}", "a|b|c|()",
        "(a+)+(b+)+", "(a|b+c?)*d", "(^|,)ok($|,)", "(a*b)*", "\\bup\\b", "[", "(", ")", "a{",
        "\\", "a\\"};
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        if (!CHECK(regex_cost(usual[i]) <= REGEX_COST_MOST)) {
            fprintf(stderr, "    %s\n", usual[i]);
        }
    }
}

static void refuses_what_explodes(void)
{
    static const char *const bombs[] = {"((x{255}){255}){255}", "(((a{100}){100}){100}){100}",
        "((((((((((((((((((a+)+)+)+)+)+)+)+)+)+)+)+)+)+)+)+)+)+)+", "x{99999999999999999999}",
        "([[:alpha:]]{250}b{250}){250}{250}", "(((x{30000,}){30000,})",
        /* what may match nothing, repeated: hours */
        "((((((()+)+)+?++)+)+)+)+))", "a((){0,3}{9}^$()+{9})+", "(a*)*", "(a|b?)+", "(a|)+",
        "()*", "a*+", "^*", "(\\b)+", "*", "{1}", "(a?b?)+"};
    for (size_t i = 0; i < sizeof bombs / sizeof *bombs; i++) {
        if (!CHECK(regex_cost(bombs[i]) > REGEX_COST_MOST)) {
            fprintf(stderr, "    %s\n", bombs[i]);
        }
    }
    enum { DEEP = 1 << 20 };
    char *deep = calloc(DEEP + 1, 1);
    if (CHECK(deep)) {
        memset(deep, '(', DEEP);
        CHECK(regex_cost(deep) > REGEX_COST_MOST);
        memset(deep, 'a', DEEP); /* long, too */
        CHECK(regex_cost(deep) > REGEX_COST_MOST);
    }
    free(deep);
}

int main(void)
{
    allows_the_usual();
    refuses_what_explodes();
    return check_result();
}
