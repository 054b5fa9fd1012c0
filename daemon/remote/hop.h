/* Hops to clusters as gearsd holds them: one SSH connection each, kept by a gears-tunnel. What
 * is known of each, and what users may ask. Everything happens on the loop; what touches files
 * or runs programs is a job for the manager's workers. */
#ifndef REMOTE_HOP_H
#define REMOTE_HOP_H

#include "common/ssh_hop.h"
#include "common/lease.h"
#include "common/nonce.h"
#include "common/unixsock.h"
#include "daemon/remote/hop_machine.h"
#include "daemon/remote/place.h"
#include "daemon/service/manager.h"

struct remote;
struct hop;
struct tunnel_client;

enum { HOP_PROMPTS = 16, HOP_ANSWER_LIMIT = 1024, HOP_TEXT = 512 };

/* One round of questions for a human. */
struct hop_prompt {
    char id[NONCE_TEXT_SIZE]; /* "": none waits */
    bool shown;
    char *name, *instruction;
    size_t count;
    struct {
        char *text;
        bool echo;
    } lines[HOP_PROMPTS];
};
void hop_prompt_finish(struct hop_prompt *prompt);

/* Who waits for a hop to come up. Embed it, zeroed; it leaves the list before `done`. */
struct hop_visitor {
    struct hop_visitor *next;
    struct hop *hop;
    struct event *limit; /* NULL: it waits as long as it likes */
    bool attended;       /* it can be asked */
    bool asked;          /* prompts go to it: at most one at a time is */
    void (*step)(struct hop_visitor *visitor, const char *words);
    void (*prompt)(struct hop_visitor *visitor, const struct hop_prompt *prompt);
    /* 0: up, and gearsd answers there. Else a negative errno with words: -EACCES: a human must
     * authenticate; -EEXIST: another hub has the cluster. */
    void (*done)(struct hop_visitor *visitor, int code, const struct error *err);
};

/* What gearsd there said of itself when it was started over the hop. */
struct hop_report {
    char host[HOST_NAME_SIZE], node[256], boot_id[BOOT_ID_SIZE], build[64];
    char socket[UNIX_PATH_SIZE], run[UNIX_PATH_SIZE];
    bool known;
};

enum { HOP_ROUTES = 2 + CLUSTER_FORWARDS }; /* gearsd's own, the lab's, and `forward` */

struct hop {
    struct hop *next;
    struct remote *remote;
    struct cluster_config *config; /* its own copy */
    bool orphaned;                 /* gone from the configuration while open */
    struct hop_machine machine;
    int64_t since_us;
    enum link_tunnel_cause told_cause; /* with the newest event */
    char message[HOP_TEXT];            /* why it is not up, or what is not well; "" */
    char step[HOP_TEXT];               /* what a login is doing */

    /* The connection. */
    struct tunnel_client *tunnel; /* NULL: no process */
    char nonce[NONCE_TEXT_SIZE];
    bool preparing;                        /* a job finds out where to connect */
    char agent[UNIX_PATH_SIZE], node[256]; /* of the login under way */
    char address[64], build[64];
    pid_t pid;
    int64_t authenticated_us, rtt_us;
    struct hop_report report;
    bool reporting;     /* gearsd there is being asked */
    bool report_failed; /* it was, and did not come up */
    int64_t reported_ms;
    struct place place;   /* where the lab lives, as the record says */
    bool to_place;        /* the connection under way goes to that node */
    bool asked_elsewhere; /* a human agreed to leave the place */

    struct hop_prompt prompt;
    struct hop_visitor *visitors;
    struct lease lease;           /* of run/<cluster>.sck */
    char held_by[HOST_NAME_SIZE]; /* another hub; "" */
    int64_t lease_checked_ms;
    struct relay_route routes[HOP_ROUTES]; /* name "": a place that is free again */
    size_t route_count;
    struct event *timer, *expiry, *outage, *pulse, *late;
    int64_t retry_ms;         /* monotonic: when `timer` fires for the next try */
    int expiry_told;          /* warnings given */
    int64_t connect_began_ms; /* monotonic, of the newest try */
    int64_t heard_ms;         /* of the tunnel itself */
    int64_t refound_ms;       /* after it had dropped its connection to this gearsd */
    bool mute;                /* it did not answer when it was asked */
};

struct remote {
    struct manager *manager;
    struct hop *hops;
    uint64_t version; /* grows with every change, for streams */
    struct event *network;
    int network_fd;
    struct event *settle; /* after a burst of network changes */
};

/* Know the configured clusters; find the tunnels that run, and restore what was wanted.
 * Blocking (start-up only). NULL with words. */
struct remote *remote_create(struct manager *manager, struct error *err);
/* Follow manager->config. */
void remote_reconfigure(struct remote *remote);
/* Close every hop, for the end of everything. */
void remote_close_all(struct remote *remote);
bool remote_all_closed(const struct remote *remote);
/* NULL for one that is unknown, or gone. */
struct hop *remote_find(struct remote *remote, const char *cluster);
/* Closed, and of a cluster that the configuration does not know any more: kept only for whether
 * its last login needed a human. */
bool hop_is_gone(const struct hop *hop);
const char *remote_closest(struct remote *remote, const char *cluster);

struct hop_login_options {
    bool attended, force;
    const char *agent, *node; /* NULL: none, any */
};
/* Have the hop open; `visitor` hears how it goes. Its done may be called at once. */
void hop_login(
    struct hop *hop, const struct hop_login_options *options, struct hop_visitor *visitor);
/* The visitor leaves. Where it was asked, the next one who can be is; else that login ends. */
void hop_leave(struct hop *hop, struct hop_visitor *visitor);
/* Close it and want it no more. `visitor` (NULL: nobody) hears when it is closed, by its done
 * with whatever code. */
void hop_logout(struct hop *hop, struct hop_visitor *visitor);
/* Replace whoever holds run/<cluster>.sck; a visitor's done tells how it went. */
void hop_takeover(struct hop *hop, struct hop_visitor *visitor);
/* Pass answers on. 0; -ESTALE: that is not asked (any more); -EINVAL: their number. */
int remote_answer(
    struct remote *remote, const char *prompt_id, const char *const answers[], size_t count);
/* Learn who serves run/<cluster>.sck now: held_by follows. `visitor` hears when it is known. */
void hop_look(struct hop *hop, struct hop_visitor *visitor);
/* Somebody looks: see, in a moment, whether the lease is still ours, and the tunnel alive. */
void hop_revalidate(struct hop *hop);
/* Ask the server for a sign of life. */
void hop_probe(struct hop *hop);
/* Bytes and connections of the hop. */
void hop_counters(const struct hop *hop, uint64_t *connections, uint64_t *in, uint64_t *out);
/* UTC microseconds at which policy ends it; 0: never, or not up. */
int64_t hop_expires_us(const struct hop *hop);

#endif
