/* fork, exec, wait; the child gets the signals gearsctl was started with. */
#include "client/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/client.h"

/* Descriptors for the child's 0, 1, 2; −1 leaves one as it is. `leashed`: it does not outlive
   this process. Returns the pid or −errno. */
static pid_t spawn(const char *const argv[], const int fds[3], bool leashed)
{
    fflush(NULL);
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        watch_undo_in_child();
        if (leashed) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != parent) { /* it ended before that */
                _exit(127);
            }
        }
        for (int i = 0; i < 3; i++) {
            if (fds[i] >= 0) {
                dup2(fds[i], i);
            }
        }
        execvp(argv[0], (char *const *)argv);
        dprintf(2, "gearsctl: cannot run %s: %s\n", argv[0], strerror(errno));
        _exit(127);
    }
    if (pid > 0) {
        watch_set_program(pid);
    }
    return pid > 0 ? pid : -errno;
}

static int wait_for(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    watch_set_program(0);
    if (WIFSIGNALED(status)) {
        return WTERMSIG(status) == SIGINT ? EXIT_INTERRUPTED : EXIT_FAILED;
    }
    return WEXITSTATUS(status);
}

int program_run(const char *const argv[], const char *input)
{
    int ends[2] = {-1, -1};
    /* A socket, not a pipe: writing to a child that has ended must not end us by SIGPIPE. */
    if (input && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) {
        cli_say("cannot make a socket: %s", strerror(errno));
        return EXIT_FAILED;
    }
    pid_t pid = spawn(argv, (int[3]){ends[1], -1, -1}, false);
    if (input) {
        close(ends[1]);
        (void)!send(ends[0], input, strlen(input), MSG_NOSIGNAL);
        close(ends[0]);
    }
    if (pid < 0) {
        cli_say("cannot run %s: %s", argv[0], strerror((int)-pid));
        return EXIT_FAILED;
    }
    return wait_for(pid);
}

int program_run_quiet(const char *const argv[])
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    pid_t pid = spawn(argv, (int[3]){null, null, null}, false);
    if (null >= 0) {
        close(null);
    }
    return pid < 0 ? EXIT_FAILED : wait_for(pid);
}

static int read_output(const char *const argv[], char *out, size_t size, bool errors)
{
    int ends[2];
    size_t used = 0;
    ssize_t n = 0;
    out[0] = 0;
    if (pipe2(ends, O_CLOEXEC)) {
        return EXIT_FAILED;
    }
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    pid_t pid = spawn(argv, (int[3]){null, ends[1], errors ? ends[1] : null}, true);
    close(ends[1]);
    while (pid > 0 && used < size - 1 && (n = read(ends[0], out + used, size - 1 - used)) > 0) {
        used += (size_t)n;
    }
    out[used] = 0;
    close(ends[0]);
    if (null >= 0) {
        close(null);
    }
    return pid < 0 ? EXIT_FAILED : wait_for(pid);
}

int program_read(const char *const argv[], char *out, size_t size)
{
    return read_output(argv, out, size, false);
}

int program_read_all(const char *const argv[], char *out, size_t size)
{
    return read_output(argv, out, size, true);
}

int program_confirm(const char *question, const char *command)
{
    char answer[16] = "";
    if (!isatty(0)) {
        cli_say("this needs a yes and there is no terminal; run: %s", command);
        return EXIT_HUMAN;
    }
    fprintf(stderr, "%s [y/N] ", question);
    if (!fgets(answer, sizeof answer, stdin) || (*answer != 'y' && *answer != 'Y')) {
        cli_say("nothing was done");
        return EXIT_FAILED;
    }
    return 0;
}
