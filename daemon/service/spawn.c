/* posix_spawn of the keeper and the relay. */
#include "daemon/service/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STARTING_LIMIT = 64 };
static pid_t starting[STARTING_LIMIT]; /* 0: free */

void spawn_reap(void)
{
    for (size_t i = 0; i < STARTING_LIMIT; i++) {
        if (starting[i] && waitpid(starting[i], NULL, WNOHANG) != 0) {
            starting[i] = 0;
        }
    }
}

/* The first process ends as soon as the helper has detached; nobody waits for it, because its
 * exec closes what we have open, and that may be a file on a filesystem that hangs. */
static void await_detached(pid_t pid)
{
    spawn_reap();
    for (size_t i = 0; i < STARTING_LIMIT; i++) {
        if (!starting[i]) {
            starting[i] = pid;
            return;
        }
    }
}

int spawn_helper(const char *path, const char *mark, struct error *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) {
        return error_errno(err, -errno, "cannot make a socket pair");
    }
    /* dup2 onto itself would keep CLOEXEC: move the helper's end away from 3 first. */
    int theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, 10);
    close(pair[1]);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, theirs, 3);
    posix_spawnattr_init(&attributes);
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    const char *home = getenv("GEARS_HOME");
    char assignment[PATH_MAX];
    snprintf(assignment, sizeof assignment, "GEARS_HOME=%s", home ? home : "");
    /* Nothing else of gearsd's environment: helpers outlive the session that it came from. */
    char *argv[] = {(char *)path, NULL}, *env[] = {assignment, (char *)mark, NULL};
    pid_t pid;
    int code = theirs < 0 ? -errno : -posix_spawn(&pid, path, &actions, &attributes, argv, env);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (theirs >= 0) {
        close(theirs);
    }
    if (code) {
        close(pair[0]);
        return error_errno(err, code, "cannot run %s", path);
    }
    await_detached(pid);
    fcntl(pair[0], F_SETFL, fcntl(pair[0], F_GETFL) | O_NONBLOCK);
    return pair[0];
}
