/* The private folder of one ssh: its configuration, its control socket, its sockets for
 * targets, and ours for askpass. What a killed tunnel of the same cluster left is removed
 * before. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "common/unixsock.h"
#include "daemon/tunnel/openssh_private.h"

enum { TAG = 6 }; /* of the tunnel's nonce */

void openssh_folder_path(const struct openssh *openssh, const char *name, char out[64])
{
    snprintf(out, 64, "/proc/self/fd/%d/%s", openssh->folder_fd, name);
}

static void empty(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            unlinkat(fd, entry->d_name, 0);
        }
    }
    if (dir) {
        closedir(dir);
    } else if (copy >= 0) {
        close(copy);
    }
}

/* Its tunnel listens at "ask" until the login is over; one that lives longer makes its folder
 * again. */
static void remove_dead(int parent, const char *name)
{
    char path[64];
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d/ask", fd);
    int peer = unix_connect(path, SOCK_SEQPACKET, true, NULL);
    if (peer == -ECONNREFUSED || peer == -ENOENT) {
        empty(fd);
        unlinkat(parent, name, AT_REMOVEDIR);
    } else if (peer >= 0) {
        close(peer);
    }
    close(fd);
}

static void remove_dead_ones(int parent, const char *prefix)
{
    int copy = fcntl(parent, F_DUPFD_CLOEXEC, 3);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    size_t length = strlen(prefix);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        const char *tag = entry->d_name + length;
        if (!strncmp(entry->d_name, prefix, length) && strlen(tag) == TAG &&
            strspn(tag, "0123456789abcdef") == TAG) {
            remove_dead(parent, entry->d_name);
        }
    }
    if (dir) {
        closedir(dir);
    } else if (copy >= 0) {
        close(copy);
    }
}

int openssh_folder_make(struct openssh *openssh, struct error *err)
{
    const struct tunnel *tunnel = openssh->tunnel;
    char prefix[64], parent[PATH_MAX];
    snprintf(prefix, sizeof prefix, "x-%s.", tunnel->cluster);
    snprintf(parent, sizeof parent, "%s", tunnel->link_path);
    char *slash = strrchr(parent, '/');
    if (!slash) {
        return error_set(err, -EINVAL, "no folder for the sockets of ssh");
    }
    *slash = 0;
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return error_errno(err, -errno, "cannot open %s", parent);
    }
    remove_dead_ones(fd, prefix);
    close(fd);
    snprintf(openssh->folder, sizeof openssh->folder, "%.3000s/%s%.*s", parent, prefix, TAG,
        tunnel->nonce);
    int code = dir_ensure_private(openssh->folder, err);
    if (code) {
        openssh->folder[0] = 0;
        return code;
    }
    openssh->folder_fd = open(openssh->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return openssh->folder_fd >= 0
               ? 0
               : error_errno(err, -errno, "cannot open %s", openssh->folder);
}

int openssh_folder_keep(struct openssh *openssh, struct error *err)
{
    struct stat ours, there;
    if (!fstat(openssh->folder_fd, &ours) && !lstat(openssh->folder, &there) &&
        ours.st_dev == there.st_dev && ours.st_ino == there.st_ino) {
        return 0;
    }
    int code = dir_ensure_private(openssh->folder, err);
    if (code) {
        return code;
    }
    int fd = open(openssh->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return error_errno(err, -errno, "cannot open %s", openssh->folder);
    }
    close(openssh->folder_fd);
    openssh->folder_fd = fd;
    openssh->remade = true;
    return 0;
}

void openssh_folder_remove(struct openssh *openssh)
{
    if (openssh->folder_fd >= 0) {
        empty(openssh->folder_fd);
        close(openssh->folder_fd);
        openssh->folder_fd = -1;
    }
    if (openssh->folder[0]) {
        rmdir(openssh->folder);
    }
}
