/* One hop: what happens to it, who waits for it, what it says. The pure machine decides, this
 * carries it out. */
#include "daemon/remote/hop_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "daemon/core/log.h"
#include "daemon/core/timer.h"

void hop_set_message(struct hop *hop, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(hop->message, sizeof hop->message, format, args);
    va_end(args);
}

void hop_note(struct hop *hop, const char *event, const char *format, ...)
{
    char words[HOP_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    hop->remote->version++;
    manager_note(hop->remote->manager, NULL, event, "%s: %s", hop->config->name, words);
}

void hop_changed(struct hop *hop)
{
    routes_update(hop);
    hop->remote->version++;
    manager_tell_watchers(hop->remote->manager, NULL);
}

void hop_timer(struct hop *hop, int64_t ms, event_callback_fn call)
{
    timer_start(&hop->timer, hop->remote->manager->base, ms, call, hop);
}

/* What the end of a connection is recorded as that is closed here. */
static const char *closing_words(const struct hop *hop, enum hop_event event)
{
    return hop->held_by[0]              ? hop->message /* lost to another hub */
           : event == HOP_ADOPTED_LOGIN ? "gearsd, which led this login, ended"
           : event == HOP_ABANDONED     ? "the login was given up"
                                        : "closed by its user";
}

static void carry_out(struct hop *hop, enum hop_event event, unsigned actions)
{
    if (actions & HOP_ACT_CANCEL_TIMER) {
        timer_stop(&hop->timer);
    }
    if (actions & HOP_ACT_PERSIST) {
        hop_store(hop);
    }
    if (actions & HOP_ACT_SCHEDULE) {
        outage_schedule(hop);
    }
    if (actions & (HOP_ACT_CONNECT | HOP_ACT_CONNECT_ALONE)) {
        hop_connect(hop, actions & HOP_ACT_CONNECT);
    }
    if (actions & HOP_ACT_CLOSE) {
        char words[HOP_TEXT];
        snprintf(words, sizeof words, "%s", closing_words(hop, event));
        tunnel_client_close(hop, LINK_CAUSE_CANCELLED, words);
    }
}

/* What the state means for whoever reads it. */
static void describe_end(struct hop *hop)
{
    const char *name = hop->config->name;
    char why[HOP_TEXT];
    snprintf(why, sizeof why, "%s", hop->message);
    if (hop->machine.state != HOP_AUTH_NEEDED) {
        return;
    }
    if (!why[0] || hop->machine.cause == LINK_CAUSE_AUTH_NEEDED ||
        hop->machine.cause == LINK_CAUSE_CANCELLED) {
        hop_set_message(
            hop, "hop to %s needs your PASSCODE; run: gearsctl login %s", name, name);
    } else {
        hop_set_message(hop, "%.300s; hop to %s needs your PASSCODE; run: gearsctl login %s",
            why, name, name);
    }
}

static void tell_state(struct hop *hop, enum hop_state before)
{
    enum hop_state after = hop->machine.state;
    const char *cause = hop_cause_name(hop->machine.cause);
    const char *message = after != HOP_CONNECTING ? hop->message : "";
    hop->since_us = clock_utc_us();
    hop->told_cause = hop->machine.cause;
    hop_note(hop, hop_state_name(after), "%s → %s%s%s%s%s%s", hop_state_name(before),
        hop_state_name(after), *cause ? " (" : "", cause, *cause ? ")" : "",
        *message ? ": " : "", message);
}

void hop_apply(struct hop *hop, enum hop_event event)
{
    enum hop_state before = hop->machine.state;
    bool attended = hop->machine.attended;
    unsigned actions = hop_step(&hop->machine, event);
    enum hop_state after = hop->machine.state;
    if (event == HOP_ENDED || event == HOP_RESTORED ||
        (event == HOP_LOGIN_ALONE && after == HOP_AUTH_NEEDED && before != after)) {
        describe_end(hop);
    }
    if (event == HOP_ENDED && !hop->machine.wanted &&
        hop->machine.cause == LINK_CAUSE_CANCELLED &&
        !attended) { /* logged out: nothing is wrong */
        hop->machine.cause = LINK_CAUSE_NONE;
        hop->message[0] = 0;
    }
    bool begins = after == HOP_CONNECTING && !hop->machine.cause &&
                  (before != after || event == HOP_ENDED);
    if ((after == HOP_UP && before != after && !hop->report_failed) || begins) {
        hop->message[0] = 0;
    } else if (after == HOP_AUTH_NEEDED && (event == HOP_PROMPTED || event == HOP_ASKED)) {
        hop_set_message(hop, "its login waits for an answer at a terminal");
    }
    if (before != after && event != HOP_ADOPTED && !outage_goes_on(hop, before, attended)) {
        tell_state(hop, before);
    }
    carry_out(hop, event, actions);
    outage_arm(hop);
    if (event == HOP_ENDED && !(actions & (HOP_ACT_CONNECT | HOP_ACT_CONNECT_ALONE)) &&
        (attended || !hop->machine.scheduled)) {
        bool human = hop->machine.state == HOP_AUTH_NEEDED &&
                     (hop->machine.cause == LINK_CAUSE_AUTH_NEEDED || !attended);
        hop_finish_visitors(hop, human ? -EACCES : -EIO, hop->message);
    } else if (event == HOP_LOGIN_ALONE && after == HOP_AUTH_NEEDED && !hop->machine.attended) {
        hop_finish_visitors(hop, -EACCES, hop->message);
    }
    hop_changed(hop);
    hub_settle(hop);
}

void hop_prompt_finish(struct hop_prompt *prompt)
{
    for (size_t i = 0; i < prompt->count; i++) {
        free(prompt->lines[i].text);
    }
    free(prompt->name);
    free(prompt->instruction);
    *prompt = (struct hop_prompt){0};
}

void hop_drop_prompt(struct hop *hop)
{
    hop_prompt_finish(&hop->prompt);
}

void hop_show_prompt(struct hop *hop)
{
    struct hop_visitor *asked = hop_find_asked(hop);
    hop->prompt.shown = true;
    for (struct hop_visitor *v = hop->visitors, *next; v; v = next) {
        next = v->next;
        if (v == asked) {
            v->prompt(v, &hop->prompt);
        } else {
            v->step(v, hop->message); /* what it waits for */
        }
    }
}

void hop_revalidate(struct hop *hop)
{
    pulse_check(hop);
    if (hop->machine.wanted && !hub_is_fresh(hop)) {
        hub_check(hop, "");
    }
}

/* A successor of this gearsd must know that a human is needed before that is shown to one; and
 * the holder of a name revalidates before it lets a human pay for it. */
void hop_ask(struct hop *hop, struct hop_prompt *prompt)
{
    hop_prompt_finish(&hop->prompt);
    hop->prompt = *prompt;
    *prompt = (struct hop_prompt){0};
    hop_apply(hop, hop->tunnel ? HOP_PROMPTED : HOP_ASKED);
    if (hop->machine.closing) {
        hop_drop_prompt(hop);
    } else if (!hop_find_asked(hop)) {
        tunnel_client_close(hop, LINK_CAUSE_AUTH_NEEDED, "nobody is here to answer");
    } else if (hop->tunnel ? hop_store_prompted(hop) : hub_check(hop, hop->prompt.id)) {
        tunnel_client_close(hop, LINK_CAUSE_FAILED, "the home does not answer now; try again");
    }
}

void hop_prompt_stored(
    struct hop *hop, const char *prompt_id, int code, const struct error *err)
{
    char words[HOP_TEXT];
    if (strcmp(hop->prompt.id, prompt_id) != 0 || hop->machine.closing) {
        return; /* it is not asked any more */
    }
    if (code) {
        snprintf(words, sizeof words,
            "nobody was asked, as it cannot be recorded that this login needs a human: %.300s",
            err->text);
        tunnel_client_close(hop, LINK_CAUSE_FAILED, words);
    } else if (hub_check(hop, prompt_id)) {
        tunnel_client_close(hop, LINK_CAUSE_FAILED, "the home does not answer now; try again");
    }
}

int remote_answer(
    struct remote *remote, const char *prompt_id, const char *const answers[], size_t count)
{
    for (struct hop *hop = remote->hops; hop; hop = hop->next) {
        if (!hop->prompt.id[0] || strcmp(hop->prompt.id, prompt_id) != 0) {
            continue;
        }
        if (count != hop->prompt.count) {
            return -EINVAL;
        }
        int code = hop->tunnel ? tunnel_client_answer(hop, answers, count)
                               : hop_connect_answer(hop, answers[0]);
        if (!code && hop->tunnel) {
            hop_drop_prompt(hop);
            hop_apply(hop, HOP_ANSWERED);
        }
        return code;
    }
    return -ESTALE;
}

/* What a login is for is there already. */
static bool is_arrived(const struct hop *hop)
{
    return (hop->machine.state == HOP_UP || hop->machine.state == HOP_DEGRADED) &&
           hop->report.known && !hop->machine.closing;
}

/* Whom nobody can ask gets no other connection in place of one that a human paid for. */
static bool refuse_force(
    struct hop *hop, const struct hop_login_options *options, struct hop_visitor *visitor)
{
    const char *name = hop->config->name;
    bool up = hop->machine.state == HOP_UP || hop->machine.state == HOP_DEGRADED;
    struct error err;
    if (!options->force || options->attended || !up || !hop->machine.human) {
        return false;
    }
    error_set(&err, -EACCES,
        "hop to %s is open, and another login needs your PASSCODE; at a terminal run: "
        "gearsctl login --force %s",
        name, name);
    visitor->done(visitor, -EACCES, &err);
    return true;
}

void hop_login(
    struct hop *hop, const struct hop_login_options *options, struct hop_visitor *visitor)
{
    struct hop_machine *machine = &hop->machine;
    if (is_arrived(hop) && !options->force) {
        visitor->done(visitor, 0, NULL);
        return;
    }
    if (refuse_force(hop, options, visitor)) {
        return;
    }
    visitor->attended = options->attended;
    visitor->asked = options->attended && !hop_find_asked(hop);
    hop_append_visitor(hop, visitor, !options->attended);
    if (options->agent) { /* else the last one goes on, where it still lives */
        snprintf(hop->agent, sizeof hop->agent, "%s", options->agent);
    }
    bool beside = options->attended && machine->state == HOP_CONNECTING && !machine->attended;
    if (machine->state == HOP_DOWN || machine->state == HOP_AUTH_NEEDED || beside ||
        options->force) {
        snprintf(hop->node, sizeof hop->node, "%s", options->node ? options->node : "");
        hop->asked_elsewhere = false;
    }
    log_audit("login cluster=%s attended=%d", hop->config->name, options->attended);
    if (machine->state == HOP_CONNECTING || machine->state == HOP_DEGRADED ||
        hop->prompt.id[0]) {
        const char *words = machine->state == HOP_CONNECTING ? hop->step : hop->message;
        visitor->step(visitor, words); /* what it waits for */
    }
    if (machine->state == HOP_UP && !options->force && !machine->closing) {
        arrive_start(hop); /* open, but gearsd there has not answered */
    } else if (options->force) {
        hop_apply(hop, options->attended ? HOP_RELOGIN : HOP_RELOGIN_ALONE);
    } else if (!options->attended && machine->scheduled) {
        outage_hurry(hop, false);
    } else {
        hop_apply(hop, options->attended ? HOP_LOGIN : HOP_LOGIN_ALONE);
    }
}

void hop_logout(struct hop *hop, struct hop_visitor *visitor)
{
    log_audit("logout cluster=%s", hop->config->name);
    hop_set_message(hop, "%s", "");
    if (visitor) {
        hop_append_visitor(hop, visitor, false);
    }
    hop_apply(hop, HOP_LOGOUT);
    if (visitor && !hop->tunnel && !hop->preparing) {
        hop_finish_visitors(hop, 0, "");
    }
}
