/* Becoming the one gearsd of a user on a host, and telling whoever waits. */
#ifndef MAIN_STARTUP_H
#define MAIN_STARTUP_H

#include <stdbool.h>

#include "common/lease.h"

struct options {
    int ready_fd; /* write "ready\n" or "error: …\n" here; −1: none (then stay in foreground) */
    int listener; /* inherited over an upgrade; −1 */
    bool self_check;
    char nonce[NONCE_TEXT_SIZE]; /* of the lease kept over an upgrade; "" */
};

/* Parse argv; exits with 2 and words on a wrong one. */
void startup_options(struct options *options, int argc, char **argv);
void startup_say(struct options *options, const char *words); /* to ready_fd, closing it */
/* Leave the caller's session and its descriptors. */
void startup_detach(const struct options *options);
/* Take the lease, make the sockets' folder, bind the control socket. 0: ours (*listener); 1:
 * another gearsd serves already, and answers; negative errno. */
int startup_claim(struct home *home, struct options *options, struct lease *lease,
    int *listener, struct error *err);
/* sd_notify through libsystemd when it is there and asked for. */
void startup_notify(const char *state);

/* home_prepare_log, waiting a moment only: a log that hangs keeps nobody from serving. */
int startup_prepare_log(const struct home *home, struct error *err);

#endif
