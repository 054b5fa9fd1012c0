/* The exit record, written by a thread of its own: first when the main process ends, again when
 * the whole tree is gone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/file.h"
#include "common/record.h"
#include "common/text.h"
#include "daemon/keeper/keeper.h"

enum { LOST_LIMIT = 4095 };

static void read_lost(const struct orders *orders, struct record_job *job)
{
    char *text = NULL;
    if (job->lost[0] || !orders->kernels_path ||
        file_read(orders->kernels_path, LOST_LIMIT, &text, NULL, NULL)) {
        return;
    }
    text[strcspn(text, "\n")] = 0;
    snprintf(job->lost, sizeof job->lost, "%s", text);
    free(text);
}

static int store(const struct orders *orders, const struct record_job *job, struct error *err)
{
    struct record *record = record_create();
    if (!record) {
        return error_set(err, -1, "out of memory");
    }
    record_add(record, "service", orders->service);
    record_add(record, "nonce", orders->nonce);
    if (!job->exited) {
        record_add(record, "exit.unknown", "even KILL did not end it");
    } else if (WIFEXITED(job->status)) {
        record_add_integer(record, "exit.code", WEXITSTATUS(job->status));
    } else {
        record_add(record, "exit.signal", signal_name(WTERMSIG(job->status)));
    }
    record_add_integer(record, "exit.at", job->exit_at_us);
    record_add_integer(record, "log.dropped", (int64_t)job->dropped);
    record_add_integer(record, "stop.asked", job->stop_asked);
    if (job->lost[0]) {
        record_add(record, "lost", job->lost);
    }
    if (job->last) {
        record_add(record, "tree", job->survivors[0] ? "survivors" : "gone");
        record_add(record, "survivors", job->survivors);
    }
    int code = record_store(record, orders->exit_record, err);
    record_destroy(record);
    return code;
}

static void *record_main(void *argument)
{
    struct keeper *keeper = argument;
    struct record_job *job = &keeper->job;
    struct error err = {0};
    read_lost(&keeper->orders, job);
    job->failed = store(&keeper->orders, job, &err) != 0;
    snprintf(job->trouble, sizeof job->trouble, "%s", job->failed ? err.text : "");
    if (job->failed) {
        nanosleep(&(struct timespec){.tv_sec = 1}, NULL); /* before the loop asks again */
    }
    uint64_t one = 1;
    (void)!write(keeper->record_event_fd, &one, sizeof one);
    return NULL;
}

void record_exit_start(struct keeper *keeper)
{
    pthread_t thread;
    if (keeper->record_running) {
        return; /* its end starts another while one is due */
    }
    struct record_job *job = &keeper->job;
    job->last = keeper->phase == PHASE_EMPTY;
    job->exited = keeper->exited;
    job->stop_asked = keeper->stop_asked;
    job->status = keeper->status;
    job->exit_at_us = keeper->exit_at_us;
    job->dropped = keeper->dropped;
    memcpy(job->survivors, keeper->survivors, sizeof job->survivors);
    int code = pthread_create(&thread, NULL, record_main, keeper);
    keeper->record_running = !code;
    if (!code) {
        pthread_detach(thread);
        return;
    }
    snprintf(keeper->record_trouble, sizeof keeper->record_trouble,
        "how it ended is not recorded yet, for no thread can be made (too many processes?): %s",
        strerror(code));
    if (keeper->phase == PHASE_EMPTY) {
        keeper->deadline_ms = clock_monotonic_ms() + STALL_MS; /* then it is tried again */
    }
}

void record_exit_read(struct keeper *keeper)
{
    const struct record_job *job = &keeper->job;
    uint64_t count;
    if (read(keeper->record_event_fd, &count, sizeof count) != (ssize_t)sizeof count) {
        return;
    }
    bool empty = keeper->phase == PHASE_EMPTY;
    keeper->record_running = false;
    keeper->record_durable = job->last && !job->failed;
    memcpy(keeper->lost, job->lost, sizeof keeper->lost);
    memcpy(keeper->record_trouble, job->trouble, sizeof keeper->record_trouble);
    if (empty && !keeper->gone_told && (job->last || job->failed)) {
        keeper->gone_told = true;
        control_tell(keeper, LINK_KEEPER_GONE);
    }
    /* Due: the disk was full, or the tree went meanwhile. Who released us knows the end. */
    if (empty ? !keeper->record_durable && !keeper->released : job->failed) {
        record_exit_start(keeper);
    }
}
