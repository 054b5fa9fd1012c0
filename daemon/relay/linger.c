/* The last bytes for a TCP end whose other side has left. TCP has them queued, and a close here
 * would destroy them as soon as that end says one word more: the kernel answers it with a
 * reset. So its words are read and dropped until the queue is empty. Called by transfer.c. */
#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "daemon/relay/connection.h"

enum { LINGER_MS = 60000, DROPS_PER_ROUND = 16 };

static const size_t DROP_SIZE = 1 << 30;

/* Its end of file counts as one: a reset that overtakes it is no end of file. */
static bool is_queued(const struct end *end)
{
    int bytes = 0;
    return !ioctl(end->source.fd, SIOCOUTQ, &bytes) && bytes > 0;
}

static bool may_speak(const struct end *end)
{
    return end->is_tcp && !end->gone && !end->read_done;
}

bool linger_start(struct connection *connection)
{
    struct end *end =
        may_speak(&connection->server) ? &connection->server : &connection->client;
    if (connection->aborted || !may_speak(end)) {
        return false;
    }
    shutdown(end->source.fd, SHUT_WR);
    end->write_done = true;
    if (!is_queued(end)) {
        return false;
    }
    struct end *left = end_other(end);
    transfer_drop(left);
    relay_close(&left->source);
    connection->service->relay->unsettled++;
    connection_enter(connection, PHASE_LINGERING, LINGER_MS);
    return true;
}

/* An edge tells of what comes, and, as nothing can be written any more, of the moment when the
 * queue is empty. */
void linger_ready(struct end *end)
{
    struct connection *connection = end_connection(end);
    struct relay *relay = connection->service->relay;
    ssize_t n = 1;
    for (int i = 0; i < DROPS_PER_ROUND && n > 0; i++) {
        n = recv(end->source.fd, NULL, DROP_SIZE, MSG_TRUNC); /* copies nothing */
    }
    if (n == 0 || (n < 0 && errno != EAGAIN) || !is_queued(end)) {
        connection_finish(connection, false);
    } else if (n > 0 && relay_arm(relay, &end->source, SOURCE_QUIET)) {
        connection_finish(connection, true);
    } else {
        connection_rearm(connection); /* what is left is a new edge */
    }
}
