/* Handing a client to the tunnel of a hop: its descriptor goes over, and this connection is
 * forgotten. Called by connect.c when the service is fed instead of connected to. */
#include <errno.h>
#include <unistd.h>

#include "common/unixsock.h"
#include "daemon/relay/connection.h"

/* What is sent before the tunnel accepts waits for it, and outlives our end. */
static int send_open(int fd, const struct connection *connection)
{
    struct link_frame frame;
    struct ucred peer;
    int code = unix_peer(fd, &peer);
    if (code || peer.uid != geteuid()) {
        return code ? code : -EACCES;
    }
    link_frame_start(&frame, LINK_TUNNEL_OPEN, 0);
    link_frame_string(&frame, LINK_TAG_TARGET_PATH, connection->service->target_path);
    link_frame_string(&frame, LINK_TAG_SERVICE, connection->service->name);
    link_frame_fd(&frame, connection->client.source.fd);
    return link_send(fd, &frame);
}

int handover_do(struct connection *connection, int fd)
{
    struct relay *relay = connection->service->relay;
    int code = send_open(fd, connection);
    close(fd);
    if (code) {
        /* So many are on their way that the kernel takes no more: as a full backlog. */
        return code == -ETOOMANYREFS ? -EAGAIN : code;
    }
    /* epoll would go on watching the socket for as long as the tunnel has it. */
    relay_disarm(relay, &connection->client.source);
    connection_finish(connection, false);
    return 0;
}
