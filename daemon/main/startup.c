/* Options, detaching, the race for the control socket. */
#include "daemon/main/startup.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "build_id.h"
#include "common/unixsock.h"
#include "daemon/control/control.h"

enum { OTHER_TRIES = 1000, OTHER_PAUSE_NS = 10000000, LOG_WAIT_S = 1 };

static void usage(int status)
{
    FILE *out = status ? stderr : stdout;
    fputs(
        "usage: gearsd [--ready-fd N]\n"
        "The daemon of Gears; gearsctl starts it when needed. Without --ready-fd it stays in\n"
        "the foreground. Example: gearsctl daemon start\n",
        out);
    exit(status);
}

static int number_of(const char *text)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (*end || end == text || value < 3 || value > 1 << 20) {
        fprintf(stderr, "gearsd: \"%s\" is not a descriptor\n", text);
        exit(2);
    }
    return (int)value;
}

void startup_options(struct options *options, int argc, char **argv)
{
    *options = (struct options){.ready_fd = -1, .listener = -1};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (!strcmp(argv[i], "--ready-fd") && value) {
            options->ready_fd = number_of(argv[++i]);
            fcntl(options->ready_fd, F_SETFD, FD_CLOEXEC);
        } else if (!strcmp(argv[i], "--listener") && value) {
            options->listener = number_of(argv[++i]);
        } else if (!strcmp(argv[i], "--lease") && value) {
            snprintf(options->nonce, sizeof options->nonce, "%s", argv[++i]);
        } else if (!strcmp(argv[i], "--self-check")) {
            options->self_check = true;
        } else if (!strcmp(argv[i], "--version")) {
            printf("gearsd %s (%s)\n", GEARS_VERSION, GEARS_BUILD_ID);
            exit(0);
        } else {
            usage(strcmp(argv[i], "--help") ? 2 : 0);
        }
    }
}

void startup_say(struct options *options, const char *words)
{
    if (options->ready_fd >= 0) {
        (void)!write(options->ready_fd, words, strlen(words));
        close(options->ready_fd);
        options->ready_fd = -1;
    } else if (strcmp(words, "ready\n") != 0) {
        fprintf(stderr, "gearsd: %s", words);
    }
}

void startup_detach(const struct options *options)
{
    if (options->ready_fd < 0) {
        return;
    }
    setsid();
    (void)!chdir("/");
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; null >= 0 && fd < 3; fd++) {
        dup2(null, fd);
    }
    for (int fd = 3; fd < 256;
         fd++) { /* what the client's shell had open is not ours to hold */
        if (fd != options->ready_fd && fd != options->listener) {
            close(fd);
        }
    }
}

/* Another holds the lease: it is coming up or serves already. Wait until it answers. */
static int wait_for_other(struct home *home, struct error *err)
{
    char path[PATH_MAX];
    for (int i = 0; i < OTHER_TRIES; i++) {
        int fd = home_find_run(home) || home_path(home, path, "run", "gearsd.sck")
                     ? error_set(err, -ENOENT, "it has not made its sockets' folder")
                     : unix_connect(path, SOCK_STREAM, true, err);
        if (fd >= 0 || fd == -EAGAIN) {
            if (fd >= 0) {
                close(fd);
            }
            return 1;
        }
        nanosleep(&(struct timespec){.tv_nsec = OTHER_PAUSE_NS}, NULL);
    }
    error_prefix(err, "another gearsd holds this host but does not answer");
    return -ETIMEDOUT;
}

int startup_claim(struct home *home, struct options *options, struct lease *lease,
    int *listener, struct error *err)
{
    char path[PATH_MAX], lease_file[PATH_MAX];
    if (home_path(home, lease_file, "run", "gearsd.lease")) {
        return error_set(err, -ENAMETOOLONG, "%s: path too long", home->root);
    }
    /* The same process after an upgrade: the lease is still ours. */
    if (options->listener >= 0) {
        snprintf(lease->path, sizeof lease->path, "%s", lease_file);
        snprintf(lease->nonce, sizeof lease->nonce, "%s", options->nonce);
        fcntl(options->listener, F_SETFD, FD_CLOEXEC);
        *listener = options->listener;
        return home_make_run(home, err);
    }
    int code = lease_acquire(home, lease_file, lease, NULL, err);
    if (code == 1) {
        return wait_for_other(home, err);
    }
    if (code) {
        return code;
    }
    code = home_make_run(home, err);
    if (!code && home_path(home, path, "run", "gearsd.sck")) {
        code = error_set(err, -ENAMETOOLONG, "%s: path too long", home->root);
    }
    *listener = code ? code : unix_listen(path, SOCK_STREAM, CONTROL_BACKLOG, err);
    if (*listener < 0) {
        lease_release(lease);
        return *listener;
    }
    return 0;
}

struct log_job {
    struct home home;
    struct error err;
    int code;
};

static void *prepare_log(void *argument)
{
    struct log_job *job = argument;
    job->code = home_prepare_log(&job->home, &job->err);
    return NULL;
}

int startup_prepare_log(const struct home *home, struct error *err)
{
    static struct log_job job; /* outlives this call when the log hangs */
    pthread_t thread;
    struct timespec until;
    job.home = *home;
    if (pthread_create(&thread, NULL, prepare_log, &job)) {
        return error_set(err, -EAGAIN, "no thread left");
    }
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LOG_WAIT_S;
    if (pthread_timedjoin_np(thread, NULL, &until)) {
        pthread_detach(thread); /* it makes the folders when they answer */
        return 0;
    }
    if (job.code) {
        *err = job.err;
    }
    return job.code;
}

void startup_notify(const char *state)
{
    if (!getenv("NOTIFY_SOCKET")) {
        return;
    }
    void *library = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);
    int (*notify)(int, const char *) = NULL;
    void *symbol = library ? dlsym(library, "sd_notify") : NULL;
    memcpy(&notify, &symbol, sizeof symbol);
    if (notify) {
        notify(0, state);
    }
}
