/* From the program's pipes to stamped lines in the ring; back-pressure while the writer goes
 * on, counted loss when it stands. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log_line.h"
#include "daemon/keeper/keeper.h"

enum { READ_SIZE = 65536 };

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

void output_note(struct keeper *keeper, const char *text)
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

static void gather(struct keeper *keeper, struct stream *stream, const char *bytes, size_t n)
{
    int64_t now = clock_utc_us();
    while (n) {
        if (!stream->length) {
            stream->stamp_us = now;
        }
        size_t room = LINE_LIMIT - 1 - stream->length;
        const char *newline = memchr(bytes, '\n', n);
        size_t piece = newline ? (size_t)(newline - bytes) : n;
        if (piece > room) {
            memcpy(stream->line + stream->length, bytes, room);
            stream->length += room;
            end_line(keeper, stream, true);
            bytes += room;
            n -= room;
            continue;
        }
        memcpy(stream->line + stream->length, bytes, piece);
        stream->length += piece;
        bytes += piece;
        n -= piece;
        if (newline) {
            end_line(keeper, stream, false);
            bytes++;
            n--;
        }
    }
}

bool output_may_read(struct keeper *keeper)
{
    if (keeper->stalled) {
        return true; /* what comes now is dropped and counted */
    }
    pthread_mutex_lock(&keeper->ring.lock);
    bool room = RING_SIZE - keeper->ring.used >= 2 * READ_SIZE;
    keeper->ring.want_room = !room;
    pthread_mutex_unlock(&keeper->ring.lock);
    return room;
}

void output_read(struct keeper *keeper, struct stream *stream)
{
    static char buffer[READ_SIZE / 2]; /* lines of one byte double with their stamps … at worst
                                          the ring refuses some, and they are counted */
    ssize_t n = read(stream->fd, buffer, sizeof buffer);
    if (n > 0 && keeper->stalled) {
        keeper->dropped += (uint64_t)n;
    } else if (n > 0) {
        gather(keeper, stream, buffer, (size_t)n);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        if (stream->length) {
            end_line(keeper, stream, true);
        }
        close(stream->fd);
        stream->fd = -1;
    }
}

void output_end(struct keeper *keeper)
{
    for (int i = 0; i < 2; i++) {
        struct stream *stream = &keeper->streams[i];
        while (stream->fd >= 0) {
            size_t before = stream->length;
            uint64_t dropped = keeper->dropped;
            size_t used = keeper->ring.used;
            output_read(keeper, stream);
            if (stream->fd >= 0 && before == stream->length && dropped == keeper->dropped &&
                used == keeper->ring.used) {
                close(stream->fd); /* somebody outside the tree holds the pipe open */
                stream->fd = -1;
            }
        }
    }
}

/* With data waiting and no progress for STALL_MS the writer counts as standing. */
void output_check_stall(struct keeper *keeper)
{
    pthread_mutex_lock(&keeper->ring.lock);
    uint64_t written = keeper->ring.written;
    size_t used = keeper->ring.used;
    pthread_mutex_unlock(&keeper->ring.lock);
    int64_t now = clock_monotonic_ms();
    if (written != keeper->progress_seen || !used) {
        keeper->progress_seen = written;
        keeper->progress_ms = now;
        if (keeper->stalled && RING_SIZE - used >= RING_SIZE / 2) {
            char note[120];
            keeper->stalled = false;
            snprintf(note, sizeof note,
                "dropped %llu bytes: the log's filesystem did not take them",
                (unsigned long long)(keeper->dropped - keeper->dropped_told));
            keeper->dropped_told = keeper->dropped;
            output_note(keeper, note);
            control_tell(keeper, LINK_KEEPER_LOG_STALL);
        }
    } else if (!keeper->stalled && now - keeper->progress_ms >= STALL_MS &&
               RING_SIZE - used < 2 * READ_SIZE) {
        keeper->stalled = true;
        keeper->stall_told_ms = now;
        control_tell(keeper, LINK_KEEPER_LOG_STALL);
    } else if (keeper->stalled && now - keeper->stall_told_ms >= STALL_MS) {
        keeper->stall_told_ms = now; /* how much it is by now */
        control_tell(keeper, LINK_KEEPER_LOG_STALL);
    }
}
