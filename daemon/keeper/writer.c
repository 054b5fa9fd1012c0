/* The ring and its one writer: segments in the service's log folder, rotated at line ends, the
 * oldest removed to stay within the budget. May block for ever on a hung filesystem; nobody
 * waits for it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/segments.h"
#include "daemon/keeper/keeper.h"

enum { CHUNK = 65536 };

struct segment {
    int fd;
    uint64_t bytes;
};

bool ring_put(struct ring *ring, const char *line, size_t length)
{
    pthread_mutex_lock(&ring->lock);
    bool fits = RING_SIZE - ring->used >= length;
    if (fits) {
        size_t tail = (ring->head + ring->used) % RING_SIZE;
        size_t first = RING_SIZE - tail < length ? RING_SIZE - tail : length;
        memcpy(ring->bytes + tail, line, first);
        memcpy(ring->bytes, line + first, length - first);
        ring->used += length;
        pthread_cond_signal(&ring->wake);
    }
    pthread_mutex_unlock(&ring->lock);
    return fits;
}

size_t ring_room(struct ring *ring)
{
    pthread_mutex_lock(&ring->lock);
    size_t room = RING_SIZE - ring->used;
    pthread_mutex_unlock(&ring->lock);
    return room;
}

bool ring_rotated(struct ring *ring)
{
    pthread_mutex_lock(&ring->lock);
    bool rotated = ring->rotated;
    ring->rotated = false;
    pthread_mutex_unlock(&ring->lock);
    return rotated;
}

bool ring_done(struct ring *ring)
{
    pthread_mutex_lock(&ring->lock);
    bool done = ring->done;
    pthread_mutex_unlock(&ring->lock);
    return done;
}

static void tell_loop(struct ring *ring)
{
    uint64_t one = 1;
    (void)!write(ring->event_fd, &one, sizeof one);
}

/* Room for a new segment: in the service's own budget, then in that of all together. */
static int open_segment(const struct orders *orders, struct segment *segment)
{
    char parent[PATH_MAX];
    segments_prune(orders->log_dir, orders->log_budget, orders->log_segment);
    if (orders->log_total) {
        snprintf(parent, sizeof parent, "%s/..", orders->log_dir);
        segments_prune_all(parent, orders->log_total, orders->log_segment);
    }
    segment->fd = segment_open(orders->log_dir);
    segment->bytes = 0;
    return segment->fd < 0 ? segment->fd : 0;
}

/* One piece out; −errno leaves what is unwritten in *done. */
static int write_piece(int fd, const char *bytes, size_t length, size_t *done)
{
    while (*done < length) {
        ssize_t n = write(fd, bytes + *done, length - *done);
        if (n > 0) {
            *done += (size_t)n;
        } else if (n < 0 && errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

/* The longest run of whole lines that fits in CHUNK. Called with the lock. */
static size_t peek(struct ring *ring, char *chunk)
{
    size_t length = ring->used < CHUNK ? ring->used : CHUNK;
    size_t first = RING_SIZE - ring->head < length ? RING_SIZE - ring->head : length;
    memcpy(chunk, ring->bytes + ring->head, first);
    memcpy(chunk + first, ring->bytes, length - first);
    while (length && chunk[length - 1] != '\n') {
        length--;
    }
    return length;
}

static void take(struct ring *ring, size_t length, bool rotated)
{
    pthread_mutex_lock(&ring->lock);
    ring->rotated = ring->rotated || rotated;
    ring->head = (ring->head + length) % RING_SIZE;
    ring->used -= length;
    ring->written += length;
    bool tell = ring->want_room || ring->rotated;
    ring->want_room = false;
    pthread_mutex_unlock(&ring->lock);
    if (tell) {
        tell_loop(ring);
    }
}

static void *writer_main(void *argument)
{
    struct keeper *keeper = argument;
    struct ring *ring = &keeper->ring;
    struct segment segment = {.fd = -1};
    static char chunk[CHUNK];
    size_t done = 0; /* of the piece in hand: a short write goes on where it stopped */
    for (;;) {
        pthread_mutex_lock(&ring->lock);
        while (!ring->used && !ring->closing) {
            pthread_cond_wait(&ring->wake, &ring->lock);
        }
        size_t length = peek(ring, chunk);
        bool end = ring->closing && !ring->used;
        pthread_mutex_unlock(&ring->lock);
        if (end) {
            break;
        }
        int code = segment.fd < 0 ? open_segment(&keeper->orders, &segment) : 0;
        size_t before = done;
        code = code ? code : write_piece(segment.fd, chunk, length, &done);
        segment.bytes += done - before;
        if (code && code != -ENOSPC && code != -EDQUOT && segment.fd >= 0) {
            close(segment.fd); /* its filesystem may come back as another: begin again there */
            segment.fd = -1;
        }
        if (code) {
            nanosleep(&(struct timespec){.tv_sec = 1}, NULL); /* full: only while data waits */
            continue;
        }
        done = 0;
        bool full = segment.bytes >= keeper->orders.log_segment;
        if (full) {
            close(segment.fd);
            segment.fd = -1;
        }
        take(ring, length, full);
    }
    pthread_mutex_lock(&ring->lock);
    ring->done = true;
    pthread_mutex_unlock(&ring->lock);
    tell_loop(ring);
    return NULL;
}

int writer_start(struct keeper *keeper)
{
    pthread_t thread;
    pthread_mutex_init(&keeper->ring.lock, NULL);
    pthread_cond_init(&keeper->ring.wake, NULL);
    keeper->ring.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (keeper->ring.event_fd < 0 || pthread_create(&thread, NULL, writer_main, keeper)) {
        return -EAGAIN;
    }
    pthread_detach(thread);
    return 0;
}
