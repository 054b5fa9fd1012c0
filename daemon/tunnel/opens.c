/* The queue of channel opens; session.c pumps it in each round. */
#include "daemon/tunnel/opens.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "daemon/core/timer.h"
#include "daemon/tunnel/session.h"
#include "daemon/tunnel/trouble.h"
#include "daemon/tunnel/wire.h"

/* libssh2 gives an open up when bytes came for another packet 60 s after it was sent, and then
 * a late yes leaves a channel that nobody closes. After a freeze the late answers come
 * together: SETTLE_MS after the first bytes the whole of them is there. */
enum { PATIENT_MS = 50000, SETTLE_MS = 1000, PACKET_MOST = 32768 };
/* So many round trips are measured before the first client's window is chosen: in the first the
 * server is still busy with the login. */
enum { RTT_FIRST = 2 };

static const char STREAM[] = "direct-streamlocal@openssh.com";
static const char SESSION[] = "session";
static const char PROBE[] = "sign-of-life@gears";

static void on_deadline(evutil_socket_t fd, short what, void *argument);

int opens_init(struct opens *opens, struct session *session)
{
    *opens = (struct opens){.session = session};
    opens->timer = evtimer_new(session->tunnel->base, on_deadline, opens);
    return opens->timer ? 0 : -ENOMEM;
}

void opens_finish(struct opens *opens)
{
    if (opens->timer) {
        event_free(opens->timer);
    }
}

/* Bytes the server may send a channel ahead of its client. A window holds what a round trip at
 * full speed carries; libssh2 with AES-CTR reaches about 120 MB/s, and sshd's own share of a
 * stream is bounded by what is acknowledged late. Measured beside `ssh -L` at 30 ms: 2 MB gave
 * 0.73 of its speed, 8 MB 1.59. Where the round trip is short a larger window only costs: sshd
 * works through a longer queue (64 MB: 13 times the CPU per byte), and a blocked client holds
 * more of our memory. */
static uint32_t window_for(int64_t rtt_us)
{
    enum { MB = 1024 * 1024 };
    return rtt_us >= 40000 ? 16 * MB : rtt_us >= 10000 ? 8 * MB : 4 * MB;
}

static void arm(struct opens *opens)
{
    int64_t at = 0, now = clock_monotonic_ms();
    if (opens->channel) {
        at = opens->channel->arrived_ms + OPEN_DEADLINE_MS;
    } else if (opens->first) {
        at = opens->first->arrived_ms + OPEN_DEADLINE_MS;
    }
    if (opens->settle_ms && (!at || opens->settle_ms < at)) {
        at = opens->settle_ms;
    }
    if (!at) {
        event_del(opens->timer);
        return;
    }
    timer_arm(opens->timer, at - now);
}

int opens_add(struct opens *opens, struct channel *channel)
{
    if (opens->waiting >= OPENS_WAITING_MOST) {
        return -EAGAIN;
    }
    if (opens->last) {
        opens->last->behind = channel;
    } else {
        opens->first = channel;
    }
    opens->last = channel;
    opens->waiting++;
    arm(opens);
    session_wake(opens->session);
    return 0;
}

void opens_remove(struct opens *opens, struct channel *channel)
{
    struct channel *before = NULL;
    if (opens->channel == channel) {
        opens->channel = NULL; /* libssh2 cannot be told: its answer is awaited */
    }
    for (struct channel *c = opens->first; c; before = c, c = c->behind) {
        if (c == channel) {
            *(before ? &before->behind : &opens->first) = c->behind;
            opens->last = opens->last == c ? before : opens->last;
            c->behind = NULL;
            opens->waiting--;
            break;
        }
    }
    arm(opens);
}

void opens_run(struct opens *opens)
{
    /* One that an order before waits for serves this one: the server may allow no other. */
    opens->wants_run = opens->pending != OPEN_RUN;
    session_wake(opens->session);
}

void opens_run_closed(struct opens *opens)
{
    opens->run_closed = true;
}

void opens_forget_run(struct opens *opens)
{
    opens->wants_run = false;
}

bool opens_probe(struct opens *opens)
{
    if (opens->pending != OPEN_NONE) {
        return opens->pending == OPEN_PROBE;
    }
    opens->wants_probe = true;
    session_wake(opens->session);
    return true;
}

/* Tell gearsd, count, and give the client the page or the end. */
static void refuse(struct opens *opens, struct channel *channel, int code, const char *why)
{
    trouble_tell(opens->session->tunnel, channel->target, channel->service, code, why);
    session_refuse(opens->session, channel, why);
}

static void expire(struct opens *opens, struct channel *channel)
{
    char why[200];
    bool sent = channel->state == CHANNEL_OPENING;
    snprintf(why, sizeof why,
        sent ? "the server did not open %s within %d s"
             : "the server did not come to open %s within %d s",
        channel->target, OPEN_DEADLINE_MS / 1000);
    opens_remove(opens, channel);
    refuse(opens, channel, ETIMEDOUT, why);
}

static void on_deadline(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct opens *opens = argument;
    int64_t late = clock_monotonic_ms() - OPEN_DEADLINE_MS;
    if (opens->channel && opens->channel->arrived_ms <= late) {
        expire(opens, opens->channel);
    }
    while (opens->first && opens->first->arrived_ms <= late) {
        expire(opens, opens->first);
    }
    arm(opens);
    session_wake(opens->session);
}

static void put_string(struct opens *opens, const char *text, size_t length)
{
    wire_put_u32((uint8_t *)opens->message + opens->length, (uint32_t)length);
    memcpy(opens->message + opens->length + 4, text, length);
    opens->length += (unsigned)length + 4;
}

/* Decide what is opened next; false: nothing. */
static bool choose(struct opens *opens)
{
    struct channel *channel = opens->first;
    opens->length = 0;
    opens->window = 256 * 1024;
    if (opens->wants_run && opens->run_closed) {
        opens->pending = OPEN_PROBE;
    } else if (opens->wants_run) {
        opens->wants_run = false;
        opens->pending = OPEN_RUN;
    } else if (channel && (opens->rtt.count >= RTT_FIRST || !opens->wants_probe)) {
        opens_remove(opens, channel);
        opens->pending = OPEN_CLIENT;
        opens->channel = channel;
        channel->state = CHANNEL_OPENING;
        opens->window = window_for(rtt_least_us(&opens->rtt));
        put_string(opens, channel->target, strlen(channel->target));
        put_string(opens, "", 0);
        memset(opens->message + opens->length, 0, 4);
        opens->length += 4;
    } else if (opens->wants_probe) {
        opens->pending = OPEN_PROBE;
    } else {
        return false;
    }
    opens->run_closed = false;
    opens->wants_probe = false; /* whatever is opened is a question as well */
    opens->sent_ms = clock_monotonic_ms();
    rtt_asked(&opens->rtt);
    opens->settle_ms = 0;
    opens->asked = false;
    keepalive_asked(&opens->session->silence.keepalive);
    arm(opens);
    return true;
}

static LIBSSH2_CHANNEL *try(struct opens *opens)
{
    const char *type = opens->pending == OPEN_CLIENT ? STREAM
                       : opens->pending == OPEN_RUN  ? SESSION
                                                     : PROBE;
    opens->asked = true;
    return libssh2_channel_open_ex(opens->session->link->session, type, (unsigned)strlen(type),
        opens->window, PACKET_MOST, opens->length ? opens->message : NULL, opens->length);
}

static void measure(struct opens *opens)
{
    if (rtt_answered(&opens->rtt, opens->session->silence.keepalive.degraded)) {
        opens->wants_probe = opens->wants_probe || opens->rtt.count < RTT_FIRST;
        tunnel_set_rtt(opens->session->tunnel, rtt_least_us(&opens->rtt));
    }
}

/* The words of libssh2 are for all kinds alike; what they mean here is known. */
static int explain(struct opens *opens, int code, char *why, size_t size)
{
    char words[160];
    session_last_words(opens->session, words, sizeof words);
    const char *target = opens->channel ? opens->channel->target : "";
    int number = trouble_explain(target, words, why, size);
    return number == EIO && code == LIBSSH2_ERROR_TIMEOUT ? ETIMEDOUT : number;
}

static void failed(struct opens *opens, int code)
{
    struct channel *channel = opens->channel;
    char why[400];
    if (opens->pending == OPEN_RUN) {
        session_last_words(opens->session, why, sizeof why);
        opens->pending = OPEN_NONE;
        run_opened(&opens->session->run, NULL, code, why);
        return;
    }
    int number = explain(opens, code, why, sizeof why);
    opens->pending = OPEN_NONE;
    opens->channel = NULL;
    if (channel) {
        refuse(opens, channel, number, why);
    }
}

static void succeeded(struct opens *opens, LIBSSH2_CHANNEL *ssh)
{
    struct channel *channel = opens->channel;
    enum open_kind kind = opens->pending;
    opens->pending = OPEN_NONE;
    opens->channel = NULL;
    if (kind == OPEN_RUN) {
        run_opened(&opens->session->run, ssh, 0, NULL);
    } else if (channel) {
        channel_opened(channel, ssh);
    } else {
        session_orphan(opens->session, ssh);
    }
}

/* Whether libssh2 may be asked about the pending open; it is not before bytes came. */
static bool may_try(struct opens *opens, bool fed)
{
    int64_t now = clock_monotonic_ms();
    if (!opens->asked) {
        return true;
    }
    if (fed && now - opens->sent_ms > PATIENT_MS && !opens->settle_ms) {
        opens->settle_ms = now + SETTLE_MS;
        arm(opens);
    }
    if (opens->settle_ms) {
        return now >= opens->settle_ms;
    }
    return fed;
}

void opens_pump(struct opens *opens, bool fed)
{
    while (opens->pending != OPEN_NONE || choose(opens)) {
        if (!may_try(opens, fed)) {
            return;
        }
        LIBSSH2_CHANNEL *ssh = try(opens);
        int code = ssh ? 0 : libssh2_session_last_errno(opens->session->link->session);
        if (code == LIBSSH2_ERROR_EAGAIN) {
            return;
        }
        opens->settle_ms = 0;
        if (!ssh && session_is_broken(opens->session, code)) {
            opens->asked = false; /* the clients are seen to when the session is destroyed */
            return;
        }
        if (code != LIBSSH2_ERROR_TIMEOUT) {
            measure(opens);
        }
        if (ssh) {
            succeeded(opens, ssh);
        } else {
            failed(opens, code);
        }
        arm(opens);
    }
}
