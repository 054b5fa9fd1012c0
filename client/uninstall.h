/* What uninstall would remove: found by what Gears itself put there, never by name alone. */
#ifndef CLIENT_UNINSTALL_H
#define CLIENT_UNINSTALL_H

#include <stdbool.h>
#include <stddef.h>

#include "common/home.h"

enum { PLAN_MOST = 1024 };

struct plan {
    char *removes[PLAN_MOST]; /* absolute, each with all that is in it */
    size_t remove_count;
    char *empties[64]; /* folders to remove afterwards if nothing is left in them */
    size_t empty_count;
    char *keeps[256]; /* names in GEARS_HOME that stay */
    size_t keep_count;
    char *hops[64]; /* clusters that this host is logged in to: logged out first */
    size_t hop_count;
    char elsewhere[512]; /* a host whose gearsd or hop may still live, "" for none; its lease
                            behind a blank */
};

/* `share` is the folder of the installed files, to tell an untouched configuration. */
void plan_make(const struct home *home, const char *share, struct plan *plan);
void plan_finish(struct plan *plan);

/* Between the files of uninstall. */
/* A copy into a list of at most `most`. */
void plan_add(char **list, size_t *count, size_t most, const char *path);
void plan_remove(struct plan *plan, const char *path);
/* The lease at `path`, if it is another host's: a socket of that host says nothing here, the
 * lease does until it is taken away. */
void plan_look_elsewhere(struct plan *plan, const struct home *home, const char *path);
/* uninstall_hops.c: open hops, and what they made in run/ and in state/@cluster. */
void plan_hops(struct plan *plan, const struct home *home);

#endif
