/* The clients of a session: taking them in, turning them away, letting them go. feed.c brings
 * them, session.c gives each its turns. */
#include <errno.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/clock.h"
#include "daemon/tunnel/refusal.h"
#include "daemon/tunnel/session.h"
#include "daemon/tunnel/trouble.h"

/* SPARE_FDS are for the feed, refusals and the control. */
enum { CHANNELS_MOST = 4096, SPARE_FDS = 128, MUCH = 4 * 1024 * 1024 };

static void enlist(struct session *session, struct channel *channel)
{
    if (!session->channels) {
        channel->next = channel->previous = channel;
        session->channels = channel;
    } else {
        struct channel *first = session->channels;
        channel->next = first;
        channel->previous = first->previous;
        first->previous->next = channel;
        first->previous = channel;
    }
    session->channel_count++;
}

static void delist(struct session *session, struct channel *channel)
{
    if (channel->next == channel) {
        session->channels = NULL;
    } else {
        channel->previous->next = channel->next;
        channel->next->previous = channel->previous;
        if (session->channels == channel) {
            session->channels = channel->next;
        }
    }
    session->channel_count--;
}

static size_t most_channels(void)
{
    struct rlimit limit;
    size_t most = CHANNELS_MOST;
    if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < most + SPARE_FDS) {
        most = limit.rlim_cur > SPARE_FDS ? limit.rlim_cur - SPARE_FDS : 1;
    }
    return most;
}

int session_add(struct session *session, int fd, const char *target, const char *service)
{
    struct channel *channel = session->channel_count < most_channels()
                                  ? channel_create(session, fd, target, service)
                                  : NULL;
    if (!channel) {
        return -EAGAIN;
    }
    int code = opens_add(&session->opens, channel);
    if (code) {
        channel->fd = -1;
        channel_free(channel);
        return code;
    }
    enlist(session, channel);
    TUNNEL_COUNT(session->tunnel, connections, 1);
    channel_update(channel);
    if (keepalive_doubts(&session->silence.keepalive, clock_monotonic_ms())) {
        silence_need(&session->silence);
    }
    return 0;
}

void session_refuse(struct session *session, struct channel *channel, const char *why)
{
    struct trouble_page made;
    int fd = channel_take_client(channel);
    channel->state = CHANNEL_DEAD;
    session_wake(session);
    if (fd < 0) {
        return;
    }
    trouble_page(&made, channel->service, why);
    TUNNEL_COUNT(session->tunnel, refused, 1);
    refusal_start(session->tunnel->refusals, fd, &made.page);
}

void session_orphan(struct session *session, LIBSSH2_CHANNEL *ssh)
{
    struct channel *channel = channel_create(session, -1, "", "");
    if (!channel) { /* the server is told nothing, and keeps it to the end of the session */
        return;
    }
    channel->ssh = ssh;
    channel->state = CHANNEL_CLOSING;
    enlist(session, channel);
    session_wake(session);
}

/* The last client of many bytes has left: what they took goes back to the system. */
static void give_memory_back(struct session *session)
{
    const struct relay_counters *counters = session->tunnel->counters;
    uint64_t moved = atomic_load_explicit(&counters->bytes_in, memory_order_relaxed) +
                     atomic_load_explicit(&counters->bytes_out, memory_order_relaxed);
    if (!session->channel_count && moved - session->moved > MUCH) {
        session->moved = moved;
        malloc_trim(0);
    }
}

void clients_settle(struct session *session)
{
    struct channel *channel = session->channels;
    for (size_t i = 0, n = session->channel_count; i < n; i++) {
        struct channel *next = channel->next;
        if (channel->state == CHANNEL_DEAD) {
            delist(session, channel);
            channel_free(channel);
        } else {
            channel_update(channel);
        }
        channel = next;
    }
    if (session->channels) {
        session->channels = session->channels->next; /* another one is first next time */
    }
    give_memory_back(session);
}

void clients_close(struct session *session)
{
    struct tunnel *tunnel = session->tunnel;
    struct trouble_page made;
    while (session->channels) {
        struct channel *channel = session->channels;
        int fd = channel_take_client(channel);
        if (fd >= 0 && channel->state == CHANNEL_RELAYING) {
            close(fd);
        } else if (fd >= 0) {
            trouble_page(&made, channel->service, tunnel->text);
            refusal_now(fd, &made.page);
        }
        delist(session, channel);
        channel_free(channel);
    }
}
