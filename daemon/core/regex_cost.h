/* How much a regular expression grows when the C library compiles it: it writes out every
 * repetition, so that a line of text may want gigabytes. */
#ifndef CORE_REGEX_COST_H
#define CORE_REGEX_COST_H

#include <stdint.h>

enum { REGEX_COST_MOST = 5000 };

/* The number of nodes of an extended regular expression, about; more than REGEX_COST_MOST for
 * whatever grows beyond that or nests too deeply. It need not be a correct one. */
uint64_t regex_cost(const char *regex);

#endif
