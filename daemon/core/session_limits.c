/* The limit of open descriptors: raised for gearsd, given back to what it starts. */
#include "daemon/core/descriptors.h"

#include <stddef.h>

static struct rlimit session;

void descriptors_raise(void)
{
    if (getrlimit(RLIMIT_NOFILE, &session)) {
        return;
    }
    struct rlimit most = {session.rlim_max, session.rlim_max};
    setrlimit(RLIMIT_NOFILE, &most); /* refused: then the session's limit has to do */
}

struct rlimit descriptors_limit(void)
{
    if (!session.rlim_max) { /* never raised */
        struct rlimit limit = {0};
        getrlimit(RLIMIT_NOFILE, &limit);
        return limit;
    }
    return session;
}

void descriptors_restore(pid_t pid)
{
    struct rlimit limit = descriptors_limit();
    prlimit(pid, RLIMIT_NOFILE, &limit, NULL);
}
