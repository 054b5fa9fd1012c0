/* gearsd's side of one gears-tunnel: starts it, finds one that runs, orders, sees its end. */
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
#include "common/proc.h"
#include "common/unixsock.h"
#include "daemon/core/log.h"
#include "daemon/remote/tunnel_client.h"
#include "daemon/service/spawn.h"

enum { AGAIN_MS = 1000 };

static bool find(struct hop *hop, bool adopted);

static int paths(const struct hop *hop, char link[PATH_MAX], char feed[PATH_MAX])
{
    const struct home *home = &hop->remote->manager->home;
    int code = home_path(home, link, "run", "link/t-%s.sck", hop->config->name);
    return code ? code : home_path(home, feed, "run", "link/f-%s.sck", hop->config->name);
}

/* Nothing of what a human typed passes through here but in frames that are wiped. */
int tunnel_client_send(struct hop *hop, struct link_frame *frame)
{
    if (!hop->tunnel || !hop->tunnel->peer) {
        link_frame_finish(frame);
        return -ENOTCONN;
    }
    return link_peer_send(hop->tunnel->peer, frame);
}

static void forget(struct hop *hop)
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

/* It may have given up on this connection only, and tells all there is to tell again. Whether
 * it still runs is asked first: looking for a socket in a hung home would stop this loop. Once
 * in a while at most, as another gearsd may want to lead it too. */
static bool find_again(struct hop *hop, bool adopted)
{
    struct proc_stat stat;
    int64_t now_ms = clock_monotonic_ms();
    bool runs = hop->pid > 0 && !proc_stat_read(hop->pid, &stat) && stat.rss_bytes &&
                !strcmp(stat.comm, "gears-tunnel"); /* who is ending has no memory any more */
    if (!runs || (hop->refound_ms && now_ms - hop->refound_ms < AGAIN_MS)) {
        return false;
    }
    hop->refound_ms = now_ms;
    return find(hop, adopted);
}

static void on_closed(void *context)
{
    struct tunnel_client *tunnel = context;
    struct hop *hop = tunnel->hop;
    bool told = tunnel->down, found = tunnel->adopted, heard = tunnel->heard;
    forget(hop);
    arrive_stop(hop);
    if (!told && heard && find_again(hop, found)) {
        return;
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

/* A thread of it in a hung home may keep its socket open: its last word is its end. */
static void on_message(void *context, struct link_message *message)
{
    struct tunnel_client *tunnel = context;
    tunnel_client_hear(tunnel, message);
    if (tunnel->state == LINK_TUNNEL_DOWN) {
        on_closed(tunnel);
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

int tunnel_client_start(struct hop *hop, struct ssh_hop *const hops[], size_t count,
    bool attended, struct error *err)
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

bool tunnel_client_adopt(struct hop *hop)
{
    return find(hop, true);
}

void tunnel_client_close(struct hop *hop, enum link_tunnel_cause cause, const char *text)
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
    /* It takes no orders: stopped by a signal, perhaps. */
    if (tunnel_client_send(hop, &frame)) {
        log_line("tunnel cluster=%s takes no message", hop->config->name);
    }
}

void hop_probe(struct hop *hop)
{
    if (hop->tunnel && (hop->machine.state == HOP_UP || hop->machine.state == HOP_DEGRADED)) {
        struct link_frame frame;
        link_frame_start(&frame, LINK_TUNNEL_PROBE, 0);
        tunnel_client_send(hop, &frame);
    }
}

int tunnel_client_answer(struct hop *hop, const char *const answers[], size_t count)
{
    struct link_frame frame;
    link_frame_start(&frame, LINK_TUNNEL_ANSWER, REQUEST_ORDER);
    link_frame_secret(&frame);
    link_frame_string(&frame, LINK_TAG_PROMPT_ID, hop->prompt.id);
    for (size_t i = 0; i < count; i++) {
        link_frame_string(&frame, LINK_TAG_ANSWER, answers[i]);
    }
    return tunnel_client_send(hop, &frame);
}

int tunnel_client_run(struct hop *hop, const char *command, int64_t timeout_ms)
{
    struct link_frame frame;
    link_frame_start(&frame, LINK_TUNNEL_RUN, REQUEST_RUN);
    link_frame_string(&frame, LINK_TAG_COMMAND, command);
    link_frame_u64(&frame, LINK_TAG_TIMEOUT_MS, (uint64_t)timeout_ms);
    return tunnel_client_send(hop, &frame);
}

void hop_counters(const struct hop *hop, uint64_t *connections, uint64_t *in, uint64_t *out)
{
    const struct relay_counters *counters = hop->tunnel ? hop->tunnel->counters : NULL;
    *connections = counters ? atomic_load(&counters->connections) : 0;
    *in = counters ? atomic_load(&counters->bytes_in) : 0;
    *out = counters ? atomic_load(&counters->bytes_out) : 0;
}
