/* gears-tunnel: one SSH connection from its login to its end. What the parts of the process
 * share; one libevent loop, on which nothing waits. */
#ifndef TUNNEL_TUNNEL_H
#define TUNNEL_TUNNEL_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include <event2/event.h>

#include "common/error.h"
#include "common/link.h"
#include "common/nonce.h"
#include "common/relay_counters.h"
#include "common/ssh_hop.h"
#include "common/text.h"
#include "daemon/tunnel/login.h"

struct control;
struct feed;
struct openssh;
struct refusals;
struct session;
struct watch;

struct tunnel {
    struct event_base *base;
    /* As told by TUNNEL_START. */
    char cluster[NAME_TEXT_SIZE], nonce[NONCE_TEXT_SIZE], build[48], transport[16];
    char link_path[PATH_MAX], feed_path[PATH_MAX], exit_record[PATH_MAX];
    bool unattended;
    int64_t step_ms, keepalive_ms, keepalive_count, dead_after_ms;
    struct ssh_hop *hops[HOPS_MOST];
    size_t hop_count;
    /* As told by TUNNEL_STATE; changed by life.c only. */
    enum link_tunnel_state state;
    enum link_tunnel_cause cause;
    char text[512];
    int64_t since_us; /* UTC */
    bool human;
    int64_t authenticated_at_us; /* UTC; 0: not yet */
    int64_t rtt_us;              /* 0: not measured yet */
    char address[64], method[32];

    struct relay_counters *counters; /* shared with gearsd through */
    int counters_fd;
    struct control *control;
    struct feed *feed;
    struct watch *watch; /* NULL: not yet, or no more */
    struct refusals *refusals;
    bool thread_left;        /* of a login that was given up */
    struct login *login;     /* NULL once it is done */
    struct session *session; /* NULL unless up or degraded */
    struct openssh *openssh; /* in the place of login and session: transport = openssh */
    struct event *late;      /* bound of a login's cancelling */
    struct {                 /* what the end is to be recorded as, once ordered */
        enum link_tunnel_cause cause;
        char text[512];
    } ordered;
};

/* life.c */
/* Begin to log in. 0 or a negative errno with words. */
int tunnel_start(struct tunnel *tunnel, struct error *err);
/* Change the state and tell gearsd; `silent_ms` is for how long it is true already. */
void tunnel_set_state(struct tunnel *tunnel, enum link_tunnel_state state,
    enum link_tunnel_cause cause, const char *text, int64_t silent_ms);
/* A newly measured round trip; told when it differs notably from the last one told. */
void tunnel_set_rtt(struct tunnel *tunnel, int64_t rtt_us);
/* By order: give the connection, or the login under way, up. The loop ends soon. */
void tunnel_close(struct tunnel *tunnel, enum link_tunnel_cause cause, const char *text);
/* The connection is gone: the loop ends after this round. Safe anywhere; the first counts. */
void tunnel_end(struct tunnel *tunnel, enum link_tunnel_cause cause, const char *text);
/* After the loop: leave no client waiting, tell gearsd, write the exit record (which may
 * block). */
void tunnel_finish(struct tunnel *tunnel);

/* control.c */
/* Listen at link_path, and take `fd`, a connection to gearsd, as its first controller, which is
 * told the status. 0 or a negative errno with words: `fd` is then still the caller's. */
int control_start(struct tunnel *tunnel, int fd, struct error *err);
void control_finish(struct tunnel *tunnel); /* removes link_path if it is still its own */
/* What may be missed: by a gearsd that is stopped and reads nothing, or by none. */
void control_send(struct tunnel *tunnel, struct link_frame *frame);
/* A STATE; with the number of the request it answers, or 0. This, a RAN and a prompt are told
 * later when gearsd does not read now; a state is then the one of that time. */
void control_state(struct tunnel *tunnel, uint32_t request);
void control_ran(struct tunnel *tunnel, struct link_frame *frame); /* the frame is taken */
/* Ask the human; kept, and told to later controllers, until answered or dropped. */
void control_prompt(struct tunnel *tunnel, const struct login_prompt *prompt);
void control_drop_prompt(struct tunnel *tunnel);
void control_log(struct tunnel *tunnel, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Make link_path again if it is gone. 0; -ENOENT: its folder is gone as well; another negative
 * errno. */
int control_check_link(struct tunnel *tunnel, struct error *err);

/* feed.c */
/* Listen at feed_path for clients from the relay. 0 or a negative errno with words. */
int feed_start(struct tunnel *tunnel, struct error *err);
void feed_finish(struct tunnel *tunnel); /* removes feed_path if it is still its own */
int feed_check_path(struct tunnel *tunnel, struct error *err); /* as control_check_link */

/* watch.c */
int watch_start(struct tunnel *tunnel, struct error *err);
void watch_stop(struct tunnel *tunnel);
void watch_check(struct tunnel *tunnel); /* are our sockets still where they were? */

/* Count, for gearsd to read. */
#define TUNNEL_COUNT(tunnel, counter, by)                                                      \
    atomic_fetch_add_explicit(                                                                 \
        &(tunnel)->counters->counter, (uint64_t)(by), memory_order_relaxed)

#endif
