/* One short-lived child whose output is read within bounds. Called by ssh_resolve.c on a
 * worker; gearsd's loop buries other children only by their pids, so that this one is left to
 * us. */
#include "daemon/remote/ssh_ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"

enum { OUTPUT_LIMIT = 256 * 1024, WORDS_LIMIT = 4096, CHUNK = 4096 };

/* glibc's wrapper is younger than the oldest system that we run on, the kernel's call too. */
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

extern char **environ;

struct child {
    pid_t pid;
    int out, errors; /* −1: at its end */
    struct text said, words;
    bool too_much;
};

static char **copy_environment(void)
{
    size_t count = 0, used = 0;
    while (environ[count]) {
        count++;
    }
    char **copy = calloc(count + 1, sizeof *copy);
    for (size_t i = 0; copy && i < count; i++) {
        if (strncmp(environ[i], "SSH_AUTH_SOCK=", 14) != 0) {
            copy[used++] = environ[i];
        }
    }
    return copy;
}

static int spawn(char *const argv[], int out, int errors, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    char **env = copy_environment();
    if (!env) {
        return -ENOMEM;
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    posix_spawn_file_actions_adddup2(&actions, errors, 2);
    posix_spawnattr_init(&attributes);
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    int code = -posix_spawnp(pid, argv[0], &actions, &attributes, argv, env);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    free(env);
    return code;
}

/* A pipe whose ends are above 2, where dup2 would keep CLOEXEC or hit the other one. */
static int make_pipe(int ends[2])
{
    int low[2];
    if (pipe2(low, O_CLOEXEC)) {
        return -errno;
    }
    ends[0] = fcntl(low[0], F_DUPFD_CLOEXEC, 3);
    ends[1] = fcntl(low[1], F_DUPFD_CLOEXEC, 3);
    int code = ends[0] < 0 || ends[1] < 0 ? -errno : 0;
    close(low[0]);
    close(low[1]);
    return code;
}

static void close_end(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static int start(char *const argv[], struct child *child)
{
    int out[2] = {-1, -1}, errors[2] = {-1, -1};
    int code = make_pipe(out);
    code = code ? code : make_pipe(errors);
    code = code ? code : spawn(argv, out[1], errors[1], &child->pid);
    close_end(&out[1]);
    close_end(&errors[1]);
    if (code) {
        close_end(&out[0]);
        close_end(&errors[0]);
    }
    child->out = out[0];
    child->errors = errors[0];
    return code;
}

/* What came at one end; what is beyond `limit` is passed over. */
static void take(int *fd, struct text *text, size_t limit, bool *too_much)
{
    char chunk[CHUNK];
    ssize_t n = read(*fd, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) {
        return;
    }
    if (n <= 0) {
        close_end(fd);
        return;
    }
    size_t room = limit - text->length, length = (size_t)n < room ? (size_t)n : room;
    text_append(text, chunk, length);
    *too_much |= length < (size_t)n;
}

/* Wait at most until then for one of the descriptors; those below 0 are not waited for. */
static int wait_for(struct pollfd *fds, nfds_t count, int64_t until_ms)
{
    for (;;) {
        int64_t left = until_ms - clock_monotonic_ms();
        int n = poll(fds, count, left < 0 ? 0 : left > 60000 ? 60000 : (int)left);
        if (n > 0) {
            return 0;
        }
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (clock_monotonic_ms() >= until_ms) {
            return -ETIMEDOUT;
        }
    }
}

static int read_all(struct child *child, int64_t until_ms)
{
    bool ignored = false;
    while (child->out >= 0 || child->errors >= 0) {
        struct pollfd fds[] = {{child->out, POLLIN, 0}, {child->errors, POLLIN, 0}};
        int code = wait_for(fds, 2, until_ms);
        if (code) {
            return code;
        }
        if (fds[0].revents) {
            take(&child->out, &child->said, OUTPUT_LIMIT, &child->too_much);
        }
        if (fds[1].revents) {
            take(&child->errors, &child->words, WORDS_LIMIT, &ignored);
        }
        if (child->too_much) {
            return -EFBIG;
        }
    }
    return 0;
}

/* Its end. A kernel without pidfd_open cannot wait with a bound; a child that has closed both
 * its outputs is at its end. */
static int reap(struct child *child, int code, int64_t until_ms, int *status)
{
    int fd = code ? -1 : (int)syscall(SYS_pidfd_open, child->pid, 0);
    if (fd >= 0) {
        struct pollfd end = {fd, POLLIN, 0};
        code = wait_for(&end, 1, until_ms);
        close(fd);
    }
    if (code) {
        kill(-child->pid, SIGKILL);
    }
    while (waitpid(child->pid, status, 0) < 0 && errno == EINTR) {
    }
    return code;
}

static int explain(const struct child *child, int status, struct error *err)
{
    const char *words = text_string(&child->words);
    char visible[300];
    visible_format(words, strcspn(words, "\r\n"), visible, sizeof visible);
    if (visible[0]) {
        return error_set(err, -EINVAL, "%s", visible);
    }
    return WIFEXITED(status)
               ? error_set(err, -EINVAL, "it ended with status %d", WEXITSTATUS(status))
               : error_set(err, -EINVAL, "it was ended by signal %d", WTERMSIG(status));
}

int ssh_ask(char *const argv[], int64_t until_ms, char **out, struct error *err)
{
    struct child child = {.out = -1, .errors = -1};
    int status = 0, code = start(argv, &child);
    if (code) {
        return error_errno(err, code, "cannot run it");
    }
    code = read_all(&child, until_ms);
    code = reap(&child, code, until_ms, &status);
    close_end(&child.out);
    close_end(&child.errors);
    if (code == -ETIMEDOUT) {
        error_set(err, code, "no end in time; does a Match exec in ssh_config hang?");
    } else if (code == -EFBIG) {
        error_set(err, code, "it prints more than %d KiB", OUTPUT_LIMIT / 1024);
    } else if (code) {
        error_errno(err, code, "its output cannot be read");
    } else if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        code = explain(&child, status, err);
    } else if (child.said.failed) {
        code = error_set(err, -ENOMEM, "out of memory");
    } else if (strlen(text_string(&child.said)) != child.said.length) {
        code = error_set(err, -EINVAL, "it prints NUL bytes");
    } else {
        *out = strdup(text_string(&child.said));
        code = *out ? 0 : error_set(err, -ENOMEM, "out of memory");
    }
    text_finish(&child.said);
    text_finish(&child.words);
    return code;
}
