/* How patient the kernel is with the connections of our ssh and of its jump hosts: no less than
 * dead_after, as in session.c, or it would give a silent connection up after a quarter of an
 * hour. Their sockets are borrowed for a moment (pidfd_getfd, Linux 5.6); where that is not
 * allowed, they stay as they are. Called by openssh.c when the login is over. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/proc.h"
#include "daemon/tunnel/openssh_private.h"

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438 /* on all architectures */
#endif
#ifndef TCP_RTO_MAX_MS
#define TCP_RTO_MAX_MS 44 /* Linux 6.15; elsewhere refused, and then nothing is lost */
#endif

/* LEAST_RTO_MS: the least that TCP_RTO_MAX_MS takes. */
enum { MARGIN_MS = 60000, LEAST_RTO_MS = 1000 };

static bool is_tcp(int fd)
{
    int domain = 0, type = 0;
    socklen_t size = sizeof domain;
    return !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) &&
           (domain == AF_INET || domain == AF_INET6) &&
           !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) && type == SOCK_STREAM;
}

static void set_up(int fd, unsigned patience_ms)
{
    int on = 1, rto = LEAST_RTO_MS;
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms, sizeof patience_ms);
    setsockopt(fd, IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_RTO_MAX_MS, &rto, sizeof rto);
}

/* Each connection of a process. */
static void set_up_process(pid_t pid, unsigned patience_ms)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    int handle = (int)syscall(SYS_pidfd_open, pid, 0);
    DIR *dir = handle >= 0 ? opendir(path) : NULL;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        int number = atoi(entry->d_name); /* of "." and "..": 0, which is no connection */
        int fd = (int)syscall(SYS_pidfd_getfd, handle, number, 0);
        if (fd >= 0) {
            if (is_tcp(fd)) {
                set_up(fd, patience_ms);
            }
            close(fd);
        }
    }
    if (dir) {
        closedir(dir);
    }
    if (handle >= 0) {
        close(handle);
    }
}

void openssh_sockets_set_up(const struct openssh *openssh)
{
    const struct tunnel *tunnel = openssh->tunnel;
    struct proc_list jumps = {0};
    int64_t patience = tunnel->dead_after_ms + tunnel->keepalive_ms * tunnel->keepalive_count;
    unsigned ms = tunnel->dead_after_ms && patience < INT_MAX - MARGIN_MS
                      ? (unsigned)patience + MARGIN_MS
                      : INT_MAX;
    set_up_process(openssh->pid, ms);
    proc_list_descendants(openssh->pid, &jumps);
    for (size_t i = 0; i < jumps.count; i++) {
        set_up_process(jumps.items[i].pid, ms);
    }
    free(jumps.items);
}
