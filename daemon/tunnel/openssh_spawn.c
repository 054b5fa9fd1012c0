/* Starting ssh: its words, its environment, its place in the process tree. Called by
 * openssh.c. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "daemon/tunnel/askpass.h"
#include "daemon/tunnel/openssh_private.h"

enum { WORDS_MOST = 96, VARIABLES_MOST = 24 };

struct list {
    char *items[WORDS_MOST + 1];
    size_t count, most;
    bool failed;
};

static void add(struct list *list, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void add(struct list *list, const char *format, ...)
{
    va_list args;
    char *item = NULL;
    va_start(args, format);
    if (list->count == list->most || vasprintf(&item, format, args) < 0) {
        list->failed = true;
    } else {
        list->items[list->count++] = item;
    }
    va_end(args);
}

static void finish(struct list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i]);
    }
}

/* HostName expands %. */
static void add_host(struct list *words, const char *host)
{
    char option[600] = "HostName=";
    size_t used = strlen(option);
    for (; *host && used < sizeof option - 3; host++) {
        option[used++] = *host;
        if (*host == '%') {
            option[used++] = '%';
        }
    }
    option[used] = 0;
    add(words, "-o%s", option);
}

static void add_words(struct list *words, const struct tunnel *tunnel)
{
    const struct ssh_hop *hop = tunnel->hops[tunnel->hop_count - 1];
    add(words, "ssh");
    add(words, "-F"); /* its folder is its working directory */
    add(words, OPENSSH_CONFIG);
    add(words, "-MNTxa");
    add(words, "-S");
    add(words, "ctl");
    if (hop->host) {
        add_host(words, hop->host);
    }
    if (hop->alias) {
        add(words, "-oHostKeyAlias=%s", hop->alias);
    }
    if (hop->user) {
        add(words, "-oUser=%s", hop->user);
    }
    add(words, "-oPort=%d", hop->port);
    add(words, "--");
    add(words, "%s", hop->name ? hop->name : hop->host);
}

static void pass_on(struct list *variables, const char *name)
{
    const char *value = getenv(name);
    if (value) {
        add(variables, "%s=%s", name, value);
    }
}

/* The agent that somebody lent for this login. One that ssh_config names, ssh finds itself, and
 * it does no harm here. */
static const char *agent_of(const struct tunnel *tunnel)
{
    for (size_t i = tunnel->hop_count; i-- > 0;) {
        if (tunnel->hops[i]->agent) {
            return tunnel->hops[i]->agent;
        }
    }
    return NULL;
}

static int add_variables(struct list *variables, const struct openssh *openssh)
{
    static const char *const names[] = {"HOME", "PATH", "TERM", "LANG", "LC_ALL", "USER",
        "LOGNAME", "KRB5CCNAME", "KRB5_CONFIG", "ASAN_OPTIONS"};
    char program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length < 0) {
        return -errno;
    }
    program[length] = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        pass_on(variables, names[i]);
    }
    const char *agent = agent_of(openssh->tunnel);
    if (agent) {
        add(variables, "SSH_AUTH_SOCK=%s", agent);
    }
    add(variables, "SSH_ASKPASS=%s", program);
    add(variables, "SSH_ASKPASS_REQUIRE=force");
    add(variables, "DISPLAY=none"); /* before 8.4 ssh asks only where there is one */
    add(variables, ASKPASS_FOLDER "=%s", openssh->folder);
    add(variables, ASKPASS_NONCE "=%s", openssh->ask_nonce);
    return 0;
}

/* In the child. Without a terminal, in a session of its own, dead when the tunnel is. */
static void become_ssh(struct openssh *openssh, struct list *words, struct list *variables,
    int errors, pid_t tunnel)
{
    sigset_t none;
    sigemptyset(&none);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGHUP, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (getppid() != tunnel || setsid() < 0 || fchdir(openssh->folder_fd) || null < 0 ||
        dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
        dup2(errors, STDERR_FILENO) < 0) {
        _exit(126);
    }
    execvpe("ssh", words->items, variables->items);
    dprintf(STDERR_FILENO, "cannot run ssh: %s\n", strerror(errno));
    _exit(127);
}

static int fork_ssh(struct openssh *openssh, struct list *words, struct list *variables)
{
    int ends[2];
    pid_t tunnel = getpid();
    if (pipe2(ends, O_CLOEXEC)) {
        return -errno;
    }
    pid_t pid = fork();
    if (pid == 0) {
        become_ssh(openssh, words, variables, ends[1], tunnel);
    }
    int code = pid < 0 ? -errno : 0;
    close(ends[1]);
    if (code) {
        close(ends[0]);
        return code;
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    openssh->pid = pid;
    openssh->words_fd = ends[0];
    return 0;
}

int openssh_spawn(struct openssh *openssh, struct error *err)
{
    struct list words = {.most = WORDS_MOST}, variables = {.most = VARIABLES_MOST};
    nonce_make(openssh->ask_nonce);
    add_words(&words, openssh->tunnel);
    int code = add_variables(&variables, openssh);
    if (!code && (words.failed || variables.failed)) {
        code = -ENOMEM;
    }
    code = code ? code : fork_ssh(openssh, &words, &variables);
    finish(&words);
    finish(&variables);
    return code ? error_errno(err, code, "cannot run ssh") : 0;
}
