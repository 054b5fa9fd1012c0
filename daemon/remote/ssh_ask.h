/* Running a program for what it prints: `ssh -G`. */
#ifndef REMOTE_SSH_ASK_H
#define REMOTE_SSH_ASK_H

#include <stdint.h>

#include "common/error.h"

/* Run argv[0], looked up in PATH, in a process group of its own, with our environment but for
 * SSH_AUTH_SOCK and with an empty standard input. *out: what it printed, on the heap, without
 * NUL bytes. Blocking until `until_ms` (CLOCK_MONOTONIC); then, and after 256 KiB, the whole
 * group is killed. 0, -ETIMEDOUT, -EFBIG, -EINVAL (it failed: what it said last, or its end),
 * or another negative errno; all with words that do not name the program's task. */
int ssh_ask(char *const argv[], int64_t until_ms, char **out, struct error *err);

#endif
