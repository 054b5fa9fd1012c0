/* The askpass process: one question, one answer, to ssh's pipe. Started by ssh with the prompt
 * as its argument; main.c comes here first. When there is no answer it ends the ssh that asked,
 * which would send an empty one to the server, and that would count as a try. */
#include "daemon/tunnel/askpass.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/nonce.h"
#include "common/unixsock.h"
#include "daemon/tunnel/login.h"

bool askpass_is_wanted(void)
{
    return getenv(ASKPASS_FOLDER) && getenv(ASKPASS_NONCE);
}

/* Only what runs in our own session is ssh: its place may have been taken by init. */
static int give_up(pid_t ssh)
{
    if (ssh > 1 && getppid() == ssh && getsid(ssh) == getsid(0)) {
        kill(ssh, SIGKILL);
    }
    return 1;
}

static int ask(int fd, const char *text)
{
    char request[NONCE_TEXT_SIZE + ASKPASS_TEXT_MOST];
    const char *hint = getenv("SSH_ASKPASS_PROMPT");
    size_t length = strnlen(text, ASKPASS_TEXT_MOST - 1);
    strncpy(request, getenv(ASKPASS_NONCE), NONCE_TEXT_SIZE - 1);
    request[NONCE_TEXT_SIZE - 1] =
        hint && !strcmp(hint, "none") ? ASKPASS_NOTICE : ASKPASS_QUESTION;
    memcpy(request + NONCE_TEXT_SIZE, text, length);
    ssize_t n = send(fd, request, NONCE_TEXT_SIZE + length, MSG_NOSIGNAL);
    return n < 0 ? -errno : 0;
}

/* False: there is none. ssh reads up to a newline. */
static bool pass_answer(int fd)
{
    char answer[ANSWER_MOST + 2];
    ssize_t n = recv(fd, answer, sizeof answer - 1, 0);
    bool good = n > 0 && answer[0] == ASKPASS_ANSWER;
    if (good) {
        answer[n] = '\n';
        good = write(STDOUT_FILENO, answer + 1, (size_t)n) == n;
    }
    explicit_bzero(answer, sizeof answer);
    return good;
}

int askpass_main(int argc, char **argv)
{
    struct rlimit none = {0, 0};
    pid_t ssh = getppid();
    prctl(PR_SET_DUMPABLE, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setrlimit(RLIMIT_CORE, &none);
    if (chdir(getenv(ASKPASS_FOLDER))) {
        return give_up(ssh);
    }
    int fd = unix_connect("ask", SOCK_SEQPACKET, false, NULL);
    if (fd < 0 || ask(fd, argc > 1 ? argv[1] : "") || !pass_answer(fd)) {
        return give_up(ssh);
    }
    return 0;
}
