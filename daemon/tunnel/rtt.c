/* Measures round trips, for opens.c and openssh_channel.c. */
#include "daemon/tunnel/rtt.h"

#include <time.h>

enum { PROMPT_US = 5000000 };

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void rtt_asked(struct rtt *rtt)
{
    rtt->sent_us = now_us();
}

bool rtt_answered(struct rtt *rtt, bool silent)
{
    int64_t took = now_us() - rtt->sent_us;
    if (silent || took >= PROMPT_US) {
        return false;
    }
    rtt->us[rtt->count++ % RTT_SAMPLES] = took > 0 ? took : 1;
    return true;
}

int64_t rtt_least_us(const struct rtt *rtt)
{
    int64_t least = 0;
    for (size_t i = 0; i < rtt->count && i < RTT_SAMPLES; i++) {
        least = !least || rtt->us[i] < least ? rtt->us[i] : least;
    }
    return least;
}
