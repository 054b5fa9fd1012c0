/* gears-relay's start and loop. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/detach.h"
#include "common/unixsock.h"
#include "daemon/relay/relay.h"

enum { LINK_FD = 3, EVENTS_PER_ROUND = 64, SPARE_FDS = 64 };

static struct relay relay = {.epoll = -1, .link.fd = -1, .controller.fd = -1, .watch.fd = -1};

int relay_arm(struct relay *r, struct source *source, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = source};
    if (source->armed == events) {
        return 0;
    }
    int act = source->armed ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(r->epoll, act, source->fd, &event)) {
        return -errno;
    }
    source->armed = events;
    return 0;
}

void relay_disarm(struct relay *r, struct source *source)
{
    if (source->armed) {
        epoll_ctl(r->epoll, EPOLL_CTL_DEL, source->fd, NULL);
        source->armed = 0;
    }
}

void relay_close(struct source *source)
{
    if (source->fd >= 0) {
        close(source->fd);
    }
    source->fd = -1;
    source->armed = 0;
}

void relay_timer(struct relay *r, int64_t at_ms)
{
    if (!r->next_timer_ms || at_ms < r->next_timer_ms) {
        r->next_timer_ms = at_ms;
    }
}

void relay_log(struct relay *r, const char *format, ...)
{
    struct link_frame frame;
    va_list args;
    va_start(args, format);
    link_frame_words(&frame, LINK_RELAY_LOG, format, args);
    va_end(args);
    control_send(r, &frame);
}

static void ignore_signals(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
}

static int make_counters(void)
{
    size_t size = RELAY_SLOTS * sizeof *relay.counters;
    relay.counters_fd = memfd_create("gears-relay", MFD_CLOEXEC);
    if (relay.counters_fd < 0 || ftruncate(relay.counters_fd, (off_t)size)) {
        return -errno;
    }
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, relay.counters_fd, 0);
    relay.counters = memory == MAP_FAILED ? NULL : memory;
    return relay.counters ? 0 : -ENOMEM;
}

/* Each connection takes two descriptors; some stay for listeners, pipes and the control. */
static void set_limits(void)
{
    struct rlimit limit = {.rlim_cur = SPARE_FDS * 2, .rlim_max = SPARE_FDS * 2};
    if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        getrlimit(RLIMIT_NOFILE, &limit);
    }
    size_t spare = limit.rlim_cur > SPARE_FDS * 2 ? SPARE_FDS : limit.rlim_cur / 2;
    relay.most_connections = (limit.rlim_cur - spare) / 2;
}

static int receive_start(void)
{
    static uint8_t buffer[LINK_FRAME_LIMIT];
    struct link_message message;
    fcntl(LINK_FD, F_SETFL, 0);
    if (link_receive(LINK_FD, buffer, &message) != 1 || message.type != LINK_RELAY_START) {
        return -EPROTO;
    }
    link_find_string(&message, LINK_TAG_RUN_DIR, 0, relay.run_dir, sizeof relay.run_dir);
    link_find_string(&message, LINK_TAG_LINK_PATH, 0, relay.link_path, sizeof relay.link_path);
    link_find_string(&message, LINK_TAG_NONCE, 0, relay.nonce, sizeof relay.nonce);
    link_find_string(&message, LINK_TAG_BUILD, 0, relay.build, sizeof relay.build);
    link_message_finish(&message);
    return 0;
}

static int set_up(struct error *err)
{
    set_limits();
    relay.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (relay.epoll < 0 || make_counters()) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    int code = control_start(&relay, LINK_FD, err);
    if (code) {
        return code;
    }
    code = reach_init(&relay);
    if (code) {
        return error_set(err, code, "out of memory or descriptors");
    }
    code = watch_start(&relay);
    if (code) {
        relay_log(&relay, "deleted sockets will not be noticed cause=\"%s\"", strerror(-code));
    }
    return 0;
}

static int timeout_ms(void)
{
    if (!relay.unsettled && !relay.paused) {
        relay.next_timer_ms = 0; /* whom it was for is served: do not wake for nothing */
    }
    if (!relay.next_timer_ms) {
        return -1;
    }
    int64_t left = relay.next_timer_ms - clock_monotonic_ms();
    return left > 0 ? (int)left : 0;
}

static void loop(void)
{
    struct epoll_event events[EVENTS_PER_ROUND];
    while (!relay.draining || relay.open_connections) {
        int n = epoll_wait(relay.epoll, events, EVENTS_PER_ROUND, timeout_ms());
        for (int i = 0; i < n; i++) {
            struct source *source = events[i].data.ptr;
            source->ready(source, events[i].events);
        }
        int64_t now = clock_monotonic_ms();
        if (relay.next_timer_ms && now >= relay.next_timer_ms) {
            relay.next_timer_ms = 0;
            connection_run_timers(&relay, now);
            listener_run_timers(&relay, now);
        }
        connection_free_dead(&relay);
        listener_free_dead(&relay);
    }
}

int main(void)
{
    struct error err = {0};
    detach(LINK_FD);
    prctl(PR_SET_NAME, "gears-relay");
    ignore_signals();
    if (receive_start()) {
        return 1;
    }
    int code = set_up(&err);
    if (code) {
        struct link_frame frame;
        link_frame_start(&frame, LINK_ERROR, 1);
        link_frame_error(&frame, code, err.text);
        link_send(LINK_FD, &frame);
        return 1;
    }
    control_status(&relay, 1);
    loop();
    return 0;
}
