/* Unix socket helpers used on every control, link and service socket. */
#include "common/unixsock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/nonce.h"

int unix_address(struct sockaddr_un *address, const char *path, struct error *err)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length >= sizeof address->sun_path) {
        return error_set(err, -ENAMETOOLONG,
            "the socket path %s has %zu bytes and the kernel allows %zu; set GEARS_HOME to a "
            "shorter path",
            path, length, sizeof address->sun_path - 1);
    }
    memcpy(address->sun_path, path, length + 1);
    return 0;
}

int unix_connect(const char *path, int type, bool nonblock, struct error *err)
{
    struct sockaddr_un address;
    int code = unix_address(&address, path, err);
    if (code) {
        return code;
    }
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | (nonblock ? SOCK_NONBLOCK : 0), 0);
    if (fd < 0) {
        return error_errno(err, -errno, "cannot make a socket");
    }
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
        code = -errno;
        close(fd);
        return error_errno(err, code, "cannot connect to %s", path);
    }
    return fd;
}

int unix_listen(const char *path, int type, int backlog, struct error *err)
{
    struct sockaddr_un address;
    char beside[sizeof address.sun_path + 16], tag[5];
    int code = unix_address(&address, path, err);
    if (code) {
        return code;
    }
    nonce_hex(tag, 2);
    snprintf(beside, sizeof beside, "%s.%s", path, tag);
    /* A path that just fits leaves no room for the temporary name: bind in place instead. */
    bool in_place = strlen(beside) >= sizeof address.sun_path;
    const char *bound = in_place ? path : beside;
    code = unix_address(&address, bound, err);
    if (code) {
        return code;
    }
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return error_errno(err, -errno, "cannot make a socket");
    }
    unlink(bound);
    mode_t old = umask(0177);
    int bad = bind(fd, (struct sockaddr *)&address, sizeof address);
    code = bad ? -errno : 0;
    umask(old);
    if (!code && listen(fd, backlog)) {
        code = -errno;
    }
    if (!code && !in_place && rename(beside, path)) {
        code = -errno;
    }
    if (code) {
        if (!bad) {
            unlink(bound);
        }
        close(fd);
        return error_errno(err, code, "cannot listen on %s", path);
    }
    return fd;
}

int unix_peer(int fd, struct ucred *peer)
{
    socklen_t length = sizeof *peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &length) ? -errno : 0;
}

int unix_accept_same_uid(int listener, uid_t *peer_uid)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        return -errno;
    }
    struct ucred peer = {.uid = (uid_t)-1};
    int code = unix_peer(fd, &peer);
    if (peer_uid) {
        *peer_uid = peer.uid;
    }
    if (code || peer.uid != geteuid()) {
        close(fd);
        return -EACCES;
    }
    return fd;
}

int unix_file_note(const char *path, struct unix_file *file)
{
    struct stat st;
    int code = lstat(path, &st) ? -errno : 0;
    *file = code ? (struct unix_file){0} : (struct unix_file){st.st_dev, st.st_ino};
    return code;
}

int unix_file_look(const char *path, const struct unix_file *file)
{
    struct unix_file now;
    int code = unix_file_note(path, &now);
    bool ours = file->inode && now.inode == file->inode && now.dev == file->dev;
    return code ? code : ours ? 0 : -EEXIST;
}

void unix_file_remove(const char *path, struct unix_file *file)
{
    if (file->inode && !unix_file_look(path, file)) {
        unlink(path);
    }
    *file = (struct unix_file){0};
}
