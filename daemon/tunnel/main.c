/* gears-tunnel's start and loop. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/detach.h"
#include "daemon/tunnel/askpass.h"
#include "daemon/tunnel/refusal.h"
#include "daemon/tunnel/tunnel.h"

enum { LINK_FD = 3, STEP_MS = 30000, KEEPALIVE_MS = 30000, KEEPALIVE_COUNT = 3 };
enum { DEAD_AFTER_MS = 30 * 60 * 1000 };
enum { DAY_MS = 24 * 3600 * 1000, COUNT_MOST = 1000 };
static const int64_t DEAD_AFTER_MOST_MS = 36600LL * DAY_MS; /* sums of it do not overflow */

static struct tunnel tunnel = {.counters_fd = -1};

/* What a human types passes through this memory. */
static void keep_secrets(void)
{
    struct rlimit none = {0, 0};
    prctl(PR_SET_DUMPABLE, 0);
    setrlimit(RLIMIT_CORE, &none);
}

static void ignore_signals(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
}

/* Each client takes a descriptor. */
static void raise_limits(void)
{
    struct rlimit limit;
    if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int take_hops(const struct link_message *message, struct error *err)
{
    const uint8_t *text;
    size_t length;
    while ((text = link_find(message, LINK_TAG_SSH_HOP, tunnel.hop_count, &length))) {
        if (tunnel.hop_count == HOPS_MOST) {
            return error_set(err, -E2BIG, "more than %d SSH servers on the way", HOPS_MOST);
        }
        int code =
            ssh_hop_parse((const char *)text, length, &tunnel.hops[tunnel.hop_count], err);
        if (code) {
            return code;
        }
        tunnel.hop_count++;
    }
    return tunnel.hop_count ? 0 : error_set(err, -EINVAL, "no SSH server was named");
}

/* What is missing or too little becomes `fallback`, what is too much the most. */
static int64_t number(const struct link_message *message, enum link_tag tag, int64_t fallback,
    int64_t least, int64_t most)
{
    uint64_t value = link_u64(message, tag, (uint64_t)fallback);
    return value > (uint64_t)most ? most : (int64_t)value < least ? fallback : (int64_t)value;
}

static void take_settings(const struct link_message *message)
{
    link_find_string(message, LINK_TAG_CLUSTER, 0, tunnel.cluster, sizeof tunnel.cluster);
    link_find_string(message, LINK_TAG_NONCE, 0, tunnel.nonce, sizeof tunnel.nonce);
    link_find_string(message, LINK_TAG_BUILD, 0, tunnel.build, sizeof tunnel.build);
    link_find_string(message, LINK_TAG_LINK_PATH, 0, tunnel.link_path, sizeof tunnel.link_path);
    link_find_string(message, LINK_TAG_FEED_PATH, 0, tunnel.feed_path, sizeof tunnel.feed_path);
    link_find_string(
        message, LINK_TAG_EXIT_RECORD, 0, tunnel.exit_record, sizeof tunnel.exit_record);
    link_find_string(message, LINK_TAG_TRANSPORT, 0, tunnel.transport, sizeof tunnel.transport);
    tunnel.unattended = link_u64(message, LINK_TAG_UNATTENDED, 1) != 0;
    tunnel.step_ms = number(message, LINK_TAG_STEP_MS, STEP_MS, 1, DAY_MS);
    tunnel.keepalive_ms = number(message, LINK_TAG_KEEPALIVE_MS, KEEPALIVE_MS, 10, DAY_MS);
    tunnel.keepalive_count =
        number(message, LINK_TAG_KEEPALIVE_COUNT, KEEPALIVE_COUNT, 1, COUNT_MOST);
    tunnel.dead_after_ms =
        number(message, LINK_TAG_DEAD_AFTER_MS, DEAD_AFTER_MS, 0, DEAD_AFTER_MOST_MS);
}

/* 0; or an error to be told to gearsd; -EPROTO: there is nobody to tell. */
static int receive_start(struct error *err)
{
    static uint8_t buffer[LINK_FRAME_LIMIT];
    struct link_message message;
    fcntl(LINK_FD, F_SETFL, 0);
    if (link_receive(LINK_FD, buffer, &message) != 1 || message.type != LINK_TUNNEL_START) {
        return -EPROTO;
    }
    take_settings(&message);
    int code = take_hops(&message, err);
    link_message_finish(&message);
    if (!code && tunnel.transport[0] && strcmp(tunnel.transport, "libssh2") != 0 &&
        strcmp(tunnel.transport, "openssh") != 0) {
        code = error_set(
            err, -ENOTSUP, "this program knows no transport \"%s\"", tunnel.transport);
    }
    return code;
}

static void on_term(evutil_socket_t fd, short what, void *argument)
{
    (void)what;
    (void)argument;
    struct signalfd_siginfo info;
    while (read((int)fd, &info, sizeof info) > 0) {
        tunnel_close(&tunnel, LINK_CAUSE_CANCELLED, "ended by signal TERM");
    }
}

static int hear_term(struct event **event, struct error *err)
{
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL); /* before any thread is made */
    int signals = signalfd(-1, &term, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0) {
        return error_errno(err, -errno, "cannot hear of signals");
    }
    *event = event_new(tunnel.base, signals, EV_READ | EV_PERSIST, on_term, NULL);
    return *event && !event_add(*event, NULL) ? 0 : error_set(err, -ENOMEM, "out of memory");
}

static int make_counters(struct error *err)
{
    tunnel.counters_fd = memfd_create("gears-tunnel", MFD_CLOEXEC);
    if (tunnel.counters_fd < 0 || ftruncate(tunnel.counters_fd, sizeof *tunnel.counters)) {
        return error_errno(err, -errno, "cannot make the counters");
    }
    void *memory = mmap(NULL, sizeof *tunnel.counters, PROT_READ | PROT_WRITE, MAP_SHARED,
        tunnel.counters_fd, 0);
    tunnel.counters = memory == MAP_FAILED ? NULL : memory;
    return tunnel.counters ? 0 : error_errno(err, -errno, "cannot make the counters");
}

static int set_up(struct event **term, struct error *err)
{
    raise_limits();
    tunnel.state = LINK_TUNNEL_CONNECTING;
    tunnel.since_us = clock_utc_us();
    tunnel.base = event_base_new();
    tunnel.refusals = tunnel.base ? refusals_create(tunnel.base) : NULL;
    if (!tunnel.refusals || libssh2_init(0)) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    int code = make_counters(err);
    code = code ? code : feed_start(&tunnel, err); /* before gearsd hears of this process */
    code = code ? code : control_start(&tunnel, LINK_FD, err);
    code = code ? code : hear_term(term, err);
    code = code ? code : watch_start(&tunnel, err);
    return code ? code : tunnel_start(&tunnel, err);
}

static int fail(int code, const char *words)
{
    struct link_frame frame;
    link_frame_start(&frame, LINK_ERROR, 1);
    link_frame_error(&frame, code, words);
    link_send(LINK_FD, &frame);
    if (tunnel.feed) {
        feed_finish(&tunnel);
    }
    if (tunnel.control) {
        control_finish(&tunnel);
    }
    return 1;
}

int main(int argc, char **argv)
{
    if (askpass_is_wanted()) {
        return askpass_main(argc, argv);
    }
    struct error err = {0};
    struct event *term = NULL;
    detach(LINK_FD);
    keep_secrets();
    prctl(PR_SET_NAME, "gears-tunnel");
    ignore_signals();
    int code = receive_start(&err);
    code = code ? code : set_up(&term, &err);
    if (code) {
        return fail(code, err.text);
    }
    event_base_dispatch(tunnel.base);
    tunnel_finish(&tunnel);
    if (tunnel.login || tunnel.thread_left) {
        _exit(0); /* its thread stands in some call and owns what it uses */
    }
    event_free(term);
    event_free(tunnel.late);
    event_base_free(tunnel.base);
    for (size_t i = 0; i < tunnel.hop_count; i++) {
        ssh_hop_destroy(tunnel.hops[i]);
    }
    return 0;
}
