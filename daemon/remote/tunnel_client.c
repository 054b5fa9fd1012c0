/* gearsd's side of one gears-tunnel: starts it, finds one that runs, hears what it says. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "build_id.h"
#include "common/clock.h"
#include "common/relay_counters.h"
#include "common/unixsock.h"
#include "daemon/core/log.h"
#include "daemon/remote/hop.h"
#include "daemon/service/spawn.h"

enum { TROUBLE_AGAIN_MS = 10000 };

/* Numbers of requests, as LINK_ERROR tells which one it refuses. */
enum { REQUEST_START = 1, REQUEST_ORDER, REQUEST_RUN };

struct tunnel_client {
    struct hop *hop;
    struct link_peer *peer;
    struct relay_counters *counters; /* NULL: none mapped */
    enum link_tunnel_state state;
    bool adopted; /* found running: its first status is no news */
    bool heard;   /* it spoke on this connection */
    bool down;    /* it said why it ends */
};

static void on_closed(void *context);
static bool find(struct hop *hop, bool adopted);

static int paths(const struct hop *hop, char link[PATH_MAX], char feed[PATH_MAX])
{
    const struct home *home = &hop->remote->manager->home;
    int code = home_path(home, link, "run", "link/t-%s.sck", hop->config->name);
    return code ? code : home_path(home, feed, "run", "link/f-%s.sck", hop->config->name);
}

/* Nothing of what a human typed passes through here but in frames that are wiped. */
int tunnel_send(struct hop *hop, struct link_frame *frame)
{
    if (!hop->tunnel || !hop->tunnel->peer) {
        link_frame_finish(frame);
        return -ENOTCONN;
    }
    return link_peer_send(hop->tunnel->peer, frame);
}

static void map_counters(struct tunnel_client *tunnel, struct link_message *message)
{
    if (message->fd_count && !tunnel->counters) {
        void *memory =
            mmap(NULL, sizeof *tunnel->counters, PROT_READ, MAP_SHARED, message->fds[0], 0);
        tunnel->counters = memory == MAP_FAILED ? NULL : memory;
    }
}

/* It is up: at last, again, or still. What is missing there is asked for, also after an answer
 * that was lost in a silence. */
static void become_up(struct hop *hop, bool human)
{
    bool was_up = hop->machine.state == HOP_UP;
    bool unknown = !hop->report.known || hop->report_failed;
    bool asks = unknown && !hop->reporting && !(was_up && hop->report_failed);
    hop->report_failed = hop->report_failed && !asks;
    if (hop->machine.state == HOP_DEGRADED) {
        hop_apply(hop, HOP_HEARD);
    } else if (!was_up) {
        hop_apply(hop, human ? HOP_OPENED_BY_HUMAN : HOP_OPENED);
    }
    if (!was_up) {
        expiry_arm(hop);
    }
    if (hop->machine.state == HOP_UP && !hop->machine.closing && asks) {
        arrive_start(hop);
    }
}

/* `human` of a login that is not over says nothing yet. */
static void adopt_state(struct hop *hop, bool human, const char *text)
{
    bool degraded = hop->tunnel->state == LINK_TUNNEL_DEGRADED;
    hop->tunnel->adopted = false;
    if (hop->machine.closing) {
        return; /* it was told to end before it spoke */
    }
    if (!degraded && hop->tunnel->state != LINK_TUNNEL_UP) {
        hop_apply(hop, HOP_ADOPTED_LOGIN);
        return;
    }
    hop_apply(hop, HOP_ADOPTED);
    hop_apply(hop, human ? HOP_HUMAN : HOP_KEYS);
    hop->report.known = hop->report.socket[0] != 0;
    hop_note(hop, "adopted", "found %s", degraded ? "degraded" : "up");
    if (degraded) {
        hop_set_message(hop, "%s", text);
        hop_apply(hop, HOP_SILENT);
    } else {
        become_up(hop, human);
    }
    expiry_arm(hop);
    hop_changed(hop);
}

static void on_state(struct hop *hop, const struct link_message *message)
{
    struct tunnel_client *tunnel = hop->tunnel;
    char text[HOP_TEXT];
    link_find_string(message, LINK_TAG_TEXT, 0, text, sizeof text);
    size_t length;
    int64_t rtt_us = hop->rtt_us;
    if (link_find(message, LINK_TAG_ADDRESS, 0, &length)) {
        link_find_string(message, LINK_TAG_ADDRESS, 0, hop->address, sizeof hop->address);
    }
    hop->rtt_us = (int64_t)link_u64(message, LINK_TAG_RTT_US, (uint64_t)hop->rtt_us);
    hop->authenticated_us =
        (int64_t)link_u64(message, LINK_TAG_AUTHENTICATED_AT, (uint64_t)hop->authenticated_us);
    bool human = link_u64(message, LINK_TAG_HUMAN, 0) != 0;
    tunnel->state = (enum link_tunnel_state)link_u64(message, LINK_TAG_TUNNEL_STATE, 0);
    if (human && !hop->machine.human) {
        hop_apply(hop, HOP_HUMAN); /* whatever becomes of this login */
    }
    if (tunnel->state == LINK_TUNNEL_DOWN) {
        tunnel->down = true;
        hop->machine.cause =
            (enum link_tunnel_cause)link_u64(message, LINK_TAG_CAUSE, LINK_CAUSE_FAILED);
        hop_set_message(hop, "%s", text);
        on_closed(tunnel); /* its last word: a thread in a hung home may keep its socket open */
    } else if (tunnel->adopted) {
        adopt_state(hop, human, text);
        hop->since_us = (int64_t)link_u64(message, LINK_TAG_SINCE, (uint64_t)hop->since_us);
    } else if (tunnel->state == LINK_TUNNEL_UP) {
        bool news = hop->machine.state == HOP_UP && hop->rtt_us != rtt_us;
        become_up(hop, human);
        if (news) { /* else it only said that it is alive */
            hop_changed(hop);
        }
    } else if (tunnel->state == LINK_TUNNEL_DEGRADED && strcmp(hop->message, text) != 0) {
        hop_set_message(hop, "%s", text);
        hop_apply(hop, HOP_SILENT);
    } else if (tunnel->state == LINK_TUNNEL_CONNECTING && text[0]) {
        hop_tell_step(hop, text);
    }
}

static void on_prompt(struct hop *hop, const struct link_message *message)
{
    struct hop_prompt prompt = {0};
    link_find_string(message, LINK_TAG_PROMPT_ID, 0, prompt.id, sizeof prompt.id);
    prompt.name = link_copy_string(message, LINK_TAG_NAME, 0);
    prompt.instruction = link_copy_string(message, LINK_TAG_INSTRUCTION, 0);
    size_t length;
    while (prompt.count < HOP_PROMPTS &&
           link_find(message, LINK_TAG_PROMPT_TEXT, prompt.count, &length)) {
        const uint8_t *echo = link_find(message, LINK_TAG_PROMPT_ECHO, prompt.count, &length);
        prompt.lines[prompt.count].text =
            link_copy_string(message, LINK_TAG_PROMPT_TEXT, prompt.count);
        prompt.lines[prompt.count].echo = echo && length == 8 && echo[0];
        prompt.count++;
    }
    if (prompt.id[0] && prompt.count) {
        hop_ask(hop, &prompt);
    }
    hop_prompt_finish(&prompt);
}

static void on_ran(struct hop *hop, const struct link_message *message)
{
    char *report = link_copy_string(message, LINK_TAG_REPORT, 0), text[HOP_TEXT];
    int code = -(int)link_u64(message, LINK_TAG_ERRNO, report ? 0 : EIO);
    link_find_string(message, LINK_TAG_TEXT, 0, text, sizeof text);
    int status = (int)link_u64(message, LINK_TAG_EXIT_CODE, 0);
    arrive_done(hop, report, code, status, text);
    free(report);
}

/* The server opens no channel to what we were told of: perhaps gearsd there has ended. */
static void on_trouble(struct hop *hop, const struct link_message *message)
{
    char path[108], text[300];
    link_find_string(message, LINK_TAG_TARGET_PATH, 0, path, sizeof path);
    link_find_string(message, LINK_TAG_TEXT, 0, text, sizeof text);
    log_line(
        "hop cluster=%s channel refused path=%s cause=\"%s\"", hop->config->name, path, text);
    if (clock_monotonic_ms() - hop->reported_ms >= TROUBLE_AGAIN_MS) {
        arrive_start(hop);
    }
}

/* Why it could not even begin; or why it takes no order. */
static void on_refused(struct hop *hop, const struct link_message *message)
{
    struct tunnel_client *tunnel = hop->tunnel;
    char text[HOP_TEXT];
    int code = -(int)link_u64(message, LINK_TAG_ERRNO, EIO);
    bool begins = tunnel->state != LINK_TUNNEL_UP && tunnel->state != LINK_TUNNEL_DEGRADED;
    link_find_string(message, LINK_TAG_TEXT, 0, text, sizeof text);
    log_line("tunnel cluster=%s refused cause=\"%s\"", hop->config->name, text);
    if (message->request == REQUEST_START && begins && !hop->machine.closing) {
        tunnel->down = true;
        hop->machine.cause = LINK_CAUSE_FAILED;
        hop_set_message(hop, "gears-tunnel cannot start: %.400s", text);
    } else if (message->request == REQUEST_RUN && hop->reporting && code != -EBUSY) {
        arrive_done(hop, NULL, code, 0, text); /* -EBUSY: an earlier order's answer will come */
    }
}

static void on_message(void *context, struct link_message *message)
{
    struct hop *hop = ((struct tunnel_client *)context)->hop;
    char text[HOP_TEXT];
    hop->tunnel->heard = true;
    pulse_heard(hop);
    switch (message->type) {
    case LINK_TUNNEL_STATUS:
        hop->pid = (pid_t)link_u64(message, LINK_TAG_PID, 0);
        link_find_string(message, LINK_TAG_BUILD, 0, hop->build, sizeof hop->build);
        link_find_string(message, LINK_TAG_NONCE, 0, hop->nonce, sizeof hop->nonce);
        map_counters(hop->tunnel, message);
        on_state(hop, message);
        break;
    case LINK_TUNNEL_STATE:
        on_state(hop, message);
        break;
    case LINK_TUNNEL_PROMPT:
        on_prompt(hop, message);
        break;
    case LINK_TUNNEL_RAN:
        on_ran(hop, message);
        break;
    case LINK_TUNNEL_TROUBLE:
        on_trouble(hop, message);
        break;
    case LINK_TUNNEL_LOG:
        link_find_string(message, LINK_TAG_TEXT, 0, text, sizeof text);
        log_line("tunnel cluster=%s %s", hop->config->name, text);
        break;
    case LINK_ERROR:
        on_refused(hop, message);
        break;
    default:
        break;
    }
}

void tunnel_forget(struct hop *hop)
{
    struct tunnel_client *tunnel = hop->tunnel;
    hop->tunnel = NULL;
    if (tunnel) {
        link_peer_destroy(tunnel->peer);
        if (tunnel->counters) {
            munmap(tunnel->counters, sizeof *tunnel->counters);
        }
        free(tunnel);
    }
}

static void on_closed(void *context)
{
    struct tunnel_client *tunnel = context;
    struct hop *hop = tunnel->hop;
    bool told = tunnel->down, found = tunnel->adopted, heard = tunnel->heard;
    tunnel_forget(hop);
    arrive_stop(hop);
    if (!told && heard && find(hop, found)) {
        return; /* it gave up on this connection only, and tells all there is to tell again */
    }
    pulse_stop(hop);
    hop->pid = 0;
    hop->rtt_us = 0;
    hop->report.known = hop->report_failed = false;
    hop_drop_prompt(hop);
    expiry_arm(hop);
    if (!told && !hop->machine.closing) {
        hop->machine.cause = LINK_CAUSE_FAILED;
        hop_set_message(hop, "gears-tunnel, which held the connection, was ended");
    }
    if (!hop_ask_elsewhere(hop)) {
        hop_apply(hop, HOP_ENDED);
    }
    if (found) { /* before it said how it was: as if there had been none */
        hop_apply(hop, HOP_RESTORED);
    }
}

static const struct link_peer_calls calls = {on_message, on_closed};

static int attach(struct hop *hop, int fd, bool adopted, struct error *err)
{
    struct tunnel_client *tunnel = calloc(1, sizeof *tunnel);
    if (!tunnel) {
        close(fd);
        return error_set(err, -ENOMEM, "out of memory");
    }
    *tunnel = (struct tunnel_client){.hop = hop, .adopted = adopted};
    tunnel->peer = link_peer_create(hop->remote->manager->base, fd, &calls, tunnel);
    if (!tunnel->peer) {
        free(tunnel);
        return error_set(err, -ENOMEM, "out of memory");
    }
    hop->tunnel = tunnel;
    return 0;
}

/* The frame, or what it remembers of having failed. */
static void make_start(struct hop *hop, struct ssh_hop *const hops[], size_t count,
    bool attended, struct link_frame *frame)
{
    const struct cluster_config *config = hop->config;
    char link[PATH_MAX], feed[PATH_MAX], end[PATH_MAX];
    link_frame_start(frame, LINK_TUNNEL_START, REQUEST_START);
    int code = paths(hop, link, feed);
    code =
        code ? code
             : home_path(&hop->remote->manager->home, end, "state", "hop/%s.end", config->name);
    frame->failed = code;
    link_frame_string(frame, LINK_TAG_CLUSTER, config->name);
    link_frame_string(frame, LINK_TAG_NONCE, hop->nonce);
    link_frame_string(frame, LINK_TAG_BUILD, GEARS_BUILD_ID);
    link_frame_string(frame, LINK_TAG_LINK_PATH, link);
    link_frame_string(frame, LINK_TAG_FEED_PATH, feed);
    link_frame_string(frame, LINK_TAG_EXIT_RECORD, end);
    link_frame_string(frame, LINK_TAG_TRANSPORT, config->transport);
    link_frame_u64(frame, LINK_TAG_UNATTENDED, !attended);
    link_frame_u64(frame, LINK_TAG_STEP_MS, (uint64_t)config->connect_timeout_ms);
    link_frame_u64(frame, LINK_TAG_KEEPALIVE_MS, (uint64_t)config->keepalive_ms);
    link_frame_u64(frame, LINK_TAG_KEEPALIVE_COUNT, (uint64_t)config->keepalive_count);
    link_frame_u64(frame, LINK_TAG_DEAD_AFTER_MS, (uint64_t)config->dead_after_ms);
    for (size_t i = 0; i < count; i++) {
        size_t length = 0;
        char *text = ssh_hop_format(hops[i], &length);
        if (!text) {
            frame->failed = -ENOMEM;
        } else {
            link_frame_bytes(frame, LINK_TAG_SSH_HOP, text, length);
        }
        free(text);
    }
}

int tunnel_start(struct hop *hop, struct ssh_hop *const hops[], size_t count, bool attended,
    struct error *err)
{
    char path[PATH_MAX + 32];
    struct link_frame frame;
    snprintf(path, sizeof path, "%s/gears-tunnel", hop->remote->manager->program_dir);
    nonce_make(hop->nonce);
    hop_store(hop);
    int fd = spawn_helper(path, NULL, err);
    if (fd < 0) {
        return fd;
    }
    make_start(hop, hops, count, attended, &frame);
    int code = link_send(fd, &frame);
    if (code) {
        close(fd);
        return error_errno(err, code, "gears-tunnel did not take its orders");
    }
    return attach(hop, fd, false, err);
}

static bool find(struct hop *hop, bool adopted)
{
    char link[PATH_MAX], feed[PATH_MAX];
    struct ucred peer;
    int fd = paths(hop, link, feed) ? -1 : unix_connect(link, SOCK_SEQPACKET, true, NULL);
    if (fd < 0) {
        return false;
    }
    if (unix_peer(fd, &peer) || peer.uid != geteuid() ||
        link_send_empty(fd, LINK_HELLO, REQUEST_ORDER)) {
        close(fd);
        return false;
    }
    hop->pid = peer.pid;
    return !attach(hop, fd, adopted, NULL);
}

bool tunnel_adopt(struct hop *hop)
{
    return find(hop, true);
}

void tunnel_close(struct hop *hop, enum link_tunnel_cause cause, const char *text)
{
    struct link_frame frame;
    if (!hop->tunnel && hop->preparing) {
        hop->machine.closing = true; /* a job finds out where to connect: it sees this */
        return;
    }
    hop->machine.cause = cause;
    hop_set_message(hop, "%s", text);
    if (!hop->tunnel) {
        hop_apply(hop, HOP_ENDED);
        return;
    }
    link_frame_start(&frame, LINK_TUNNEL_CLOSE, 0);
    link_frame_u64(&frame, LINK_TAG_CAUSE, (uint64_t)cause);
    link_frame_string(&frame, LINK_TAG_TEXT, text);
    hop->machine.closing = true;
    pulse_expect_end(hop);
    if (tunnel_send(hop, &frame)) { /* it takes no orders: stopped by a signal, perhaps */
        log_line("tunnel cluster=%s takes no message", hop->config->name);
    }
}

void tunnel_probe(struct hop *hop)
{
    if (hop->tunnel && (hop->machine.state == HOP_UP || hop->machine.state == HOP_DEGRADED)) {
        struct link_frame frame;
        link_frame_start(&frame, LINK_TUNNEL_PROBE, 0);
        tunnel_send(hop, &frame);
    }
}

int tunnel_answer(struct hop *hop, const char *const answers[], size_t count)
{
    struct link_frame frame;
    link_frame_start(&frame, LINK_TUNNEL_ANSWER, REQUEST_ORDER);
    link_frame_secret(&frame);
    link_frame_string(&frame, LINK_TAG_PROMPT_ID, hop->prompt.id);
    for (size_t i = 0; i < count; i++) {
        link_frame_string(&frame, LINK_TAG_ANSWER, answers[i]);
    }
    return tunnel_send(hop, &frame);
}

int tunnel_run(struct hop *hop, const char *command, int64_t timeout_ms)
{
    struct link_frame frame;
    link_frame_start(&frame, LINK_TUNNEL_RUN, REQUEST_RUN);
    link_frame_string(&frame, LINK_TAG_COMMAND, command);
    link_frame_u64(&frame, LINK_TAG_TIMEOUT_MS, (uint64_t)timeout_ms);
    return tunnel_send(hop, &frame);
}

void tunnel_counters(const struct hop *hop, uint64_t *connections, uint64_t *in, uint64_t *out)
{
    const struct relay_counters *counters = hop->tunnel ? hop->tunnel->counters : NULL;
    *connections = counters ? atomic_load(&counters->connections) : 0;
    *in = counters ? atomic_load(&counters->bytes_in) : 0;
    *out = counters ? atomic_load(&counters->bytes_out) : 0;
}
