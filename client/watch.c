/* The process beside a command: signals, and who does not answer. What the two share is a page
 * of memory and a one-shot timer; the parent sleeps in poll(2) until something happens. */
#include "client/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/statvfs.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client/client.h"

enum { LOCK_PATIENCE_MS = 300 };

struct shared {
    pthread_mutex_t lock;   /* of everything below */
    pthread_mutex_t output; /* held while whole objects are printed */
    bool give_up;
    bool probe; /* look at the home before naming it */
    char root[PATH_MAX / 4], doing[200], words[300], farewell[300];
    bool quiet; /* the terminal is not as it was */
    struct termios terminal_before;
    pid_t program;
    char shell[PATH_MAX / 4]; /* what follows the command; "" for nothing */
};

static struct {
    struct shared *shared; /* NULL: watch_start failed or was not called */
    sigset_t before;
    int signals, timer;
    pid_t command;
} watch = {.signals = -1, .timer = -1};

/* Of the other process, perhaps killed while it held the lock: no longer than this. */
static void lock_briefly(pthread_mutex_t *mutex)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += LOCK_PATIENCE_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    if (pthread_mutex_timedlock(mutex, &until) == EOWNERDEAD) {
        pthread_mutex_consistent(mutex);
    }
}

static void say_line(const char *line)
{
    char text[PATH_MAX];
    int n = snprintf(text, sizeof text, "gearsctl: %s\n", line);
    (void)!write(2, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

/* End as a process that this signal ended, without a second core file. */
static void die_of(int number)
{
    sigset_t set;
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    signal(number, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    raise(number);
    _exit(128 + number);
}

static void set_terminal_back(const struct shared *shared, const char *words)
{
    int terminal = shared->quiet ? open("/dev/tty", O_RDWR | O_CLOEXEC) : -1;
    if (terminal >= 0) {
        tcflush(terminal, TCIFLUSH); /* half a PASSCODE is no command of the shell's */
        tcsetattr(terminal, TCSANOW, &shared->terminal_before);
        (void)!write(terminal, words, strlen(words));
        close(terminal);
    }
}

/* Returns only when no shell is to follow. */
static void become_shell(void)
{
    char name[PATH_MAX / 4 + 1];
    struct shared *shared = watch.shared;
    if (!shared->shell[0]) {
        return;
    }
    set_terminal_back(shared, "");
    const char *slash = strrchr(shared->shell, '/');
    snprintf(name, sizeof name, "-%s", slash ? slash + 1 : shared->shell);
    sigprocmask(SIG_SETMASK, &watch.before, NULL);
    execl(shared->shell, name, (char *)NULL);
    say_line("cannot run your shell");
    _exit(127);
}

static void interrupt(int number)
{
    struct shared *shared = watch.shared;
    lock_briefly(&shared->output); /* a reader may have stopped */
    lock_briefly(&shared->lock);
    kill(watch.command, SIGKILL); /* it must not go on once its file server is back */
    if (shared->program > 0) {
        kill(shared->program, number);
    }
    set_terminal_back(shared, "\n");
    if (shared->farewell[0]) {
        say_line(shared->farewell);
    }
    if (number == SIGINT) {
        become_shell();
        _exit(EXIT_INTERRUPTED);
    }
    die_of(number);
}

static void reap(void)
{
    int status;
    if (waitpid(watch.command, &status, WNOHANG) != watch.command) {
        return;
    }
    become_shell();
    if (WIFSIGNALED(status)) {
        die_of(WTERMSIG(status));
    }
    _exit(WEXITSTATUS(status));
}

static void on_signals(void)
{
    struct signalfd_siginfo info;
    while (read(watch.signals, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGCHLD) {
            reap();
        } else {
            interrupt((int)info.ssi_signo);
        }
    }
}

static void say_home_hangs(const struct shared *shared)
{
    char line[PATH_MAX];
    snprintf(line, sizeof line,
        "%s has not answered for 2 s (%s): its file system hangs, perhaps its server is away; "
        "what runs goes on; see whether \"ls %s\" answers; waiting, ^C gives up",
        shared->root, shared->doing, shared->root);
    say_line(line);
}

/* A look that no cache answers, from a process that may never come back. False: it hangs. */
static bool home_answers(const char *root)
{
    int ends[2];
    pid_t pid = pipe2(ends, O_CLOEXEC) ? -1 : fork();
    if (pid == 0) {
        struct statvfs st;
        statvfs(root, &st);
        _exit(0);
    }
    if (pid < 0) {
        return true;
    }
    close(ends[1]); /* the pipe ends with the process */
    struct pollfd items[2] = {
        {.fd = ends[0], .events = POLLIN}, {.fd = watch.signals, .events = POLLIN}};
    bool hangs;
    for (;;) {
        hangs = poll(items, 2, WATCH_SLOW_MS) == 0;
        if (!items[1].revents || items[0].revents) {
            break;
        }
        on_signals();
    }
    close(ends[0]);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, hangs ? WNOHANG : 0);
    return !hangs;
}

static void on_slow(void)
{
    struct shared *shared = watch.shared;
    uint64_t times;
    if (read(watch.timer, &times, sizeof times) != sizeof times) {
        return; /* disarmed meanwhile */
    }
    lock_briefly(&shared->lock);
    struct shared now = *shared;
    pthread_mutex_unlock(&shared->lock);
    if (now.give_up) {
        kill(watch.command, SIGKILL);
        _exit(EXIT_TIMED_OUT);
    }
    if (!now.doing[0]) {
        return;
    }
    if (!now.probe || !home_answers(now.root)) {
        say_home_hangs(&now);
    } else if (now.words[0]) {
        say_line(now.words);
    }
}

static void run_parent(void)
{
    for (;;) {
        struct pollfd items[2] = {
            {.fd = watch.signals, .events = POLLIN}, {.fd = watch.timer, .events = POLLIN}};
        if (poll(items, 2, -1) < 0) {
            continue;
        }
        on_signals();
        if (items[1].revents) {
            on_slow();
        }
    }
}

static struct shared *make_shared(void)
{
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        return NULL;
    }
    pthread_mutexattr_t settings;
    pthread_mutexattr_init(&settings);
    pthread_mutexattr_setpshared(&settings, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&settings, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&shared->lock, &settings);
    pthread_mutex_init(&shared->output, &settings);
    return shared;
}

void watch_start(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    sigset_t set;
    signal(SIGCHLD, SIG_DFL); /* ignored, as some parents leave it, there would be no status */
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction old;
        if (!sigaction(numbers[i], NULL, &old) && old.sa_handler != SIG_IGN) {
            sigaddset(&set, numbers[i]);
        }
    }
    struct shared *shared = make_shared();
    watch.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    watch.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (!shared || watch.signals < 0 || watch.timer < 0) {
        return;
    }
    sigprocmask(SIG_BLOCK, &set, &watch.before);
    pid_t parent = getpid(), pid = fork();
    if (pid > 0) {
        watch.shared = shared;
        watch.command = pid;
        run_parent();
    }
    if (pid < 0) {
        sigprocmask(SIG_SETMASK, &watch.before, NULL);
        return;
    }
    /* ^C reaches both of us; the parent alone says what it means. */
    sigdelset(&set, SIGCHLD);
    sigprocmask(SIG_SETMASK, &set, NULL);
    watch.shared = shared;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(EXIT_FAILED);
    }
}

void watch_undo_in_child(void)
{
    if (watch.shared) {
        sigprocmask(SIG_SETMASK, &watch.before, NULL);
    }
}

static void lock_shared(pthread_mutex_t *mutex)
{
    if (pthread_mutex_lock(mutex) == EOWNERDEAD) {
        pthread_mutex_consistent(mutex);
    }
}

static void arm(const char *root, const char *doing, const char *words, bool probe, int ms)
{
    struct shared *shared = watch.shared;
    struct itimerspec when = {.it_value = {ms / 1000, ms % 1000 * 1000000L}};
    if (!shared) {
        return;
    }
    lock_shared(&shared->lock);
    snprintf(shared->root, sizeof shared->root, "%s", root);
    snprintf(shared->doing, sizeof shared->doing, "%s", doing);
    snprintf(shared->words, sizeof shared->words, "%s", words ? words : "");
    shared->probe = probe;
    timerfd_settime(watch.timer, 0, &when, NULL);
    pthread_mutex_unlock(&shared->lock);
}

void watch_home_begin(const char *root, const char *doing)
{
    arm(root, doing, NULL, false, WATCH_SLOW_MS);
}

void watch_daemon_begin(const char *root, const char *words)
{
    arm(root, "waiting for gearsd", words, true, WATCH_SLOW_MS);
}

void watch_end(void)
{
    arm("", "", NULL, false, 0);
}

void watch_give_up_after(int ms)
{
    if (watch.shared) {
        watch.shared->give_up = true;
        arm("", "", NULL, false, ms);
    }
}

void watch_set_farewell(const char *words)
{
    if (watch.shared) {
        lock_shared(&watch.shared->lock);
        snprintf(
            watch.shared->farewell, sizeof watch.shared->farewell, "%s", words ? words : "");
        pthread_mutex_unlock(&watch.shared->lock);
    }
}

void watch_set_terminal(const struct termios *before)
{
    if (watch.shared) {
        lock_shared(&watch.shared->lock);
        watch.shared->quiet = before != NULL;
        if (before) {
            watch.shared->terminal_before = *before;
        }
        pthread_mutex_unlock(&watch.shared->lock);
    }
}

void watch_set_shell(const char *path)
{
    if (watch.shared) {
        lock_shared(&watch.shared->lock);
        snprintf(watch.shared->shell, sizeof watch.shared->shell, "%s", path);
        pthread_mutex_unlock(&watch.shared->lock);
    }
}

void watch_set_program(pid_t pid)
{
    if (watch.shared) {
        lock_shared(&watch.shared->lock);
        watch.shared->program = pid;
        pthread_mutex_unlock(&watch.shared->lock);
    }
}

void watch_output_begin(void)
{
    if (watch.shared) {
        lock_shared(&watch.shared->output);
    }
}

void watch_output_end(void)
{
    if (watch.shared) {
        pthread_mutex_unlock(&watch.shared->output);
    }
}
