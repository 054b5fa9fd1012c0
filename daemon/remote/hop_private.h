/* Between the files of this folder: what carries out what hop.h promises. All on the loop but
 * for what is called blocking. */
#ifndef REMOTE_HOP_PRIVATE_H
#define REMOTE_HOP_PRIVATE_H

#include "daemon/remote/hop.h"

/* hop.c: the event happens: the state follows, and what the machine says is done. The hop's
 * visitors may be gone after. */
void hop_apply(struct hop *hop, enum hop_event event);
/* Into the ring of events and the log. */
void hop_note(struct hop *hop, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Why it is not up, for status. */
void hop_set_message(struct hop *hop, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Routes and streams follow. */
void hop_changed(struct hop *hop);
/* The prompt takes the place of hop->prompt; shown once the record says that a human is needed
 * and the lease was seen. Takes what it holds. */
void hop_ask(struct hop *hop, struct hop_prompt *prompt);
void hop_drop_prompt(struct hop *hop);
/* hop->timer calls `call` with the hop in `ms`, in the place of what it was for. */
void hop_timer(struct hop *hop, int64_t ms, event_callback_fn call);

/* visitors.c: the last in the row. `limited`: it cannot be asked, and waits for no outage's
 * end. */
void hop_append_visitor(struct hop *hop, struct hop_visitor *visitor, bool limited);
/* Who is asked, or NULL. */
struct hop_visitor *hop_find_asked(const struct hop *hop);
/* What a login is doing now. */
void hop_tell_step(struct hop *hop, const char *words);
/* Each one's done is called with `code` and `words`; none is left. */
void hop_finish_visitors(struct hop *hop, int code, const char *words);
/* To whom it is for; the others hear that it waits. */
void hop_show_prompt(struct hop *hop);

/* connect.c: find out where to connect, then start the tunnel. */
void hop_connect(struct hop *hop, bool attended);
/* The answer to hop_ask_elsewhere: go on to another node, or end. 0. */
int hop_connect_answer(struct hop *hop, const char *answer);
/* Whether to ask for another login node rather than fail; true: asked. */
bool hop_ask_elsewhere(struct hop *hop);

/* tunnel_client.c: start a gears-tunnel that logs in by way of `hops`. 0 or a negative errno
 * with words. */
int tunnel_client_start(struct hop *hop, struct ssh_hop *const hops[], size_t count,
    bool attended, struct error *err);
/* Connect to the tunnel that an earlier gearsd started; false when none answers. */
bool tunnel_client_adopt(struct hop *hop);
/* Have it end, recorded as `cause` and `text`; what is only being prepared ends as well. */
void tunnel_client_close(struct hop *hop, enum link_tunnel_cause cause, const char *text);
/* These send: as link_peer_send; -ENOTCONN: there is no tunnel. */
int tunnel_client_send(struct hop *hop, struct link_frame *frame); /* takes the frame */
int tunnel_client_answer(struct hop *hop, const char *const answers[], size_t count);
int tunnel_client_run(struct hop *hop, const char *command, int64_t timeout_ms);

/* arrive.c: start gearsd there and learn of it. */
void arrive_start(struct hop *hop);
/* What gearsd there reported; NULL: a negative errno `code` and `words` say why there is none,
 * `status` how the command exited (0: unknown). */
void arrive_done(struct hop *hop, const char *report, int code, int status, const char *words);
void arrive_stop(struct hop *hop); /* its answer comes no more */

/* routes.c: the relay is told of the hop's sockets as it is now. */
void routes_update(struct hop *hop);
void routes_refresh(struct hop *hop); /* after a change of the configuration */
void routes_drop(struct hop *hop);

/* hop_store.c: write state/<host>/hop/<cluster>.rec as the hop is now, by a worker. */
void hop_store(struct hop *hop);
/* The same before hop->prompt is shown; hop_prompt_stored hears how it went: 0 too when there
 * is no record at all any more, as then a successor connects nothing. Negative: nobody will. */
int hop_store_prompted(struct hop *hop);
void hop_prompt_stored(
    struct hop *hop, const char *prompt_id, int code, const struct error *err);
void hop_load(struct hop *hop); /* blocking */

/* hub.c: the right to run/<cluster>.sck. Give it back if nothing here needs it now. */
void hub_settle(struct hop *hop);
/* It is another hub's: close what there is, and want it no more. */
void hub_lose(struct hop *hop, const char *holder);
/* See whether it is still ours, then show the prompt of this id ("": none). 0 or a negative
 * errno: that cannot be found out now. */
int hub_check(struct hop *hop, const char *prompt_id);
bool hub_is_fresh(const struct hop *hop); /* it was seen a moment ago */
/* Blocking (start-up only): take it again for what an earlier gearsd left, or give it back.
 * False: it is lost, and the hop closes. */
bool hub_reclaim(struct hop *hop, bool needed);

/* expiry.c: warn and end it when the site's limit says, from now on. */
void expiry_arm(struct hop *hop);

/* outage.c: after a change of state; when to try again; whether one more try begins or fails,
 * which is no news. */
void outage_arm(struct hop *hop);
void outage_schedule(struct hop *hop);
/* Somebody wants the next try sooner; `network`: as the network changed. */
void outage_hurry(struct hop *hop, bool network);
bool outage_goes_on(const struct hop *hop, enum hop_state before, bool attended);

/* pulse.c: somebody looks; it does not answer; it spoke; it was told to end; it is gone. */
void pulse_check(struct hop *hop);
void pulse_missed(struct hop *hop);
void pulse_heard(struct hop *hop);
void pulse_expect_end(struct hop *hop);
void pulse_stop(struct hop *hop);

/* network.c: hear from the kernel when the network changes; where that is refused it is logged,
 * and nobody hears. */
void network_watch(struct remote *remote);

#endif
