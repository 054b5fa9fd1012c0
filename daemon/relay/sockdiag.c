/* Who connected to a loopback port: the kernel's socket table, asked by netlink. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/relay/relay.h"

static int netlink = -1;

struct question {
    struct nlmsghdr header;
    struct inet_diag_req_v2 body;
};

/* The client's end: its local address is our peer address, and the other way round. */
static int make_question(int fd, struct question *question)
{
    static uint32_t sequence;
    struct sockaddr_in mine, theirs;
    socklen_t length = sizeof mine;
    if (getsockname(fd, (struct sockaddr *)&mine, &length)) {
        return -errno;
    }
    length = sizeof theirs;
    if (getpeername(fd, (struct sockaddr *)&theirs, &length)) {
        return -errno;
    }
    *question = (struct question){.header = {.nlmsg_len = sizeof *question,
                                      .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                                      .nlmsg_flags = NLM_F_REQUEST,
                                      .nlmsg_seq = ++sequence},
        .body = {.sdiag_family = AF_INET, .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0u}};
    question->body.id.idiag_sport = theirs.sin_port;
    question->body.id.idiag_dport = mine.sin_port;
    question->body.id.idiag_src[0] = theirs.sin_addr.s_addr;
    question->body.id.idiag_dst[0] = mine.sin_addr.s_addr;
    question->body.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
    question->body.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    return 0;
}

/* The kernel answers within send, so there is nothing to wait for. */
static int read_answer(uint32_t sequence)
{
    union {
        struct nlmsghdr header;
        char bytes[4096];
    } answer;
    ssize_t n;
    do {
        n = recv(netlink, &answer, sizeof answer, MSG_DONTWAIT);
        if (n < 0) {
            return -errno;
        }
    } while (n < (ssize_t)NLMSG_HDRLEN || answer.header.nlmsg_seq != sequence);
    if (answer.header.nlmsg_type != SOCK_DIAG_BY_FAMILY ||
        n < (ssize_t)(NLMSG_HDRLEN + sizeof(struct inet_diag_msg))) {
        return -EACCES; /* it is gone already */
    }
    struct inet_diag_msg found;
    memcpy(&found, NLMSG_DATA(&answer.header), sizeof found);
    /* Nobody's socket any more (inode 0) is told as root's. */
    return found.idiag_inode && found.idiag_uid == geteuid() ? 0 : -EACCES;
}

int sockdiag_open(void)
{
    if (netlink < 0) {
        netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    }
    return netlink < 0 ? -errno : 0;
}

int sockdiag_check_peer(int fd)
{
    struct question question;
    if (make_question(fd, &question)) {
        return -EACCES; /* it is gone already */
    }
    if (send(netlink, &question, sizeof question, 0) != (ssize_t)sizeof question) {
        return -errno;
    }
    return read_answer(question.header.nlmsg_seq);
}
