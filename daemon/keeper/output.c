/* From the program's pipes to stamped lines in the ring; back-pressure while the writer goes
 * on, counted loss when it stands. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log_line.h"
#include "daemon/keeper/keeper.h"

enum { READ_SIZE = 32768, ROOM_LEAST = 4 * READ_SIZE };

static char input[READ_SIZE]; /* of keeper->input_of */

static void put(
    struct keeper *keeper, int64_t stamp, char mark, const char *text, size_t length)
{
    char line[LINE_LIMIT + LOG_STAMP_SIZE];
    size_t n = log_line_stamp(stamp, mark, line);
    memcpy(line + n, text, length);
    line[n + length] = '\n';
    if (!ring_put(&keeper->ring, line, n + length + 1)) {
        keeper->dropped += length + 1;
    }
}

static void add_note(struct keeper *keeper, const char *text)
{
    put(keeper, clock_utc_us(), 'g', text, strlen(text));
}

static void match_ready(struct keeper *keeper, struct stream *stream)
{
    if (!keeper->regex_set || keeper->ready || stream->length >= LINE_LIMIT) {
        return;
    }
    stream->line[stream->length] = 0;
    if (!regexec(&keeper->regex, stream->line, 0, NULL, 0)) {
        keeper->ready = true;
        control_tell(keeper, LINK_KEEPER_READY);
    }
}

static void end_line(struct keeper *keeper, struct stream *stream, bool partial)
{
    match_ready(keeper, stream);
    char mark = partial ? (char)(stream->name - 'a' + 'A') : stream->name;
    put(keeper, stream->stamp_us, mark, stream->line, stream->length);
    stream->length = 0;
}

/* Take lines out of the input while the ring surely takes the next one. Only this thread puts
 * anything into it, so the room can only be more than was seen. */
static void gather(struct keeper *keeper)
{
    struct stream *stream = keeper->input_of;
    int64_t now = clock_utc_us();
    size_t room = ring_room(&keeper->ring);
    while (keeper->input_at < keeper->input_end && room >= LINE_LIMIT + LOG_STAMP_SIZE) {
        const char *bytes = input + keeper->input_at;
        size_t n = keeper->input_end - keeper->input_at;
        size_t space = LINE_LIMIT - 1 - stream->length;
        if (!stream->length) {
            stream->stamp_us = now;
        }
        const char *newline = memchr(bytes, '\n', n);
        size_t piece = newline ? (size_t)(newline - bytes) : n;
        bool partial = piece > space;
        piece = partial ? space : piece;
        memcpy(stream->line + stream->length, bytes, piece);
        stream->length += piece;
        keeper->input_at += piece;
        if (partial || newline) {
            keeper->input_at += !partial;
            room -= stream->length + LOG_STAMP_SIZE;
            end_line(keeper, stream, partial);
        }
    }
}

/* What was read goes into the ring, or is lost while the writer stands. */
static void take_input(struct keeper *keeper)
{
    if (keeper->stalled) {
        keeper->dropped += keeper->input_end - keeper->input_at;
        keeper->input_at = keeper->input_end;
    } else {
        gather(keeper);
    }
    if (keeper->input_at == keeper->input_end) {
        keeper->input_of = NULL;
    }
}

static bool may_read(struct keeper *keeper)
{
    if (keeper->stalled) {
        return true; /* what comes now is dropped and counted */
    }
    pthread_mutex_lock(&keeper->ring.lock);
    bool room = RING_SIZE - keeper->ring.used >= ROOM_LEAST;
    keeper->ring.want_room = !room;
    pthread_mutex_unlock(&keeper->ring.lock);
    return room;
}

bool output_may_read(struct keeper *keeper)
{
    bool may = may_read(keeper);
    while (may && keeper->input_of) { /* the writer goes on meanwhile */
        take_input(keeper);
        may = may_read(keeper);
    }
    return may;
}

static void end_stream(struct keeper *keeper, struct stream *stream)
{
    if (stream->length) {
        end_line(keeper, stream, true);
    }
    close(stream->fd);
    stream->fd = -1;
}

void output_read(struct keeper *keeper, struct stream *stream)
{
    bool drains = keeper->phase == PHASE_DRAINING;
    size_t most = drains && stream->rest < sizeof input ? stream->rest : sizeof input;
    if (keeper->input_of || !most) {
        return; /* the other stream's input has filled the ring, or this one is drained */
    }
    ssize_t n = read(stream->fd, input, most);
    if (n > 0) {
        stream->rest -= drains ? (size_t)n : 0;
        keeper->input_of = stream;
        keeper->input_at = 0;
        keeper->input_end = (size_t)n;
        take_input(keeper);
    } else if ((n == 0 || (errno != EAGAIN && errno != EINTR)) && may_read(keeper)) {
        end_stream(keeper, stream);
    }
}

static size_t bytes_waiting(const struct stream *stream)
{
    int count;
    return ioctl(stream->fd, FIONREAD, &count) || count < 0 ? 0 : (size_t)count;
}

void output_drain(struct keeper *keeper)
{
    for (int i = 0; i < 2; i++) {
        struct stream *stream = &keeper->streams[i];
        stream->rest = stream->fd < 0 ? 0 : bytes_waiting(stream);
    }
}

bool output_drained(struct keeper *keeper)
{
    bool drained = true;
    for (int i = 0; i < 2; i++) {
        struct stream *stream = &keeper->streams[i];
        if (stream->fd >= 0 && (!stream->rest || !bytes_waiting(stream)) &&
            output_may_read(keeper)) {
            end_stream(keeper, stream);
        }
        drained = drained && stream->fd < 0;
    }
    return drained;
}

/* With data waiting and no progress for STALL_MS the writer counts as standing. */
void output_check_stall(struct keeper *keeper)
{
    pthread_mutex_lock(&keeper->ring.lock);
    uint64_t written = keeper->ring.written;
    size_t used = keeper->ring.used;
    pthread_mutex_unlock(&keeper->ring.lock);
    int64_t now = clock_monotonic_ms();
    bool began = used && !keeper->had_data; /* nothing had to be written until now */
    keeper->had_data = used > 0;
    if (written != keeper->progress_seen || !used || began) {
        keeper->progress_seen = written;
        keeper->progress_ms = now;
        if (keeper->stalled && RING_SIZE - used >= RING_SIZE / 2) {
            char note[120];
            keeper->stalled = false;
            snprintf(note, sizeof note,
                "dropped %llu bytes: the log's filesystem did not take them",
                (unsigned long long)(keeper->dropped - keeper->dropped_told));
            keeper->dropped_told = keeper->dropped;
            add_note(keeper, note);
            control_tell(keeper, LINK_KEEPER_LOG_STALL);
        }
    } else if (!keeper->stalled && now - keeper->progress_ms >= STALL_MS &&
               RING_SIZE - used < ROOM_LEAST) {
        keeper->stalled = true;
        keeper->stall_told_ms = now;
        control_tell(keeper, LINK_KEEPER_LOG_STALL);
    } else if (keeper->stalled && now - keeper->stall_told_ms >= STALL_MS) {
        keeper->stall_told_ms = now; /* how much it is by now */
        control_tell(keeper, LINK_KEEPER_LOG_STALL);
    }
}
