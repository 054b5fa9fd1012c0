/* What gearsd is told of a command that it ordered, whatever carried it: TUNNEL_RAN with the
 * report, or with why there is none. */
#ifndef TUNNEL_RUN_ANSWER_H
#define TUNNEL_RUN_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/tunnel/report.h"
#include "daemon/tunnel/tunnel.h"

void run_answer_report(struct tunnel *tunnel, uint32_t request, const struct report *report);
/* `code` is a positive errno, `exit` −1 unless the command ended by itself; what it printed
 * last is added to the words, in one line. The report may be one that was never begun. */
void run_answer_failure(struct tunnel *tunnel, uint32_t request, const struct report *report,
    int code, const char *why, int exit);

/* Words for the failures of both ways; each gives the positive errno. */
int run_explain_exit(int exit, char *why, size_t size); /* it ended without a report */
/* `refused`: the server said no, else the way failed. */
int run_explain_no_session(bool refused, const char *words, char *why, size_t size);

#endif
