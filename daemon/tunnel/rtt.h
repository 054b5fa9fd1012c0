/* How long the way to the server and back takes: from a question to its answer. */
#ifndef TUNNEL_RTT_H
#define TUNNEL_RTT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RTT_SAMPLES = 8 };

/* Zero at first. */
struct rtt {
    int64_t sent_us; /* CLOCK_MONOTONIC */
    int64_t us[RTT_SAMPLES];
    size_t count; /* of all that were measured */
};

void rtt_asked(struct rtt *rtt);
/* The answer came, to be counted unless the server was `silent`. False: it was not, because
 * only what is answered promptly tells of the way. */
bool rtt_answered(struct rtt *rtt, bool silent);
/* The shortest of late, in microseconds: without what a busy server adds; 0: none yet. */
int64_t rtt_least_us(const struct rtt *rtt);

#endif
