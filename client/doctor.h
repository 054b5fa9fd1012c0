/* doctor: checks, each in a process of its own so that none can hang the others. A check
 * reports findings, each with exactly one remedy; what --fix repairs safely it repairs and says
 * so. */
#ifndef CLIENT_DOCTOR_H
#define CLIENT_DOCTOR_H

#include <stdbool.h>
#include <stdio.h>

#include "client/client.h"

struct doctor {
    struct cli *cli;
    const char *check; /* the name of the running one */
    bool fix;
    int out; /* where the running check reports */
};

/* Something is wrong. Both texts are one line; the remedy is a command or one sentence. */
void doctor_find(struct doctor *doctor, const char *remedy, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Something was wrong: `remedy` has been applied. */
void doctor_fixed(struct doctor *doctor, const char *remedy, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Nothing is wrong, but whoever reads this wants to know. */
void doctor_note(struct doctor *doctor, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The checks. doctor_home.c: below GEARS_HOME. */
void check_home(struct doctor *doctor);
void check_filesystem(struct doctor *doctor);
void check_writable(struct doctor *doctor);
void check_space(struct doctor *doctor);
void check_socket_paths(struct doctor *doctor);
void check_short_folders(struct doctor *doctor);
/* doctor_daemon.c: processes and what they say. */
void check_lease(struct doctor *doctor);
void check_stale_sockets(struct doctor *doctor);
void check_other_hosts(struct doctor *doctor);
void check_daemon(struct doctor *doctor);
void check_builds(struct doctor *doctor);
void check_relay(struct doctor *doctor);
void check_services(struct doctor *doctor);
/* doctor_host.c: this machine, the configuration, Python. */
void check_configuration(struct doctor *doctor);
void check_python(struct doctor *doctor);
void check_clock(struct doctor *doctor);
void check_descriptors(struct doctor *doctor);
void check_logout(struct doctor *doctor);

#endif
