/* What a regular expression would cost the C library to compile: it writes out every repetition
 * and follows every way through what may be empty, so that a line of text may want gigabytes or
 * hours. */
#ifndef CORE_REGEX_COST_H
#define CORE_REGEX_COST_H

#include <stdint.h>

enum { REGEX_COST_MOST = 1000 };

/* The number of nodes of an extended regular expression, about; more than REGEX_COST_MOST for
 * whatever grows beyond that, nests too deeply or repeats what may match nothing. It need not
 * be a correct one. */
uint64_t regex_cost(const char *regex);

#endif
