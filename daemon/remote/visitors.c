/* Who waits for a hop to come up: one of those who can be asked is, who cannot waits no
 * longer than the cluster's `wait` for what may take for ever. hop.c and the calls of control
 * lead here. */
#include <errno.h>
#include <stdio.h>

#include "daemon/core/timer.h"
#include "daemon/remote/hop_private.h"

struct hop_visitor *hop_find_asked(const struct hop *hop)
{
    struct hop_visitor *visitor = hop->visitors;
    while (visitor && !visitor->asked) {
        visitor = visitor->next;
    }
    return visitor;
}

static void take_out(struct hop *hop, struct hop_visitor *visitor)
{
    timer_stop(&visitor->limit);
    for (struct hop_visitor **at = &hop->visitors; *at; at = &(*at)->next) {
        if (*at == visitor) {
            *at = visitor->next;
            break;
        }
    }
}

/* What has a bound of its own is waited for: a first try, and the report. */
static bool ends_by_itself(const struct hop *hop)
{
    const struct hop_machine *machine = &hop->machine;
    bool first_try =
        machine->state == HOP_CONNECTING && !machine->attended && !machine->lasting;
    return first_try || (machine->state == HOP_UP && hop->reporting);
}

static void limit(struct hop_visitor *visitor)
{
    if (visitor->limit) {
        timer_arm(visitor->limit, visitor->hop->config->wait_ms);
    }
}

static void on_limit(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct hop_visitor *visitor = argument;
    struct hop *hop = visitor->hop;
    struct error err;
    if (ends_by_itself(hop)) {
        limit(visitor);
        return;
    }
    char words[32];
    const char *why = hop->message[0] ? hop->message : hop_cause_name(hop->machine.cause);
    duration_format(hop->config->wait_ms, words, sizeof words);
    bool human = hop->machine.state == HOP_AUTH_NEEDED;
    int code = error_set(&err, human ? -EACCES : -EIO,
        "the hop to %s is %s, also after %s%s%s%s%s", hop->config->name,
        hop_state_name(hop->machine.state), words, *why ? ": " : "", why,
        human ? "; answer there, or run: gearsctl login " : "", human ? hop->config->name : "");
    take_out(hop, visitor);
    visitor->done(visitor, code, &err);
}

void hop_append_visitor(struct hop *hop, struct hop_visitor *visitor, bool limited)
{
    struct hop_visitor **end = &hop->visitors;
    while (*end) {
        end = &(*end)->next;
    }
    visitor->hop = hop;
    visitor->next = NULL;
    *end = visitor;
    if (limited) {
        visitor->limit = evtimer_new(hop->remote->manager->base, on_limit, visitor);
        limit(visitor);
    }
}

void hop_tell_step(struct hop *hop, const char *words)
{
    snprintf(hop->step, sizeof hop->step, "%s", words);
    for (struct hop_visitor *v = hop->visitors, *next; v; v = next) {
        next = v->next;
        v->step(v, hop->step);
    }
}

void hop_finish_visitors(struct hop *hop, int code, const char *words)
{
    struct error err;
    bool asked = hop_find_asked(hop) != NULL;
    error_set(&err, code, "%s", words);
    hop_drop_prompt(hop);
    while (hop->visitors) {
        struct hop_visitor *visitor = hop->visitors;
        take_out(hop, visitor);
        visitor->done(visitor, code, &err);
    }
    if (asked && hop->machine.again_attended) {
        hop_apply(hop, HOP_ABANDONED); /* the login that was to come is told off too */
    }
}

/* The next one takes the place of who was asked and left; what the tunnel asks stays. */
static bool ask_next(struct hop *hop)
{
    struct hop_visitor *visitor = hop->visitors;
    while (visitor && !visitor->attended) {
        visitor = visitor->next;
    }
    if (visitor) {
        visitor->asked = true;
    }
    if (visitor && hop->prompt.shown) { /* else it is shown once it may be */
        hop_show_prompt(hop);
    }
    return visitor;
}

void hop_leave(struct hop *hop, struct hop_visitor *visitor)
{
    take_out(hop, visitor);
    if (visitor->asked && !ask_next(hop)) {
        hop_drop_prompt(hop);
        hop_apply(hop, HOP_ABANDONED);
    }
}
