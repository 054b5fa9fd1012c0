/* gearsd's log: lines are formatted here and written by a worker of their own, which also tells
 * syslog: both may stand still. */
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

struct entry {
    size_t audit; /* where in `text` syslog's begins; 0: it is not told */
    size_t length;
    char text[]; /* with its newline */
};

static int write_entry(void *context, struct error *err)
{
    struct entry *entry = context;
    if (entry->audit) {
        syslog(LOG_INFO, "%.*s", (int)(entry->length - entry->audit - 1),
            entry->text + entry->audit);
    }
    if (state.fd >= 0 && state.written > SEGMENT_BYTES) {
        close(state.fd);
        state.fd = -1;
    }
    if (state.fd >= 0 || !open_segment(err)) {
        ssize_t n = write(state.fd, entry->text, entry->length);
        state.written += n > 0 ? (size_t)n : 0;
    }
    atomic_fetch_sub(&state.waiting, 1);
    free(entry);
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

/* `prefix` is not for syslog. NULL: too many wait. */
static struct entry *make_entry(const char *prefix, const char *text, size_t length, bool audit)
{
    char stamp[LOG_STAMP_SIZE];
    size_t n = log_line_stamp(clock_utc_us(), 'e', stamp);
    size_t most = n + strlen(prefix) + length + 2;
    struct entry *entry =
        atomic_load(&state.waiting) < WAITING_LIMIT ? malloc(sizeof *entry + most) : NULL;
    if (entry) {
        entry->audit = audit ? n + strlen(prefix) : 0;
        entry->length = most - 1;
        snprintf(entry->text, most, "%.*s%s%.*s\n", (int)n, stamp, prefix, (int)length, text);
    }
    return entry;
}

/* The first line of `text`. */
static void emit(const char *prefix, const char *text, bool audit)
{
    size_t length = strcspn(text, "\n");
    if (!state.worker) {
        fprintf(stderr, "gearsd: %s%.*s\n", prefix, (int)length, text);
        return;
    }
    struct entry *entry = make_entry(prefix, text, length, audit);
    if (!entry) {
        atomic_fetch_add(&state.dropped, 1);
        return;
    }
    atomic_fetch_add(&state.waiting, 1);
    if (worker_submit(state.worker, write_entry, NULL, entry)) {
        atomic_fetch_sub(&state.waiting, 1);
        free(entry);
    }
    int dropped = atomic_exchange(&state.dropped, 0);
    if (dropped) {
        log_line("log dropped lines=%d: its filesystem or syslog did not answer", dropped);
    }
}

void log_line(const char *format, ...)
{
    char raw[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    emit("", raw, false);
}

void log_audit(const char *format, ...)
{
    char raw[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    emit("audit ", raw, true);
}
