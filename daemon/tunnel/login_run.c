/* The order of a login: reach a server, greet it, judge its host key, authenticate; then the
 * next one through it. Runs on the login's thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/tunnel/auth.h"
#include "daemon/tunnel/connect.h"
#include "daemon/tunnel/handshake.h"
#include "daemon/tunnel/hostkey.h"

/* A link over TCP; NULL: the cause is set. */
static struct ssh_link *reach_first(struct login *login, const struct ssh_hop *hop)
{
    int fd = -1;
    if (connect_hop(login, hop, &fd)) {
        return NULL;
    }
    struct ssh_link *link = calloc(1, sizeof *link);
    struct transport *transport = transport_create(fd);
    if (!link || !transport) {
        transport_destroy(transport);
        free(link);
        login_fail(login, LINK_CAUSE_FAILED, "out of memory");
        return NULL;
    }
    link->transport = transport;
    return link;
}

static void fail_channel(struct login *login, const struct ssh_hop *outer_hop,
    const struct ssh_hop *hop, struct ssh_link *outer)
{
    char *words = NULL;
    int code = libssh2_session_last_error(outer->session, &words, NULL, 0);
    if (code != LIBSSH2_ERROR_CHANNEL_FAILURE) {
        login_fail_connection(login, outer_hop, outer->transport, "asking for a way on");
        return;
    }
    const char *jump = login_hop_name(outer_hop), *name = login_hop_name(hop);
    if (words && strstr(words, "prohibited")) {
        login_fail(login, LINK_CAUSE_REFUSED,
            "the jump host %s does not forward connections to %s port %d (its sshd forbids it)",
            jump, hop->host, hop->port);
    } else {
        login_fail(login, LINK_CAUSE_NETWORK_DOWN,
            "the jump host %s cannot reach %s (%s port %d): refused, unknown there, or no "
            "route",
            jump, name, hop->host, hop->port);
    }
}

/* A link through the one before; NULL: the cause is set, `outer` stays the caller's. */
static struct ssh_link *reach_next(struct login *login, const struct ssh_hop *outer_hop,
    const struct ssh_hop *hop, struct ssh_link *outer)
{
    login_step(login, "connecting to %s (%s port %d) through %s", login_hop_name(hop),
        hop->host, hop->port, login_hop_name(outer_hop));
    struct ssh_link *link = calloc(1, sizeof *link);
    if (!link) {
        login_fail(login, LINK_CAUSE_FAILED, "out of memory");
        return NULL;
    }
    do {
        link->through = libssh2_channel_direct_tcpip_ex(
            outer->session, hop->host, hop->port, "127.0.0.1", 0);
    } while (
        !link->through && libssh2_session_last_errno(outer->session) == LIBSSH2_ERROR_EAGAIN);
    if (link->through) {
        link->transport = transport_create_channel(link->through, outer->transport);
    }
    if (!link->transport) {
        if (link->through) {
            login_fail(login, LINK_CAUSE_FAILED, "out of memory");
        } else {
            fail_channel(login, outer_hop, hop, outer);
        }
        free(link);
        return NULL;
    }
    transport_set_patience(outer->transport, NULL); /* the inner one waits for both */
    link->outer = outer;
    return link;
}

static int enter(struct login *login, const struct ssh_hop *hop, struct ssh_link *link)
{
    struct hostkey_book *book = hostkey_read(login, hop);
    if (!book) {
        return -1;
    }
    char order[256];
    hostkey_order(book, order, sizeof order);
    int code = handshake_run(login, hop, link, order);
    code = code ? code : hostkey_check(login, hop, link, book);
    hostkey_close(book);
    return code ? code : auth_run(login, hop, link);
}

/* From the thread to the loop: nothing waits any more, nothing points back here. */
static void hand_over(struct ssh_link *link)
{
    for (; link; link = link->outer) {
        transport_set_patience(link->transport, NULL);
        transport_set_context(link->transport, NULL);
    }
}

void login_run(struct login *login)
{
    struct ssh_link *link = NULL;
    bool failed = false;
    login_restart_step(login);
    for (size_t i = 0; i < login->hop_count && !failed; i++) {
        const struct ssh_hop *hop = login->hops[i];
        struct ssh_link *next =
            i ? reach_next(login, login->hops[i - 1], hop, link) : reach_first(login, hop);
        failed = !next || enter(login, hop, next);
        link = next ? next : link;
    }
    if (login->hop_count > 1) {
        login->result.address[0] = 0;
    }
    if (failed) {
        login_fail(login, LINK_CAUSE_FAILED, "the login failed"); /* if nobody said why */
        ssh_link_destroy(link);
        login->result.method[0] = 0;
        return;
    }
    transport_flush(link->transport);
    hand_over(link);
    login->result.link = link;
}
