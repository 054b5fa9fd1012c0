/* The I/O thread: a bounded queue in, a list of finished jobs out, an eventfd for the loop. */
#include "daemon/core/worker.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { QUEUE_LIMIT = 4096, INHERITED_MOST = 256 };

struct job {
    struct job *next;
    worker_run *run;
    worker_done *done;
    void *context;
    int code;
    struct error err;
};

struct worker {
    pthread_mutex_t lock;
    pthread_cond_t wake, idle;
    struct job *first, **last; /* waiting */
    struct job *finished, **finished_last;
    size_t waiting;
    bool busy; /* a job is in hand */
    int fd;
    bool own_files;
    struct event *event;
};

/* Leave the loop's descriptor table. Standard streams and the way to the loop stay. */
static void part_files(const struct worker *worker)
{
    if (unshare(CLONE_FILES)) {
        return;
    }
    for (int fd = 3; fd < INHERITED_MOST; fd++) {
        if (fd != worker->fd) {
            close(fd);
        }
    }
}

static struct job *take(struct worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    worker->busy = false;
    if (!worker->first) {
        pthread_cond_broadcast(&worker->idle);
    }
    while (!worker->first) {
        pthread_cond_wait(&worker->wake, &worker->lock);
    }
    struct job *job = worker->first;
    worker->first = job->next;
    if (!worker->first) {
        worker->last = &worker->first;
    }
    worker->waiting--;
    worker->busy = true;
    pthread_mutex_unlock(&worker->lock);
    return job;
}

static void *thread_main(void *argument)
{
    struct worker *worker = argument;
    if (worker->own_files) {
        part_files(worker);
    }
    for (;;) {
        struct job *job = take(worker);
        job->code = job->run(job->context, &job->err);
        job->next = NULL;
        pthread_mutex_lock(&worker->lock);
        *worker->finished_last = job;
        worker->finished_last = &job->next;
        pthread_mutex_unlock(&worker->lock);
        uint64_t one = 1;
        (void)!write(worker->fd, &one, sizeof one);
    }
    return NULL;
}

static void on_finished(evutil_socket_t fd, short what, void *argument)
{
    (void)what;
    struct worker *worker = argument;
    uint64_t count;
    (void)!read(fd, &count, sizeof count);
    pthread_mutex_lock(&worker->lock);
    struct job *job = worker->finished;
    worker->finished = NULL;
    worker->finished_last = &worker->finished;
    pthread_mutex_unlock(&worker->lock);
    while (job) {
        struct job *next = job->next;
        if (job->done) {
            job->done(job->context, job->code, &job->err);
        }
        free(job);
        job = next;
    }
}

struct worker *worker_create(struct event_base *base, const char *name, bool own_files)
{
    struct worker *worker = calloc(1, sizeof *worker);
    if (!worker) {
        return NULL;
    }
    pthread_condattr_t steady; /* a jump of the clock lengthens no wait */
    pthread_mutex_init(&worker->lock, NULL);
    pthread_cond_init(&worker->wake, NULL);
    pthread_condattr_init(&steady);
    pthread_condattr_setclock(&steady, CLOCK_MONOTONIC);
    pthread_cond_init(&worker->idle, &steady);
    pthread_condattr_destroy(&steady);
    worker->own_files = own_files;
    worker->last = &worker->first;
    worker->finished_last = &worker->finished;
    worker->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    worker->event = event_new(base, worker->fd, EV_READ | EV_PERSIST, on_finished, worker);
    pthread_t thread;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old); /* signals belong to the loop */
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 * 1024);
    int bad = worker->fd < 0 || !worker->event || event_add(worker->event, NULL) ||
              pthread_create(&thread, &attributes, thread_main, worker);
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (bad) {
        free(worker);
        return NULL;
    }
    pthread_setname_np(thread, name);
    pthread_detach(thread);
    return worker;
}

int worker_submit(struct worker *worker, worker_run *run, worker_done *done, void *context)
{
    struct job *job = calloc(1, sizeof *job);
    if (!job) {
        return -ENOMEM;
    }
    *job = (struct job){.run = run, .done = done, .context = context};
    pthread_mutex_lock(&worker->lock);
    int code = worker->waiting >= QUEUE_LIMIT ? -EAGAIN : 0;
    if (!code) {
        *worker->last = job;
        worker->last = &job->next;
        worker->waiting++;
        pthread_cond_signal(&worker->wake);
    }
    pthread_mutex_unlock(&worker->lock);
    if (code) {
        free(job);
    }
    return code;
}

void worker_drain(struct worker *worker, int64_t timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    pthread_mutex_lock(&worker->lock);
    while (worker->first || worker->busy) {
        if (pthread_cond_timedwait(&worker->idle, &worker->lock, &until)) {
            break;
        }
    }
    pthread_mutex_unlock(&worker->lock);
}
