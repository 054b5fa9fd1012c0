/* Who connected to a loopback port: the kernel's socket table, asked by netlink. */
#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/relay/relay.h"

struct question {
    struct nlmsghdr header;
    struct inet_diag_req_v2 body;
};

/* The client's end: its local address is our peer address, and the other way round. */
static int make_question(int fd, struct question *question)
{
    struct sockaddr_in mine, theirs;
    socklen_t length = sizeof mine;
    if (getsockname(fd, (struct sockaddr *)&mine, &length)) {
        return -1;
    }
    length = sizeof theirs;
    if (getpeername(fd, (struct sockaddr *)&theirs, &length)) {
        return -1;
    }
    *question = (struct question){.header = {.nlmsg_len = sizeof *question,
                                      .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                                      .nlmsg_flags = NLM_F_REQUEST},
        .body = {.sdiag_family = AF_INET, .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0u}};
    question->body.id.idiag_sport = theirs.sin_port;
    question->body.id.idiag_dport = mine.sin_port;
    question->body.id.idiag_src[0] = theirs.sin_addr.s_addr;
    question->body.id.idiag_dst[0] = mine.sin_addr.s_addr;
    question->body.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
    question->body.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    return 0;
}

long sockdiag_peer_uid(int fd)
{
    struct question question;
    union {
        struct nlmsghdr header;
        char bytes[4096];
    } answer;
    long uid = -1;
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    struct timeval patience = {.tv_sec = 1};
    if (netlink < 0 || make_question(fd, &question)) {
        goto out;
    }
    setsockopt(netlink, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (send(netlink, &question, sizeof question, 0) != (ssize_t)sizeof question) {
        goto out;
    }
    ssize_t n = recv(netlink, &answer, sizeof answer, 0);
    if (n >= (ssize_t)(NLMSG_HDRLEN + sizeof(struct inet_diag_msg)) &&
        answer.header.nlmsg_type == SOCK_DIAG_BY_FAMILY) {
        struct inet_diag_msg found;
        memcpy(&found, NLMSG_DATA(&answer.header), sizeof found);
        uid = (long)found.idiag_uid;
    }
out:
    if (netlink >= 0) {
        close(netlink);
    }
    return uid;
}
