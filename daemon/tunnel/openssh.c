/* The life of the system's ssh: started, logging in, a master whose control socket appears, and
 * its end. life.c starts and destroys it. That it is up is an event: ssh makes its control
 * socket after the login and before anything else, and then greets who connects. */
#include "daemon/tunnel/openssh.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/unixsock.h"
#include "daemon/core/timer.h"
#include "daemon/tunnel/openssh_private.h"

/* GOODBYE_MS: ssh tells the server before it ends. FOLLOW_MS: beyond ssh's own ConnectTimeout,
 * which it explains better. */
enum { HUMAN_MS = 600000, GOODBYE_MS = 500, FOLLOW_MS = 2000, PIECE = 4096 };

const char *openssh_name(const struct openssh *openssh)
{
    const struct tunnel *tunnel = openssh->tunnel;
    const struct ssh_hop *hop = tunnel->hops[tunnel->hop_count - 1];
    return hop->name ? hop->name : hop->host;
}

/* All that ssh started is in its group; the number is its until ssh is reaped. */
static void kill_ssh(struct openssh *openssh, int number)
{
    if (openssh->pid) {
        kill(-openssh->pid, number);
        kill(openssh->pid, number); /* it may not have made its group yet */
    }
}

void openssh_end(struct openssh *openssh, enum link_tunnel_cause cause, const char *format, ...)
{
    char text[512];
    va_list args;
    if (openssh->phase == OPENSSH_ENDED) {
        return;
    }
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    bool was_up = openssh->phase == OPENSSH_UP;
    openssh->phase = OPENSSH_ENDED;
    if (!was_up) {
        kill_ssh(openssh, SIGKILL); /* before askpass: no empty answer is ever sent */
        openssh_ask_finish(openssh);
        control_drop_prompt(openssh->tunnel);
    }
    tunnel_end(openssh->tunnel, cause, text);
}

/* ---- what it prints ---- */

static void on_touch(void *context, const char *line)
{
    openssh_ask_notice(context, line);
}

void openssh_hear_words(struct openssh *openssh)
{
    char bytes[PIECE];
    ssize_t n;
    bool logs_in = openssh->phase == OPENSSH_LOGIN;
    unsigned logins = openssh->words.logins;
    openssh->words.now_ms = clock_monotonic_ms();
    while (openssh->words_fd >= 0 && ((n = read(openssh->words_fd, bytes, sizeof bytes)) > 0 ||
                                         (n < 0 && errno == EINTR))) {
        if (n > 0) {
            words_feed(&openssh->words, bytes, (size_t)n, logs_in ? on_touch : NULL, openssh);
        }
    }
    if (openssh->words.logins != logins && openssh->phase == OPENSSH_LOGIN &&
        !openssh->prompt_id[0]) {
        openssh_allow_rest(openssh); /* a jump host is behind us, or all are */
    }
    openssh_clients_limit_refused(openssh);
}

static void on_words(evutil_socket_t fd, short what, void *argument)
{
    (void)what;
    struct openssh *openssh = argument;
    openssh_hear_words(openssh);
    struct pollfd closed = {.fd = (int)fd};
    if (poll(&closed, 1, 0) == 1 && (closed.revents & POLLHUP)) {
        event_del(openssh->words_event); /* all who held it are gone */
    }
}

/* ---- its end ---- */

/* True when it has ended; whatever it started ends with it. */
static bool reap(struct openssh *openssh, int *status)
{
    siginfo_t info = {0};
    if (!openssh->pid ||
        waitid(P_PID, (id_t)openssh->pid, &info, WEXITED | WNOHANG | WNOWAIT) || !info.si_pid) {
        return false;
    }
    kill(-openssh->pid, SIGKILL);
    waitpid(openssh->pid, status, 0);
    openssh->pid = 0;
    return true;
}

static void on_child(evutil_socket_t number, short what, void *argument)
{
    (void)number;
    (void)what;
    int status = 0;
    if (reap(argument, &status)) {
        openssh_explain_end(argument, status);
    }
}

/* ---- logging in ---- */

static void on_late(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct openssh *openssh = argument;
    const struct openssh_words *words = &openssh->words;
    if (openssh->prompt_id[0]) {
        openssh_end(
            openssh, LINK_CAUSE_AUTH_NEEDED, "nobody answered within %d min", HUMAN_MS / 60000);
    } else if (openssh->human && openssh->phase == OPENSSH_LOGIN) {
        openssh_end(openssh, LINK_CAUSE_AUTH_FAILED,
            "%s gave no verdict on what was answered%s%s", openssh_name(openssh),
            words->last[0] ? "; ssh: " : "", words->last);
    } else {
        openssh_end(openssh, LINK_CAUSE_NETWORK_DOWN, "%s did not go on with the login%s%s",
            openssh_name(openssh), words->last[0] ? "; ssh: " : "", words->last);
    }
}

void openssh_allow(struct openssh *openssh, int64_t ms)
{
    timer_arm(openssh->late, ms);
}

void openssh_allow_rest(struct openssh *openssh)
{
    int64_t verdict_ms = openssh->human ? VERDICT_MS : 0;
    openssh_allow(openssh, 2 * openssh->tunnel->step_ms + FOLLOW_MS + verdict_ms);
}

void openssh_allow_human(struct openssh *openssh)
{
    openssh_allow(openssh, HUMAN_MS);
}

void openssh_joined(struct openssh *openssh)
{
    struct tunnel *tunnel = openssh->tunnel;
    const struct openssh_words *words = &openssh->words;
    if (openssh->phase != OPENSSH_JOINING || !openssh->forwards_ready ||
        openssh->channel.state == CHAN_JOINING) {
        return;
    }
    openssh_hear_words(openssh);
    event_del(openssh->late);
    openssh->phase = OPENSSH_UP;
    tunnel->human = openssh->human;
    tunnel->authenticated_at_us = clock_utc_us();
    snprintf(tunnel->address, sizeof tunnel->address, "%s", words->address);
    snprintf(tunnel->method, sizeof tunnel->method, "%s",
        words->method[0] ? words->method
        : openssh->human ? "keyboard-interactive"
                         : "publickey"); /* before 8.9 ssh does not say */
    if (openssh_life_start(openssh)) {
        openssh_end(openssh, LINK_CAUSE_FAILED, "out of memory");
        return;
    }
    openssh_sockets_set_up(openssh);
    tunnel_set_state(tunnel, LINK_TUNNEL_UP, LINK_CAUSE_NONE, "", 0);
    silence_need(&openssh->silence); /* how long the way there and back is */
}

int openssh_join_control(
    struct openssh *openssh, const struct mux_calls *calls, struct mux **mux)
{
    char path[64];
    openssh_folder_path(openssh, "ctl", path);
    int fd = unix_connect(path, SOCK_STREAM, true, NULL);
    if (fd < 0) {
        return fd;
    }
    *mux = mux_create(openssh->tunnel->base, fd, calls, openssh);
    return *mux ? 0 : -ENOMEM;
}

void openssh_control_closed(struct openssh *openssh, struct mux **mux, const char *what)
{
    mux_destroy(*mux);
    *mux = NULL;
    if (openssh->phase == OPENSSH_UP) {
        control_log(openssh->tunnel, "ssh closed its control socket for %s", what);
    }
}

static void join(struct openssh *openssh)
{
    openssh->phase = OPENSSH_JOINING;
    openssh_ask_finish(openssh);
    openssh_allow(openssh, openssh->tunnel->step_ms);
    int code = openssh_forward_start(openssh);
    code = code ? code : openssh_channel_start(openssh);
    if (code) {
        openssh_end(
            openssh, LINK_CAUSE_FAILED, "ssh cannot be spoken with: %s", strerror(-code));
    }
}

static void on_appears(evutil_socket_t fd, short what, void *argument)
{
    (void)what;
    struct openssh *openssh = argument;
    char buffer[PIECE] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool there = false;
    ssize_t n;
    while ((n = read((int)fd, buffer, sizeof buffer)) > 0) {
        for (char *at = buffer; at < buffer + n;) {
            const struct inotify_event *event = (void *)at;
            there = there || (event->len && !strcmp(event->name, "ctl"));
            at += sizeof *event + event->len;
        }
    }
    if (there && openssh->phase == OPENSSH_LOGIN) {
        join(openssh);
    }
}

/* ---- start and end ---- */

static int watch(struct openssh *openssh, struct error *err)
{
    struct event_base *base = openssh->tunnel->base;
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0 || inotify_add_watch(fd, openssh->folder, IN_CREATE | IN_MOVED_TO) < 0) {
        int code = -errno;
        if (fd >= 0) {
            close(fd);
        }
        return error_errno(err, code, "cannot watch %s", openssh->folder);
    }
    openssh->appears = event_new(base, fd, EV_READ | EV_PERSIST, on_appears, openssh);
    openssh->late = evtimer_new(base, on_late, openssh);
    openssh->next = evtimer_new(base, openssh_ask_next, openssh);
    openssh->child = evsignal_new(base, SIGCHLD, on_child, openssh);
    if (!openssh->appears) {
        close(fd);
    }
    return openssh->appears && openssh->late && openssh->next && openssh->child &&
                   !event_add(openssh->appears, NULL) && !event_add(openssh->child, NULL)
               ? 0
               : error_set(err, -ENOMEM, "out of memory");
}

static int begin(struct openssh *openssh, struct error *err)
{
    const struct tunnel *tunnel = openssh->tunnel;
    const struct ssh_hop *hop = tunnel->hops[tunnel->hop_count - 1];
    char step[300];
    int code = openssh_folder_make(openssh, err);
    code = code ? code : openssh_ask_start(openssh, err);
    code = code ? code : watch(openssh, err);
    code = code ? code : openssh_run_prepare(openssh);
    code = code ? code : openssh_clients_start(openssh);
    code = code ? code : openssh_config_write(openssh, err);
    code = code ? code : openssh_spawn(openssh, err);
    if (code) {
        return code;
    }
    openssh->words_event =
        event_new(tunnel->base, openssh->words_fd, EV_READ | EV_PERSIST, on_words, openssh);
    if (!openssh->words_event || event_add(openssh->words_event, NULL)) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    openssh_allow_rest(openssh);
    snprintf(step, sizeof step, "ssh connects to %.100s (%.120s:%d)", openssh_name(openssh),
        hop->host ? hop->host : openssh_name(openssh), hop->port);
    tunnel_set_state(openssh->tunnel, LINK_TUNNEL_CONNECTING, LINK_CAUSE_NONE, step, 0);
    return 0;
}

struct openssh *openssh_start(struct tunnel *tunnel, struct error *err)
{
    struct openssh *openssh = calloc(1, sizeof *openssh);
    if (!openssh) {
        error_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    openssh->tunnel = tunnel;
    openssh->folder_fd = openssh->words_fd = openssh->ask_fd = -1;
    openssh->clients = -1;
    if (begin(openssh, err)) {
        if (!err->text[0]) {
            error_set(err, -ENOMEM, "out of memory");
        }
        openssh_destroy(openssh);
        return NULL;
    }
    return openssh;
}

static void free_event(struct event *event, bool owns_fd)
{
    int fd = event && owns_fd ? event_get_fd(event) : -1;
    if (event) {
        event_free(event);
    }
    if (fd >= 0) {
        close(fd);
    }
}

/* Let ssh say goodbye, so that the server need not wait for us; then end it. */
static void finish_ssh(struct openssh *openssh)
{
    int status;
    if (!openssh->pid) {
        return;
    }
    kill_ssh(openssh, SIGTERM);
    int handle = (int)syscall(SYS_pidfd_open, openssh->pid, 0);
    if (handle >= 0) {
        poll(&(struct pollfd){.fd = handle, .events = POLLIN}, 1, GOODBYE_MS);
        close(handle);
    }
    kill_ssh(openssh, SIGKILL);
    waitpid(openssh->pid, &status, 0);
    openssh->pid = 0;
}

void openssh_destroy(struct openssh *openssh)
{
    if (!openssh) {
        return;
    }
    if (openssh->phase == OPENSSH_LOGIN) {
        kill_ssh(openssh, SIGKILL);
    }
    openssh->phase = OPENSSH_ENDED;
    openssh->tunnel->human = openssh->human;
    openssh_clients_stop(openssh);
    openssh_run_stop(openssh);
    silence_stop(&openssh->silence);
    finish_ssh(openssh);
    mux_destroy(openssh->forwards);
    openssh_channel_stop(openssh);
    openssh_ask_finish(openssh);
    free_event(openssh->words_event, false);
    free_event(openssh->appears, true);
    free_event(openssh->child, false);
    free_event(openssh->late, false);
    free_event(openssh->next, false);
    if (openssh->words_fd >= 0) {
        close(openssh->words_fd);
    }
    openssh_folder_remove(openssh);
    free(openssh);
}
