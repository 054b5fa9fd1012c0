/* Judging regular expressions before regcomp sees them. For checking a configuration. */
#include "daemon/core/regex_cost.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MOST = 64, TOO_MUCH = REGEX_COST_MOST + 1 };

/* An open group, or the whole. */
struct group {
    uint64_t cost;  /* without the last atom */
    bool empty;     /* whether the branch so far may match nothing */
    bool one_empty; /* whether a branch before it may */
};

struct walk {
    struct group groups[DEPTH_MOST];
    size_t depth;
    uint64_t last; /* the atom that a repetition behind it would repeat */
    bool last_empty;
};

static uint64_t bound(uint64_t cost)
{
    return cost < TOO_MUCH ? cost : TOO_MUCH;
}

static void next_atom(struct walk *walk, uint64_t cost, bool empty)
{
    struct group *group = &walk->groups[walk->depth];
    group->cost = bound(group->cost + walk->last);
    group->empty = group->empty && walk->last_empty;
    walk->last = cost;
    walk->last_empty = empty;
}

static void next_branch(struct walk *walk)
{
    struct group *group = &walk->groups[walk->depth];
    next_atom(walk, 1, true);
    group->one_empty = group->one_empty || group->empty;
    group->empty = true;
}

/* Written out `most` times, `least` of which must be there. */
static void repeat(struct walk *walk, uint64_t least, uint64_t most)
{
    walk->last =
        walk->last_empty || most >= TOO_MUCH ? TOO_MUCH : bound((walk->last + 1) * (most + 1));
    walk->last_empty = walk->last_empty || !least;
}

/* {n}, {n,}, {n,m}, {,m}; `at` stands behind the brace. Returns what follows. */
static const char *repeat_counted(struct walk *walk, const char *at)
{
    char *end;
    unsigned long least = strtoul(at, &end, 10), most = least;
    if (*end == ',') {
        most = strtoul(end + 1, &end, 10);
    }
    repeat(walk, least, most > least ? most : least);
    return *end == '}' ? end + 1 : at;
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

static bool open_group(struct walk *walk)
{
    next_atom(walk, 0, true);
    if (walk->depth + 1 == DEPTH_MOST) {
        return false;
    }
    walk->groups[++walk->depth] = (struct group){.empty = true};
    return true;
}

static bool close_group(struct walk *walk)
{
    if (!walk->depth) {
        return false;
    }
    next_branch(walk);
    const struct group *group = &walk->groups[walk->depth--];
    walk->last = bound(group->cost + 1);
    walk->last_empty = group->one_empty;
    return true;
}

uint64_t regex_cost(const char *regex)
{
    struct walk walk = {.groups = {{.empty = true}}, .last_empty = true};
    for (const char *at = regex; *at;) {
        char c = *at++;
        if (c == '\\') { /* \b and its like stand between characters */
            next_atom(&walk, 1, *at && strchr("bB<>`'", *at));
            at += *at != 0;
        } else if (c == '[') {
            next_atom(&walk, 1, false);
            at = skip_brackets(at);
        } else if (c == '(') {
            if (!open_group(&walk)) {
                return TOO_MUCH;
            }
        } else if (c == '{') {
            at = repeat_counted(&walk, at);
        } else if (c == '+' || c == '*' || c == '?') {
            repeat(&walk, c == '+', 1);
        } else if (c == '|') {
            next_branch(&walk);
        } else if (c != ')' || !close_group(&walk)) {
            next_atom(&walk, 1, c == '^' || c == '$');
        }
    }
    while (close_group(&walk)) {
    }
    return bound(walk.groups[0].cost + walk.last);
}
