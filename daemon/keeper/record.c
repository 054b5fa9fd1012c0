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

static void read_lost(struct keeper *keeper)
{
    char *text = NULL;
    if (keeper->lost[0] || !keeper->orders.kernels_path ||
        file_read(keeper->orders.kernels_path, LOST_LIMIT, &text, NULL, NULL)) {
        return;
    }
    text[strcspn(text, "\n")] = 0;
    snprintf(keeper->lost, sizeof keeper->lost, "%s", text);
    free(text);
}

static int store(struct keeper *keeper, struct error *err)
{
    struct record *record = record_create();
    if (!record) {
        return error_set(err, -1, "out of memory");
    }
    record_add(record, "service", keeper->orders.service);
    record_add(record, "nonce", keeper->orders.nonce);
    if (!keeper->exited) {
        record_add(record, "exit.unknown", "even KILL did not end it");
    } else if (WIFEXITED(keeper->status)) {
        record_add_integer(record, "exit.code", WEXITSTATUS(keeper->status));
    } else {
        record_add(record, "exit.signal", signal_name(WTERMSIG(keeper->status)));
    }
    record_add_integer(record, "exit.at", keeper->exit_at_us);
    record_add_integer(record, "log.dropped", (int64_t)keeper->dropped);
    record_add_integer(record, "stop.asked", keeper->stop_asked);
    if (keeper->lost[0]) {
        record_add(record, "lost", keeper->lost);
    }
    if (keeper->phase == PHASE_EMPTY) {
        record_add(record, "tree", keeper->survivors[0] ? "survivors" : "gone");
        record_add(record, "survivors", keeper->survivors);
    }
    int code = record_store(record, keeper->orders.exit_record, err);
    record_destroy(record);
    return code;
}

static void *record_main(void *argument)
{
    struct keeper *keeper = argument;
    struct error err = {0};
    read_lost(keeper);
    bool last = keeper->phase == PHASE_EMPTY;
    int code = store(keeper, &err);
    snprintf(keeper->record_trouble, sizeof keeper->record_trouble, "%s", code ? err.text : "");
    if (code) {
        nanosleep(&(struct timespec){.tv_sec = 1}, NULL); /* before the loop asks again */
    }
    uint64_t answer = code ? 1 : last ? 3 : 2; /* failed, first record, last record */
    (void)!write(keeper->record_event_fd, &answer, sizeof answer);
    return NULL;
}

void record_exit_start(struct keeper *keeper)
{
    pthread_t thread;
    if (keeper->record_running) {
        return; /* its end starts another while one is due */
    }
    keeper->record_running = !pthread_create(&thread, NULL, record_main, keeper);
    if (keeper->record_running) {
        pthread_detach(thread);
    } else {
        snprintf(keeper->record_trouble, sizeof keeper->record_trouble, "no thread left");
    }
}
