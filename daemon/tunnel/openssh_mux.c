/* Packets to and from ssh's control socket. Used by openssh_forward.c, openssh_channel.c. */
#include "daemon/tunnel/openssh_mux.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/tunnel/wire.h"

/* UNSENT_MOST: ssh reads a packet a round, but not while the server takes nothing. */
enum { UNSENT_MOST = 64 * 1024, PIECE = 32 * 1024, PIECES = 8 };

struct bytes {
    uint8_t *data;
    size_t start, end, capacity;
};

struct mux {
    struct event_base *base;
    int fd;
    struct event *event;
    short armed;
    const struct mux_calls *calls;
    void *context;
    struct bytes in, out;
    bool greeted, busy, doomed;
};

void mux_put_byte(struct mux_packet *packet, uint8_t value)
{
    if (packet->length == sizeof packet->bytes) {
        packet->too_long = true;
        return;
    }
    packet->bytes[packet->length++] = value;
}

void mux_put(struct mux_packet *packet, uint32_t value)
{
    uint8_t bytes[4];
    wire_put_u32(bytes, value);
    for (int i = 0; i < 4; i++) {
        mux_put_byte(packet, bytes[i]);
    }
}

void mux_put_string(struct mux_packet *packet, const char *string)
{
    size_t length = strlen(string);
    mux_put(packet, (uint32_t)length);
    if (length > sizeof packet->bytes - packet->length) {
        packet->too_long = true;
        return;
    }
    memcpy(packet->bytes + packet->length, string, length);
    packet->length += length;
}

/* Room for `more` bytes behind the end. */
static uint8_t *reserve(struct bytes *bytes, size_t more)
{
    size_t held = bytes->end - bytes->start;
    if (bytes->start) {
        memmove(bytes->data, bytes->data + bytes->start, held);
        bytes->start = 0;
        bytes->end = held;
    }
    if (bytes->capacity - held < more) {
        size_t capacity = held + more;
        uint8_t *data = realloc(bytes->data, capacity);
        if (!data) {
            return NULL;
        }
        bytes->data = data;
        bytes->capacity = capacity;
    }
    return bytes->data + bytes->end;
}

static void release(struct mux *mux)
{
    if (mux->event) {
        event_free(mux->event);
    }
    close(mux->fd);
    free(mux->in.data);
    free(mux->out.data);
    free(mux);
}

void mux_destroy(struct mux *mux)
{
    if (!mux) {
        return;
    }
    mux->doomed = true;
    if (!mux->busy) {
        release(mux);
    }
}

static void fail(struct mux *mux)
{
    event_del(mux->event);
    if (!mux->doomed) {
        mux->calls->closed(mux->context);
    }
}

static void on_event(evutil_socket_t fd, short what, void *argument);

static void arm(struct mux *mux)
{
    short wanted =
        (short)(EV_READ | EV_PERSIST | (mux->out.end > mux->out.start ? EV_WRITE : 0));
    if (wanted != mux->armed) {
        event_del(mux->event);
        event_assign(mux->event, mux->base, mux->fd, wanted, on_event, mux);
        event_add(mux->event, NULL);
        mux->armed = wanted;
    }
}

/* False: it is over. */
static bool flush(struct mux *mux)
{
    while (mux->out.end > mux->out.start) {
        ssize_t n = send(mux->fd, mux->out.data + mux->out.start, mux->out.end - mux->out.start,
            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            return errno == EAGAIN || errno == EINTR;
        }
        mux->out.start += (size_t)n;
    }
    return true;
}

static int put_raw(struct mux *mux, const uint8_t *bytes, size_t length)
{
    uint8_t *room = reserve(&mux->out, length + 4);
    if (!room) {
        return -ENOMEM;
    }
    wire_put_u32(room, (uint32_t)length);
    memcpy(room + 4, bytes, length);
    mux->out.end += length + 4;
    return 0;
}

int mux_send(struct mux *mux, const struct mux_packet *packet)
{
    if (packet->too_long) {
        return -E2BIG;
    }
    if (mux->out.end - mux->out.start > UNSENT_MOST) {
        return -EAGAIN;
    }
    int code = put_raw(mux, packet->bytes, packet->length);
    if (!code) {
        (void)flush(mux); /* reading will tell that it is over */
        arm(mux);
    }
    return code;
}

/* Both sides say hello first. */
static bool greet(struct mux *mux, const uint8_t *bytes, size_t length)
{
    struct wire wire = {bytes, length, false};
    if (wire_u32(&wire) != MUX_HELLO || wire_u32(&wire) != MUX_VERSION) {
        return false;
    }
    mux->greeted = true;
    mux->calls->ready(mux->context);
    return true;
}

/* Hand on what is complete. False: it makes no sense. */
static bool take_packets(struct mux *mux)
{
    while (!mux->doomed && mux->in.end - mux->in.start >= 4) {
        const uint8_t *at = mux->in.data + mux->in.start;
        size_t length = wire_u32(&(struct wire){at, 4, false});
        if (length > MUX_PACKET_MOST) {
            return false;
        }
        if (mux->in.end - mux->in.start < length + 4) {
            break;
        }
        mux->in.start += length + 4;
        if (mux->greeted) {
            mux->calls->packet(mux->context, at + 4, length);
        } else if (!greet(mux, at + 4, length)) {
            return false;
        }
    }
    return true;
}

static bool receive(struct mux *mux)
{
    for (int i = 0; i < PIECES && !mux->doomed; i++) {
        uint8_t *room = reserve(&mux->in, PIECE);
        if (!room) {
            return false;
        }
        ssize_t n = recv(mux->fd, room, PIECE, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return true;
        }
        if (n <= 0) {
            return false;
        }
        mux->in.end += (size_t)n;
        if (!take_packets(mux)) {
            return false;
        }
    }
    return true;
}

static void on_event(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    struct mux *mux = argument;
    mux->busy = true;
    bool well = flush(mux);
    if (well && (what & EV_READ)) {
        well = receive(mux);
    }
    if (!well) {
        fail(mux);
    } else if (!mux->doomed) {
        arm(mux);
    }
    mux->busy = false;
    if (mux->doomed) {
        release(mux);
    }
}

void mux_hear(struct mux *mux)
{
    on_event(mux->fd, EV_READ, mux);
}

struct mux *mux_create(
    struct event_base *base, int fd, const struct mux_calls *calls, void *context)
{
    struct mux *mux = calloc(1, sizeof *mux);
    struct mux_packet hello = {.length = 0};
    if (!mux) {
        close(fd);
        return NULL;
    }
    *mux = (struct mux){.base = base, .fd = fd, .calls = calls, .context = context};
    mux->armed = EV_READ | EV_PERSIST;
    mux->event = event_new(base, fd, mux->armed, on_event, mux);
    mux_put(&hello, MUX_HELLO);
    mux_put(&hello, MUX_VERSION);
    if (!mux->event || event_add(mux->event, NULL) || mux_send(mux, &hello)) {
        release(mux);
        return NULL;
    }
    return mux;
}
