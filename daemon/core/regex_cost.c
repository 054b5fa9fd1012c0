/* Estimating regular expressions before regcomp sees them. Called when a configuration is
 * checked. */
#include "daemon/core/regex_cost.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MOST = 64, TOO_MUCH = REGEX_COST_MOST + 1 };

struct walk {
    uint64_t totals[DEPTH_MOST]; /* of each open group, without its last atom */
    size_t depth;
    uint64_t last; /* of the atom that a repetition behind it would repeat */
};

static uint64_t bound(uint64_t cost)
{
    return cost < TOO_MUCH ? cost : TOO_MUCH;
}

static void next_atom(struct walk *walk, uint64_t cost)
{
    walk->totals[walk->depth] = bound(walk->totals[walk->depth] + walk->last);
    walk->last = cost;
}

/* Behind a bracket expression; `at` stands behind its [. */
static const char *skip_brackets(const char *at)
{
    at += *at == '^';
    at += *at == ']'; /* first in the list it stands for itself */
    while (*at && *at != ']') {
        bool nested = *at == '[' && at[1] && strchr(":.=", at[1]);
        const char *end = nested ? strchr(at + 2, ']') : NULL;
        at = end ? end + 1 : at + 1;
    }
    return *at ? at + 1 : at;
}

/* {n}, {n,} and {n,m} write their atom out so many times. */
static const char *repeat(struct walk *walk, const char *at)
{
    char *end;
    unsigned long count = strtoul(at, &end, 10), most = count;
    if (*end == ',') {
        most = strtoul(end + 1, &end, 10);
        most = most ? most : count + 1;
    }
    most = most > count ? most : count;
    walk->last = most < TOO_MUCH ? bound((walk->last + 1) * (most + 1)) : TOO_MUCH;
    return *end == '}' ? end + 1 : at;
}

static bool close_group(struct walk *walk)
{
    if (!walk->depth) {
        return false;
    }
    uint64_t whole = bound(walk->totals[walk->depth] + walk->last + 1);
    walk->depth--;
    walk->last = whole;
    return true;
}

uint64_t regex_cost(const char *regex)
{
    struct walk walk = {.depth = 0};
    for (const char *at = regex; *at;) {
        char c = *at++;
        if (c == '\\') {
            next_atom(&walk, 1);
            at += *at != 0;
        } else if (c == '[') {
            next_atom(&walk, 1);
            at = skip_brackets(at);
        } else if (c == '(') {
            next_atom(&walk, 0);
            if (++walk.depth == DEPTH_MOST) {
                return TOO_MUCH;
            }
            walk.totals[walk.depth] = 0;
        } else if (c == '{') {
            at = repeat(&walk, at);
        } else if (c == '+') { /* once, and then as often as one likes */
            walk.last = bound(2 * walk.last + 1);
        } else if (c == '*' || c == '?') {
            walk.last = bound(walk.last + 1);
        } else if (c != ')' || !close_group(&walk)) {
            next_atom(&walk, 1);
        }
    }
    while (close_group(&walk)) {
    }
    return bound(walk.totals[0] + walk.last);
}
