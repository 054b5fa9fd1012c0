/* The one session channel: a command is run on the login node and its report read. */
#ifndef TUNNEL_RUN_H
#define TUNNEL_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include <event2/event.h>
#include <libssh2.h>

#include "daemon/tunnel/report.h"

struct session;

struct run {
    struct session *session;
    enum run_state {
        RUN_IDLE,
        RUN_OPENING, /* waits for its channel */
        RUN_STARTING,
        RUN_READING,
        RUN_WAITING, /* answered; the server is to close by itself, or else */
        RUN_CLOSING  /* is told to */
    } state;
    bool asked; /* an order waits for its answer, or for the channel before to be closed */
    uint32_t request;
    char *command;
    int64_t deadline_ms;
    LIBSSH2_CHANNEL *channel;
    struct report report;
    struct event *timer;
};

/* 0 or -ENOMEM. */
int run_init(struct run *run, struct session *session);
/* Who waits for an answer is told that the connection ended. */
void run_finish(struct run *run);
/* Run `command` (heap, taken) and answer `request` within the time. 0, or -EBUSY: one runs. */
int run_start(struct run *run, uint32_t request, char *command, int64_t timeout_ms);
/* The channel was opened; NULL: it was not, for `why`. */
void run_opened(struct run *run, LIBSSH2_CHANNEL *channel, int code, const char *why);
void run_pump(struct run *run);

#endif
