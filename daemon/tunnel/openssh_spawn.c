/* Starting ssh: its options, its environment, its place in the process tree. Called by
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

/* A login, and then a master that serves its control socket and nothing else. What ssh_config
 * says of the connection itself counts; what it says of sessions and forwards does not. */
static const char *const options[] = {
    "ControlMaster=yes", "ControlPersist=no", "ForwardAgent=no", "ForwardX11=no",
    "ClearAllForwardings=yes", "ExitOnForwardFailure=no", "Tunnel=no", "GatewayPorts=no",
    "PermitLocalCommand=no", "RemoteCommand=none", "RequestTTY=no", "UpdateHostKeys=no",
    "StreamLocalBindMask=0177", "StreamLocalBindUnlink=yes",
    "TCPKeepAlive=no",       /* silence is judged by keepalive.c alone, */
    "ServerAliveInterval=0", /* or ssh would throw a silent connection away */
    "ConnectionAttempts=1", "LogLevel=VERBOSE", /* says by which method, and to which address */
};

static void add_option(struct list *words, const char *option)
{
    add(words, "-o");
    add(words, "%s", option);
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
    add_option(words, option);
}

static void add_words(struct list *words, const struct tunnel *tunnel)
{
    const struct ssh_hop *hop = tunnel->hops[tunnel->hop_count - 1];
    const char *config = getenv("GEARS_SSH_CONFIG");
    int64_t seconds = (tunnel->step_ms + 999) / 1000;
    add(words, "ssh");
    if (config && config[0]) {
        add(words, "-F");
        add(words, "%s", config);
    }
    add(words, "-MNTxa");
    add(words, "-S");
    add(words, "ctl");
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        add_option(words, options[i]);
    }
    add(words, "-oConnectTimeout=%lld", (long long)seconds);
    add_option(words, tunnel->unattended ? "BatchMode=yes" : "BatchMode=no");
    /* The server decides how often it asks. */
    add_option(
        words, tunnel->unattended ? "NumberOfPasswordPrompts=0" : "NumberOfPasswordPrompts=20");
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
