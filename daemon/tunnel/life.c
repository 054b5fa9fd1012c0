/* A tunnel's life: the login, its state as gearsd is told it, and the end. Called by main.c,
 * control.c and session.c. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/record.h"
#include "daemon/core/timer.h"
#include "daemon/tunnel/openssh.h"
#include "daemon/tunnel/refusal.h"
#include "daemon/tunnel/session.h"
#include "daemon/tunnel/tunnel.h"

/* HUMAN_MS: servers hang up far sooner by themselves. LATE_MS: a cancelled login that stands in
 * the resolver is left to the process's end. */
enum { HUMAN_MS = 600000, LATE_MS = 5000 };

void tunnel_set_state(struct tunnel *tunnel, enum link_tunnel_state state,
    enum link_tunnel_cause cause, const char *text, int64_t silent_ms)
{
    if (tunnel->state == LINK_TUNNEL_DOWN) {
        return;
    }
    if (state != tunnel->state) {
        tunnel->since_us = clock_utc_us() - silent_ms * 1000;
    }
    tunnel->state = state;
    tunnel->cause = cause;
    snprintf(tunnel->text, sizeof tunnel->text, "%s", text);
    control_state(tunnel, 0);
}

void tunnel_set_rtt(struct tunnel *tunnel, int64_t rtt_us)
{
    int64_t change = rtt_us - tunnel->rtt_us;
    change = change < 0 ? -change : change;
    if (!tunnel->rtt_us || (change > 1000 && change > tunnel->rtt_us / 4)) {
        tunnel->rtt_us = rtt_us;
        control_state(tunnel, 0);
    }
}

void tunnel_end(struct tunnel *tunnel, enum link_tunnel_cause cause, const char *text)
{
    if (tunnel->state == LINK_TUNNEL_DOWN) {
        return;
    }
    tunnel->state = LINK_TUNNEL_DOWN;
    tunnel->since_us = clock_utc_us();
    tunnel->cause = tunnel->ordered.cause ? tunnel->ordered.cause : cause;
    snprintf(tunnel->text, sizeof tunnel->text, "%s",
        tunnel->ordered.cause ? tunnel->ordered.text : text);
    event_base_loopexit(tunnel->base, NULL);
}

static void on_late(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    tunnel_end(argument, LINK_CAUSE_CANCELLED, "cancelled");
}

void tunnel_close(struct tunnel *tunnel, enum link_tunnel_cause cause, const char *text)
{
    if (!tunnel->ordered.cause) {
        tunnel->ordered.cause = cause ? cause : LINK_CAUSE_CANCELLED;
        snprintf(tunnel->ordered.text, sizeof tunnel->ordered.text, "%s",
            text && text[0] ? text : "closed by order");
    }
    if (!tunnel->login) {
        tunnel_end(tunnel, LINK_CAUSE_CANCELLED, "");
        return;
    }
    control_drop_prompt(tunnel);
    login_cancel(tunnel->login);
    timer_arm(tunnel->late, LATE_MS);
}

static void on_step(void *context, const char *words)
{
    struct tunnel *tunnel = context;
    control_drop_prompt(tunnel);
    tunnel_set_state(tunnel, LINK_TUNNEL_CONNECTING, LINK_CAUSE_NONE, words, 0);
}

static void on_prompt(void *context, const struct login_prompt *prompt)
{
    struct tunnel *tunnel = context;
    tunnel_set_state(
        tunnel, LINK_TUNNEL_PROMPTING, LINK_CAUSE_NONE, "the server asks a question", 0);
    control_prompt(tunnel, prompt);
}

static void on_done(void *context, struct login_result *result)
{
    struct tunnel *tunnel = context;
    struct error err = {0};
    tunnel->login = NULL;
    event_del(tunnel->late);
    control_drop_prompt(tunnel);
    tunnel->human = result->human;
    tunnel->thread_left = result->thread_left;
    snprintf(tunnel->address, sizeof tunnel->address, "%s", result->address);
    snprintf(tunnel->method, sizeof tunnel->method, "%s", result->method);
    if (!result->link || tunnel->ordered.cause || tunnel->state == LINK_TUNNEL_DOWN) {
        ssh_link_destroy(result->link);
        tunnel_end(tunnel, result->cause ? result->cause : LINK_CAUSE_FAILED, result->text);
        return;
    }
    tunnel->authenticated_at_us = clock_utc_us();
    tunnel->session = session_create(tunnel, result->link, &err);
    if (!tunnel->session) {
        tunnel_end(tunnel, LINK_CAUSE_FAILED, err.text);
        return;
    }
    tunnel_set_state(tunnel, LINK_TUNNEL_UP, LINK_CAUSE_NONE, "", 0);
}

int tunnel_start(struct tunnel *tunnel, struct error *err)
{
    static const struct login_calls calls = {on_step, on_prompt, on_done};
    struct login_request request = {.hop_count = tunnel->hop_count,
        .cluster = tunnel->cluster,
        .unattended = tunnel->unattended,
        .step_ms = tunnel->step_ms,
        .human_ms = HUMAN_MS,
        .verdict_ms = VERDICT_MS};
    memcpy(request.hops, tunnel->hops, sizeof request.hops);
    tunnel->late = evtimer_new(tunnel->base, on_late, tunnel);
    if (!tunnel->late) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    if (!strcmp(tunnel->transport, "openssh")) {
        tunnel->openssh = openssh_start(tunnel, err);
        return tunnel->openssh ? 0 : -EIO;
    }
    tunnel->login = login_start(tunnel->base, &request, &calls, tunnel, err);
    return tunnel->login ? 0 : -ENOMEM;
}

/* What a gearsd that was not there reads later. */
static void write_record(struct tunnel *tunnel)
{
    struct error err = {0};
    struct record *record = record_create();
    if (!record || record_add(record, "nonce", tunnel->nonce) ||
        record_add_integer(record, "cause", tunnel->cause) ||
        record_add(record, "text", tunnel->text) ||
        record_add_integer(record, "at", tunnel->since_us) ||
        record_add_integer(record, "human", tunnel->human) ||
        record_store(record, tunnel->exit_record, &err)) {
        control_log(tunnel, "the exit record was not written cause=\"%s\"", err.text);
    }
    record_destroy(record);
}

void tunnel_finish(struct tunnel *tunnel)
{
    watch_stop(tunnel);
    feed_finish(tunnel);
    session_destroy(tunnel->session);
    tunnel->session = NULL;
    openssh_destroy(tunnel->openssh);
    tunnel->openssh = NULL;
    refusals_destroy(tunnel->refusals);
    control_state(tunnel, 0);
    write_record(tunnel);
    control_finish(tunnel);
}
