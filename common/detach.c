/* Leaving the one who started a helper; gears-keeper and gears-relay do so before all else. */
#include "common/detach.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DESCRIPTORS = 1024 };

void detach(int keep)
{
    if (fork() != 0) {
        _exit(0);
    }
    setsid();
    if (fork() != 0) {
        _exit(0);
    }
    (void)!chdir("/");
    umask(077);
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++) {
        dup2(null, fd);
    }
    for (int fd = 3; fd < DESCRIPTORS; fd++) {
        if (fd != keep) {
            close(fd);
        }
    }
    fcntl(keep, F_SETFD, FD_CLOEXEC);
}
