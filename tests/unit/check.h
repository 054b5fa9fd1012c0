/* CHECK: like assert, counted, on in every build, saying what it saw. */
#ifndef UNIT_CHECK_H
#define UNIT_CHECK_H

#include <stdio.h>

static int check_failures;

#define CHECK(condition)                                                                       \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                    \
            check_failures++;                                                                  \
        }                                                                                      \
    } while (0)

#endif
