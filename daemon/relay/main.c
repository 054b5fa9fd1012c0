/* gears-relay's start and loop. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/unixsock.h"
#include "daemon/relay/relay.h"

enum { LINK_FD = 3, EVENTS_PER_ROUND = 64 };

static struct relay relay = {.epoll = -1, .link_listener = -1, .controller = -1, .inotify = -1};

int relay_watch(struct relay *r, struct source *source, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = source};
    return epoll_ctl(r->epoll, EPOLL_CTL_ADD, source->fd, &event) ? -errno : 0;
}

void relay_rearm(struct relay *r, struct source *source, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = source};
    epoll_ctl(r->epoll, EPOLL_CTL_MOD, source->fd, &event);
}

void relay_timer(struct relay *r, int64_t at_ms)
{
    if (!r->next_timer_ms || at_ms < r->next_timer_ms) {
        r->next_timer_ms = at_ms;
    }
}

void relay_log(struct relay *r, const char *format, ...)
{
    char text[400];
    struct link_frame frame;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    link_frame_start(&frame, LINK_RELAY_LOG, 0);
    link_frame_string(&frame, LINK_TAG_TEXT, text);
    control_send(r, &frame);
}

static void detach(void)
{
    if (fork() != 0) {
        _exit(0);
    }
    setsid();
    if (fork() != 0) {
        _exit(0);
    }
    (void)!chdir("/");
    umask(077);
    prctl(PR_SET_NAME, "gears-relay");
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++) {
        dup2(null, fd);
    }
    for (int fd = 4; fd < 1024; fd++) {
        close(fd);
    }
    fcntl(LINK_FD, F_SETFD, FD_CLOEXEC);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
}

static void on_link(struct source *source, uint32_t events)
{
    (void)source;
    (void)events;
    control_accept(&relay);
}

static void on_inotify(struct source *source, uint32_t events)
{
    (void)events;
    char buffer[4096];
    while (read(source->fd, buffer, sizeof buffer) > 0) {
    }
    listener_check_files(&relay);
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

static int set_up(struct error *err)
{
    static struct source link_source = {on_link, -1}, inotify_source = {on_inotify, -1};
    static uint8_t buffer[LINK_FRAME_LIMIT];
    struct link_message message;
    fcntl(LINK_FD, F_SETFL, 0);
    if (link_receive(LINK_FD, buffer, &message) != 1 || message.type != LINK_RELAY_START) {
        _exit(1);
    }
    fcntl(LINK_FD, F_SETFL, O_NONBLOCK);
    link_find_string(&message, LINK_TAG_RUN_DIR, 0, relay.run_dir, sizeof relay.run_dir);
    link_find_string(&message, LINK_TAG_LINK_PATH, 0, relay.link_path, sizeof relay.link_path);
    link_find_string(&message, LINK_TAG_NONCE, 0, relay.nonce, sizeof relay.nonce);
    link_find_string(&message, LINK_TAG_BUILD, 0, relay.build, sizeof relay.build);
    relay.epoll = epoll_create1(EPOLL_CLOEXEC);
    relay.reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (relay.epoll < 0 || make_counters()) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    control_accept(&relay); /* descriptor 3 is the first controller */
    relay.link_listener = unix_listen(relay.link_path, SOCK_SEQPACKET, 16, err);
    if (relay.link_listener < 0) {
        return relay.link_listener;
    }
    link_source.fd = relay.link_listener;
    inotify_source.fd = relay.inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    inotify_add_watch(relay.inotify, relay.run_dir, IN_DELETE | IN_MOVED_FROM);
    relay_watch(&relay, &inotify_source, EPOLLIN);
    return relay_watch(&relay, &link_source, EPOLLIN);
}

static int timeout_ms(void)
{
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
        }
        connection_free_dead(&relay);
        listener_free_dead(&relay);
    }
}

int main(void)
{
    struct error err = {0};
    detach();
    int code = set_up(&err);
    if (code) {
        struct link_frame frame;
        link_frame_start(&frame, LINK_ERROR, 1);
        link_frame_u64(&frame, LINK_TAG_ERRNO, (uint64_t)-code);
        link_frame_string(&frame, LINK_TAG_TEXT, err.text);
        link_send(LINK_FD, &frame);
        return 1;
    }
    control_status(&relay, 1);
    loop();
    return 0;
}
