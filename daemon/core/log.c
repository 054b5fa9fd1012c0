/* gearsd's log: lines are formatted here and written by a worker of their own. */
#include "daemon/core/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/file.h"
#include "common/log_line.h"
#include "common/segments.h"

enum { SEGMENT_BYTES = 1 << 20, SEGMENTS = 4, WAITING_LIMIT = 1000 };

static struct {
    struct worker *worker;
    char folder[PATH_MAX];
    int fd;
    size_t written;
    atomic_int waiting;
    atomic_int dropped;
} state = {.fd = -1};

static int open_segment(struct error *err)
{
    int code = dir_ensure_private(state.folder, err);
    if (code) {
        return code;
    }
    segments_prune(state.folder, SEGMENTS * SEGMENT_BYTES, SEGMENT_BYTES);
    state.fd = segment_open(state.folder);
    state.written = 0;
    return state.fd < 0 ? state.fd : 0;
}

static int write_line(void *context, struct error *err)
{
    char *line = context;
    if (state.fd >= 0 && state.written > SEGMENT_BYTES) {
        close(state.fd);
        state.fd = -1;
    }
    if (state.fd >= 0 || !open_segment(err)) {
        ssize_t n = write(state.fd, line, strlen(line));
        state.written += n > 0 ? (size_t)n : 0;
    }
    atomic_fetch_sub(&state.waiting, 1);
    free(line);
    return 0;
}

int log_start(const struct home *home, struct event_base *base)
{
    int code = home_path(home, state.folder, "log", "gearsd");
    state.worker = code ? NULL : worker_create(base, "log", true);
    openlog("gearsd", LOG_PID, LOG_AUTHPRIV);
    return state.worker ? 0 : code ? code : -ENOMEM;
}

void log_stop(void)
{
    if (state.worker) {
        worker_drain(state.worker, 1000);
    }
}

static void emit(const char *text)
{
    char line[1400];
    size_t n = log_line_stamp(clock_utc_us(), 'e', line);
    snprintf(line + n, sizeof line - n, "%s\n", text);
    if (!state.worker) {
        fprintf(stderr, "gearsd: %s\n", text);
        return;
    }
    char *copy = atomic_load(&state.waiting) < WAITING_LIMIT ? strdup(line) : NULL;
    if (!copy) {
        atomic_fetch_add(&state.dropped, 1);
        return;
    }
    atomic_fetch_add(&state.waiting, 1);
    if (worker_submit(state.worker, write_line, NULL, copy)) {
        atomic_fetch_sub(&state.waiting, 1);
        free(copy);
    }
    int dropped = atomic_exchange(&state.dropped, 0);
    if (dropped) {
        log_line("log dropped lines=%d: its filesystem did not answer", dropped);
    }
}

void log_line(const char *format, ...)
{
    char raw[1024], text[1280];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    size_t length = strcspn(raw, "\n");
    memcpy(text, raw, length);
    text[length] = 0;
    emit(text);
}

void log_audit(const char *format, ...)
{
    char raw[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    syslog(LOG_INFO, "%s", raw);
    log_line("audit %s", raw);
}
