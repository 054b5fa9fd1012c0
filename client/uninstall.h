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
    char elsewhere[512]; /* a host whose gearsd may still live, "" for none; its lease behind a
                            blank */
};

/* `share` is the folder of the installed files, to tell an untouched configuration. */
void plan_make(const struct home *home, const char *share, struct plan *plan);
void plan_finish(struct plan *plan);

#endif
