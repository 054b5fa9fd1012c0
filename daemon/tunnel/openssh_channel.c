/* The one session channel, over ssh's control socket as a proxy for packets of the connection
 * protocol (RFC 4254): it runs commands, and a request that no server knows asks for a sign of
 * life, through jump hosts too and without a line in the server's log. It is opened when it is
 * needed first and kept.
 *
 * The proxy is left open as long as ssh lives: an ssh whose proxy client leaves with a channel
 * half open ends itself. A refused open stays in its table for ever, and it ends when that is
 * full, so their number is bounded. A server that opened a session once is asked again: then
 * the one before still has the only place, and its refusal is a sign of life too. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "daemon/core/timer.h"
#include "daemon/tunnel/openssh_packet.h"
#include "daemon/tunnel/prompt.h"
#include "daemon/tunnel/wire.h"

/* LEAVE_MS: a server that is told to close may still count a session whose command has not
 * ended, and then refuses the next. CLOSE_MS: it confirms. REOPEN_MS: it has noticed our half
 * of the close; each later try waits longer. REFUSALS_MOST: half of what ssh has room for. */
enum { LEAVE_MS = 2000, CLOSE_MS = 5000, REOPEN_MS = 50, REOPENS = 4, REFUSALS_MOST = 5000 };
enum { WINDOW_LOW = 64 * 1024 };

/* ---- what is asked ---- */

static void ask(void *context)
{
    struct openssh *openssh = context;
    struct openssh_channel *channel = &openssh->channel;
    if (channel->state == CHAN_OPEN &&
        !openssh_send_request(openssh, "sign-of-life@gears", NULL)) {
        rtt_asked(&channel->rtt);
    } else if (channel->state == CHAN_NONE && !channel->refused) {
        channel->wanted = true; /* the answer to its open is a sign as well */
        if (!event_pending(channel->reopen, EV_TIMEOUT, NULL)) {
            openssh_send_open(openssh);
        }
    }
}

/* Whether silence tells anything: there is something that the server must answer. */
static bool can_ask(void *context)
{
    const struct openssh *openssh = context;
    const struct openssh_channel *channel = &openssh->channel;
    return openssh->silence.keepalive.degraded || /* it was asked, and has not answered */
           (!channel->refused && channel->state != CHAN_ENDING);
}

static bool hear(void *context)
{
    struct openssh *openssh = context;
    if (openssh->channel.mux) {
        mux_hear(openssh->channel.mux);
    }
    return openssh->phase == OPENSSH_UP;
}

static void give_up(void *context, const char *words)
{
    openssh_end(context, LINK_CAUSE_NETWORK_DOWN, "%s", words);
}

int openssh_life_start(struct openssh *openssh)
{
    static const struct silence_calls calls = {hear, can_ask, ask, give_up};
    return silence_start(&openssh->silence, openssh->tunnel, &calls, openssh);
}

void openssh_life_heard(struct openssh *openssh)
{
    if (openssh->phase == OPENSSH_UP) {
        silence_heard(&openssh->silence);
        silence_answer(&openssh->silence);
    }
}

void openssh_probe(struct openssh *openssh, uint32_t request)
{
    if (openssh->phase == OPENSSH_UP) {
        silence_probe(&openssh->silence, request);
    } else {
        control_state(openssh->tunnel, request);
    }
}

static void run_in_it(struct openssh *openssh)
{
    struct openssh_channel *channel = &openssh->channel;
    int code = openssh_send_request(openssh, "exec", openssh->run.command);
    if (code) {
        openssh_run_no_session(openssh, strerror(-code), false);
        return;
    }
    channel->used = true;
    openssh->run.begun = true;
    openssh_send_plain(openssh, MESSAGE_EOF); /* its standard input is empty */
}

/* The end of the one before is not confirmed: the network may be gone, or the server waits for
 * its command. What it says to another one tells. */
static void reopen(struct openssh *openssh)
{
    openssh->channel.state = CHAN_NONE;
    openssh->channel.wanted = true;
    openssh->channel.tries = 1;
    timer_arm(openssh->channel.reopen, 0);
}

static void on_leave(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct openssh *openssh = argument;
    struct openssh_channel *channel = &openssh->channel;
    if (channel->state == CHAN_OPEN && channel->used) {
        openssh_send_plain(openssh, MESSAGE_CLOSE);
        channel->state = CHAN_ENDING;
        timer_arm(channel->leave, CLOSE_MS);
    } else if (channel->state == CHAN_ENDING) {
        reopen(openssh);
    }
}

static void on_reopen(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct openssh *openssh = argument;
    bool needed = openssh->channel.wanted || openssh->run.asked;
    if (openssh->channel.state == CHAN_NONE && needed && openssh_send_open(openssh) &&
        openssh->run.asked) {
        openssh_run_no_session(openssh, "ssh's control socket is closed", false);
    }
}

void openssh_channel_want_run(struct openssh *openssh)
{
    struct openssh_channel *channel = &openssh->channel;
    if (channel->state == CHAN_NONE && !event_pending(channel->reopen, EV_TIMEOUT, NULL)) {
        channel->tries = 0;
        timer_arm(channel->reopen, 0);
    } else if (channel->state == CHAN_OPEN && !channel->used) {
        run_in_it(openssh);
    } else if (channel->state == CHAN_OPEN) { /* what runs there has reported, or is too late */
        timer_arm(channel->leave, LEAVE_MS);
    } /* else it follows what is under way */
}

/* ---- what comes ---- */

static void measure(struct openssh *openssh)
{
    struct rtt *rtt = &openssh->channel.rtt;
    if (rtt_answered(rtt, openssh->silence.keepalive.degraded)) {
        tunnel_set_rtt(openssh->tunnel, rtt_least_us(rtt));
    }
}

static void on_reply(struct openssh *openssh, bool yes)
{
    struct openssh_channel *channel = &openssh->channel;
    if (!channel->reply_count) {
        return;
    }
    bool exec = channel->replies[0] == REPLY_EXEC;
    channel->reply_count--;
    memmove(channel->replies, channel->replies + 1,
        channel->reply_count * sizeof *channel->replies);
    if (exec) {
        openssh_run_began(openssh, yes);
    }
}

static void on_confirmed(struct openssh *openssh, struct wire *wire)
{
    struct openssh_channel *channel = &openssh->channel;
    channel->remote = wire_u32(wire);
    channel->state = CHAN_OPEN;
    channel->opened = true;
    channel->refused = channel->wanted = false;
    channel->tries = 0;
    if (openssh->run.asked) {
        openssh_channel_want_run(openssh);
    } else {
        ask(openssh); /* opening it took the server more than the way */
    }
}

static void on_refused(struct openssh *openssh, struct wire *wire)
{
    size_t length;
    wire_u32(wire);
    const char *text = (const char *)wire_string(wire, &length);
    char *why = prompt_line(text, length, 150);
    struct openssh_channel *channel = &openssh->channel;
    channel->state = CHAN_NONE;
    channel->wanted = false;
    channel->refusals++;
    if (channel->tries && channel->tries < REOPENS) {
        channel->wanted = true;
        timer_arm(channel->reopen, (int64_t)REOPEN_MS << channel->tries++);
        free(why);
        return;
    }
    channel->refused = !channel->opened || channel->refusals >= REFUSALS_MOST;
    if (openssh->run.asked) {
        openssh_run_no_session(openssh, why ? why : "", true);
    } else if (channel->refused) {
        control_log(openssh->tunnel,
            "the server opens no session: its silence will not be noticed cause=\"%s\"",
            why ? why : "");
    }
    free(why);
}

/* Whatever it is, it is given back to the server's window. */
static void on_data(struct openssh *openssh, struct wire *wire, enum message type)
{
    struct openssh_channel *channel = &openssh->channel;
    struct mux_packet packet;
    size_t length;
    if (type == MESSAGE_MORE_DATA) {
        wire_u32(wire); /* standard error; what it says counts as well */
    }
    const uint8_t *bytes = wire_string(wire, &length);
    channel->unread += (uint32_t)length;
    openssh_run_heard(openssh, bytes, length);
    if (channel->unread >= WINDOW_LOW && channel->state == CHAN_OPEN) {
        openssh_packet_begin(&packet, MESSAGE_WINDOW);
        mux_put(&packet, channel->remote);
        mux_put(&packet, channel->unread);
        if (!openssh_send(openssh, &packet)) {
            channel->unread = 0;
        }
    }
}

/* The command's end; and servers ask for signs of life, too. */
static void on_request(struct openssh *openssh, struct wire *wire)
{
    size_t length, n;
    const char *name = (const char *)wire_string(wire, &length);
    bool wants_reply = wire_byte(wire) != 0;
    if (wire->bad) {
        return;
    }
    if (length == 11 && !memcmp(name, "exit-status", 11)) {
        openssh->run.exit = (int)wire_u32(wire);
    } else if (length == 11 && !memcmp(name, "exit-signal", 11)) {
        const char *text = (const char *)wire_string(wire, &n);
        char *signal = prompt_line(text, n, sizeof openssh->run.signal - 1);
        snprintf(openssh->run.signal, sizeof openssh->run.signal, "%s", signal ? signal : "?");
        free(signal);
    } else if (wants_reply && openssh->channel.state == CHAN_OPEN) {
        openssh_send_plain(openssh, MESSAGE_NO);
    }
}

static void on_close(struct openssh *openssh)
{
    struct openssh_channel *channel = &openssh->channel;
    if (channel->state == CHAN_OPEN) {
        openssh_send_plain(openssh, MESSAGE_CLOSE);
    }
    event_del(channel->leave);
    channel->state = CHAN_NONE;
    channel->tries = 1;
    timer_arm(channel->reopen, REOPEN_MS);
    openssh_run_ended(openssh);
}

static void dispatch(struct openssh *openssh, enum message type, struct wire *wire)
{
    switch (type) {
    case MESSAGE_CONFIRMED:
        on_confirmed(openssh, wire);
        break;
    case MESSAGE_REFUSED:
        on_refused(openssh, wire);
        break;
    case MESSAGE_DATA:
    case MESSAGE_MORE_DATA:
        on_data(openssh, wire, type);
        break;
    case MESSAGE_CLOSE:
        on_close(openssh);
        break;
    case MESSAGE_REQUEST:
        on_request(openssh, wire);
        break;
    case MESSAGE_YES:
    case MESSAGE_NO:
        if (openssh->channel.reply_count && openssh->channel.replies[0] == REPLY_LIFE) {
            measure(openssh);
        }
        on_reply(openssh, type == MESSAGE_YES);
        break;
    default: /* the server's window and the end of its output tell nothing new */
        break;
    }
}

static void on_packet(void *context, const uint8_t *bytes, size_t length)
{
    struct openssh *openssh = context;
    struct openssh_channel *channel = &openssh->channel;
    struct wire wire = {.at = bytes, .left = length};
    if (channel->state == CHAN_JOINING) {
        if (wire_u32(&wire) != (uint32_t)MUX_IS_PROXY) {
            openssh_end(openssh, LINK_CAUSE_FAILED,
                "this ssh is too old for transport = openssh: OpenSSH 7.4 or newer is needed");
            return;
        }
        channel->state = CHAN_NONE;
        openssh_joined(openssh);
        return;
    }
    if (length < 6) {
        return;
    }
    enum message type = (enum message)bytes[1];
    wire.at += 2;
    wire.left -= 2;
    if (wire_u32(&wire) == channel->id) {
        openssh_life_heard(openssh);
        dispatch(openssh, type, &wire);
    }
}

static void on_ready(void *context)
{
    struct openssh *openssh = context;
    struct mux_packet packet = {.length = 0};
    mux_put(&packet, MUX_PROXY);
    mux_put(&packet, 1);
    openssh_send(openssh, &packet);
}

static void on_closed(void *context)
{
    struct openssh *openssh = context;
    openssh_control_closed(openssh, &openssh->channel.mux, "sessions");
}

int openssh_channel_start(struct openssh *openssh)
{
    static const struct mux_calls calls = {on_packet, on_ready, on_closed};
    struct openssh_channel *channel = &openssh->channel;
    channel->leave = evtimer_new(openssh->tunnel->base, on_leave, openssh);
    channel->reopen = evtimer_new(openssh->tunnel->base, on_reopen, openssh);
    return channel->leave && channel->reopen
               ? openssh_join_control(openssh, &calls, &channel->mux)
               : -ENOMEM;
}

void openssh_channel_stop(struct openssh *openssh)
{
    struct event **timers[] = {&openssh->channel.leave, &openssh->channel.reopen};
    for (int i = 0; i < 2; i++) {
        if (*timers[i]) {
            event_free(*timers[i]);
            *timers[i] = NULL;
        }
    }
    mux_destroy(openssh->channel.mux);
    openssh->channel.mux = NULL;
}
