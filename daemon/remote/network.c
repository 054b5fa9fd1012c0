/* The kernel tells when this host's network changes: an address, a link, a route. What waits
 * out a backoff goes on soon, and silent hops are asked for a sign of life. */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/core/log.h"
#include "daemon/core/timer.h"
#include "daemon/remote/hop_private.h"

enum { SETTLE_MS = 100 }; /* changes come in bursts */

static void on_settled(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct remote *remote = argument;
    for (struct hop *hop = remote->hops; hop; hop = hop->next) {
        outage_hurry(hop, true);
        hop_probe(hop);
    }
}

static void on_change(evutil_socket_t fd, short what, void *argument)
{
    (void)what;
    struct remote *remote = argument;
    char buffer[8192];
    while (recv((int)fd, buffer, sizeof buffer, MSG_DONTWAIT) > 0) {
    }
    bool any = false;
    for (struct hop *hop = remote->hops; hop; hop = hop->next) {
        any |= hop->machine.scheduled || hop->tunnel;
    }
    if (any && !event_pending(remote->settle, EV_TIMEOUT, NULL)) {
        timer_arm(remote->settle, SETTLE_MS);
    }
}

void network_watch(struct remote *remote)
{
    struct sockaddr_nl address = {.nl_family = AF_NETLINK,
        .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE |
                     RTMGRP_IPV6_ROUTE};
    struct event_base *base = remote->manager->base;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address)) {
        log_line("network changes will not be noticed cause=\"%s\"", strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    remote->network_fd = fd;
    remote->settle = evtimer_new(base, on_settled, remote);
    remote->network = event_new(base, fd, EV_READ | EV_PERSIST, on_change, remote);
    if (!remote->settle || !remote->network || event_add(remote->network, NULL)) {
        log_line("network changes will not be noticed cause=\"out of memory\"");
    }
}
