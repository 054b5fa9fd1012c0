/* gears-keeper's start and loop. Needs libc only: an old keeper outlives many upgrades. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/detach.h"
#include "daemon/keeper/keeper.h"

enum { LINK_FD = 3, ORDERLY_STOP_MS = 10000 };

static int receive_orders(struct keeper *keeper, struct error *err)
{
    static uint8_t buffer[LINK_FRAME_LIMIT];
    struct link_message message;
    fcntl(LINK_FD, F_SETFL, 0);
    int code = link_receive(LINK_FD, buffer, &message);
    if (code != 1 || message.type != LINK_KEEPER_START) {
        exit(1); /* gearsd died before it gave orders: nothing was started */
    }
    fcntl(LINK_FD, F_SETFL, O_NONBLOCK);
    keeper->controller = LINK_FD;
    code = orders_parse(&message, &keeper->orders, err);
    link_message_finish(&message);
    return code;
}

static int open_notify(struct keeper *keeper, struct error *err)
{
    struct sockaddr_un address;
    const char *path = keeper->orders.notify_path;
    if (!path) {
        return 0;
    }
    int code = unix_address(&address, path, err);
    if (code) {
        return code;
    }
    unlink(path);
    keeper->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (keeper->notify_fd < 0 ||
        bind(keeper->notify_fd, (struct sockaddr *)&address, sizeof address)) {
        return error_errno(err, -errno, "cannot make %s", path);
    }
    unix_file_note(path, &keeper->notify_bound);
    return 0;
}

static int set_up(struct keeper *keeper, struct error *err)
{
    sigset_t mask;
    int code = receive_orders(keeper, err);
    if (code) {
        return code;
    }
    sigfillset(&mask);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGUSR1); /* a new gearsd that does not find our socket's file */
    keeper->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    keeper->record_event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    prctl(PR_SET_NAME, "gears-keeper");
    code = control_listen(keeper, err);
    if (code) {
        return code;
    }
    if (keeper->orders.ready_log) {
        if (regcomp(&keeper->regex, keeper->orders.ready_log, REG_EXTENDED | REG_NOSUB)) {
            return error_set(err, -EINVAL, "ready=log: \"%s\" is not a regular expression",
                keeper->orders.ready_log);
        }
        keeper->regex_set = true;
    }
    code = open_notify(keeper, err);
    code = code ? code : writer_start(keeper);
    return code ? code : keeper_spawn(keeper, err);
}

static void read_signals(struct keeper *keeper)
{
    struct signalfd_siginfo info;
    while (read(keeper->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGTERM) {
            tree_stop(keeper, SIGTERM, ORDERLY_STOP_MS);
        } else if (info.ssi_signo == SIGUSR1) {
            control_listen(keeper, NULL);
        }
    }
    tree_reap(keeper);
}

static void read_notify(struct keeper *keeper)
{
    char text[1024];
    ssize_t n;
    while ((n = recv(keeper->notify_fd, text, sizeof text - 1, 0)) > 0) {
        text[n] = 0;
        if (!keeper->ready && (!strncmp(text, "READY=1", 7) || strstr(text, "\nREADY=1"))) {
            keeper->ready = true;
            control_tell(keeper, LINK_KEEPER_READY);
        }
    }
}

static void read_ring_event(struct keeper *keeper)
{
    uint64_t count;
    (void)!read(keeper->ring.event_fd, &count, sizeof count);
    if (ring_rotated(&keeper->ring)) {
        control_tell(keeper, LINK_KEEPER_LOG_ROTATED);
    }
}

static int next_timeout(struct keeper *keeper)
{
    int64_t now = clock_monotonic_ms(), until = keeper->deadline_ms;
    pthread_mutex_lock(&keeper->ring.lock);
    bool waits = keeper->ring.used > 0 && keeper->ring.want_room;
    pthread_mutex_unlock(&keeper->ring.lock);
    if (waits || keeper->stalled) {
        int64_t check = keeper->stalled ? now + STALL_MS / 4 : keeper->progress_ms + STALL_MS;
        until = until && until < check ? until : check;
    }
    return until ? (int)(until > now ? until - now : 0) : -1;
}

static bool may_end(const struct keeper *keeper)
{
    return keeper->phase == PHASE_EMPTY &&
           (keeper->released || (keeper->record_durable && keeper->controller < 0)) &&
           !keeper->record_running;
}

static void loop(struct keeper *keeper)
{
    bool first = false;
    while (!may_end(keeper)) {
        bool reads = output_may_read(keeper);
        struct pollfd items[] = {{.fd = keeper->signal_fd, .events = POLLIN},
            {.fd = keeper->door.epoll, .events = POLLIN},
            {.fd = keeper->controller, .events = POLLIN},
            {.fd = reads ? keeper->streams[0].fd : -1, .events = POLLIN},
            {.fd = reads ? keeper->streams[1].fd : -1, .events = POLLIN},
            {.fd = keeper->notify_fd, .events = POLLIN},
            {.fd = keeper->ring.event_fd, .events = POLLIN},
            {.fd = keeper->record_event_fd, .events = POLLIN}};
        poll(items, sizeof items / sizeof *items, next_timeout(keeper));
        first = !first; /* by turns: one that floods does not keep the other out */
        for (int i = 0; i < 2; i++) {
            int which = first ? i : 1 - i;
            if (items[3 + which].revents && keeper->streams[which].fd >= 0) {
                output_read(keeper, &keeper->streams[which]);
            }
        }
        if (items[5].revents) {
            read_notify(keeper);
        }
        if (items[6].revents) {
            read_ring_event(keeper);
        }
        if (items[0].revents) {
            read_signals(keeper);
        }
        if (items[7].revents) {
            record_exit_read(keeper);
        }
        if (items[2].revents && items[2].fd == keeper->controller) {
            control_read(keeper);
        }
        if (items[1].revents) {
            control_accept(keeper);
        }
        output_check_stall(keeper);
        tree_step(keeper);
    }
}

/* Give the writer a moment for the last lines; a hung log does not keep the keeper for ever. */
static void end_writer(struct keeper *keeper)
{
    pthread_mutex_lock(&keeper->ring.lock);
    keeper->ring.closing = true;
    pthread_cond_signal(&keeper->ring.wake);
    pthread_mutex_unlock(&keeper->ring.lock);
    int64_t until = clock_monotonic_ms() + STALL_MS;
    while (!ring_done(&keeper->ring) && clock_monotonic_ms() < until) {
        struct pollfd item = {.fd = keeper->ring.event_fd, .events = POLLIN};
        uint64_t count;
        poll(&item, 1, STALL_MS);
        (void)!read(keeper->ring.event_fd, &count, sizeof count);
    }
}

/* A restart may bind these names at any moment: they go first, and only while they are ours. */
static void remove_sockets(struct keeper *keeper)
{
    control_unlisten(keeper);
    if (keeper->orders.notify_path) {
        unix_file_remove(keeper->orders.notify_path, &keeper->notify_bound);
    }
}

static void init(struct keeper *keeper)
{
    keeper->signal_fd = keeper->controller = -1;
    link_door_init(&keeper->door);
    keeper->notify_fd = keeper->record_event_fd = -1;
    for (int i = 0; i < 2; i++) {
        keeper->streams[i] = (struct stream){.fd = -1, .line = keeper->lines[i]};
    }
}

int main(void)
{
    static struct keeper keeper; /* all zero: half a megabyte that no file holds */
    struct error err = {0};
    init(&keeper);
    detach(LINK_FD);
    int code = set_up(&keeper, &err);
    if (code) {
        struct link_frame frame;
        link_frame_start(&frame, LINK_KEEPER_FAILED, 1);
        link_frame_error(&frame, code, err.text);
        link_send(LINK_FD, &frame);
    } else {
        keeper.progress_ms = clock_monotonic_ms();
        control_tell(&keeper, LINK_KEEPER_STARTED);
        loop(&keeper);
        remove_sockets(&keeper);
        end_writer(&keeper);
    }
    remove_sockets(&keeper);
    return code ? 1 : 0;
}
