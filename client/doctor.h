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

/* What checks share; doctor_ask.c. */
/* Connect and look at who listens. The peer's pid, −errno when nobody does. */
pid_t doctor_listener(const char *path, int type);
/* R, S, Z … as in proc(5); 0 when there is no such process. */
char doctor_state_of(pid_t pid);
/* One reply of gearsd's without starting it; NULL when there is none. Takes `parameters`. */
cJSON *doctor_ask(struct doctor *doctor, const char *method, cJSON *parameters);
bool doctor_daemon_runs(struct doctor *doctor);
/* Whether what is in run/, state/ or log/ under this name is a host's: "@cluster" is none. */
bool doctor_is_host(const char *name);
/* doctor_socket.c: how many keepers ("k-") or tunnels ("t-") answer: what runs with or without
 * gearsd. */
int doctor_count_helpers(struct doctor *doctor, const char *prefix);

/* The checks. doctor_home.c: below GEARS_HOME. */
void check_home(struct doctor *doctor);
void check_filesystem(struct doctor *doctor);
void check_writable(struct doctor *doctor);
void check_space(struct doctor *doctor);
void check_socket_paths(struct doctor *doctor);
void check_short_folders(struct doctor *doctor);
/* doctor_daemon.c: processes and what they say. */
void check_lease(struct doctor *doctor);
void check_other_hosts(struct doctor *doctor);
void check_daemon(struct doctor *doctor);
void check_builds(struct doctor *doctor);
void check_relay(struct doctor *doctor);
void check_services(struct doctor *doctor);
/* doctor_host.c: this machine, the configuration, Python. */
void check_configuration(struct doctor *doctor);
void check_python(struct doctor *doctor);
void check_descriptors(struct doctor *doctor);
/* doctor_clock.c: this host's clock beside its own past and beside other hosts'. */
void check_clock(struct doctor *doctor);
void check_other_clocks(struct doctor *doctor);
/* doctor_logout.c: what goes on when its user has left. */
void check_logout(struct doctor *doctor);
/* doctor_sshd.c: whether a laptop may forward to a socket here. */
void check_forwarding(struct doctor *doctor);
/* doctor_hop.c: hops and what they need here. */
void check_hop_paths(struct doctor *doctor);
void check_hops(struct doctor *doctor);
/* doctor_lease.c: which hub serves run/CLUSTER.sck. */
void check_hop_leases(struct doctor *doctor);
/* doctor_socket.c: sockets that nobody serves. */
void check_stale_sockets(struct doctor *doctor);
void check_hop_sockets(struct doctor *doctor);
/* doctor_stray.c: processes that nobody answers for. */
void check_strays(struct doctor *doctor);

#endif
