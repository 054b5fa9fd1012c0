/* Files and private folders, the blocking way; gearsd calls this from its I/O thread. */
#include "common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/nonce.h"

int file_read(const char *path, size_t limit, char **data, size_t *length, struct error *err)
{
    int code = 0;
    char *buffer = NULL;
    size_t used = 0, capacity = 4096;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return error_errno(err, -errno, "cannot open %s", path);
    }
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        code = error_set(err, -EINVAL, "%s is not a regular file", path);
        goto out;
    }
    for (;;) {
        char *bigger = realloc(buffer, capacity + 1);
        if (!bigger) {
            code = error_errno(err, -ENOMEM, "cannot read %s", path);
            goto out;
        }
        buffer = bigger;
        ssize_t n = read(fd, buffer + used, capacity - used);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            code = error_errno(err, -errno, "cannot read %s", path);
            goto out;
        }
        if (n == 0) {
            break;
        }
        used += (size_t)n;
        if (used > limit) {
            code = error_set(err, -EFBIG, "%s is larger than %zu bytes", path, limit);
            goto out;
        }
        if (used == capacity) {
            capacity *= 2;
        }
    }
    buffer[used] = 0;
    *data = buffer;
    buffer = NULL;
    if (length) {
        *length = used;
    }
out:
    free(buffer);
    close(fd);
    return code;
}

static int write_all(int fd, const char *data, size_t length)
{
    while (length) {
        ssize_t n = write(fd, data, length);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? -errno : -EIO;
        }
        data += n;
        length -= (size_t)n;
    }
    return 0;
}

int file_sync_parent(const char *path, struct error *err)
{
    char copy[PATH_MAX];
    if (snprintf(copy, sizeof copy, "%s", path) >= (int)sizeof copy) {
        return error_set(err, -ENAMETOOLONG, "%s: path too long", path);
    }
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return error_errno(err, -errno, "cannot open the folder of %s", path);
    }
    int code = fsync(fd) ? -errno : 0;
    close(fd);
    /* Some filesystems cannot sync a folder (EINVAL): rename is all they promise. */
    return code && code != -EINVAL
               ? error_errno(err, code, "cannot sync the folder of %s", path)
               : 0;
}

int file_write_atomic(
    const char *path, const void *data, size_t length, mode_t mode, struct error *err)
{
    char temporary[PATH_MAX], tag[17];
    nonce_hex(tag, 8);
    if (snprintf(temporary, sizeof temporary, "%s.%s.tmp", path, tag) >=
        (int)sizeof temporary) {
        return error_set(err, -ENAMETOOLONG, "%s: path too long", path);
    }
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0) {
        return error_errno(err, -errno, "cannot create %s", temporary);
    }
    int code = write_all(fd, data, length);
    if (!code && (fchmod(fd, mode) || fsync(fd))) {
        code = -errno;
    }
    if (close(fd) && !code) {
        code = -errno; /* NFS reports a full quota here */
    }
    if (!code && rename(temporary, path)) {
        code = -errno;
    }
    if (code) {
        unlink(temporary);
        return error_errno(err, code, "cannot write %s", path);
    }
    return file_sync_parent(path, err);
}

int dir_check_private(const char *path, struct error *err)
{
    struct stat st;
    if (lstat(path, &st)) {
        return error_errno(err, -errno, "cannot look at %s", path);
    }
    if (!S_ISDIR(st.st_mode)) {
        return error_set(err, -EPERM, "%s is not a folder; move it away", path);
    }
    if (st.st_uid != geteuid()) {
        return error_set(err, -EPERM, "%s belongs to uid %u, not to you (uid %u); move it away",
            path, (unsigned)st.st_uid, (unsigned)geteuid());
    }
    if (st.st_mode & 077) {
        return error_set(err, -EPERM,
            "%s has mode %04o and is open to others; run: chmod 700 %s", path,
            (unsigned)st.st_mode & 07777, path);
    }
    return 0;
}

int dir_ensure_private(const char *path, struct error *err)
{
    if (mkdir(path, 0700) && errno != EEXIST) {
        return error_errno(err, -errno, "cannot make the folder %s", path);
    }
    return dir_check_private(path, err);
}

int dir_ensure_tree(const char *path, struct error *err)
{
    char copy[PATH_MAX];
    if (snprintf(copy, sizeof copy, "%s", path) >= (int)sizeof copy) {
        return error_set(err, -ENAMETOOLONG, "%s: path too long", path);
    }
    for (char *slash = copy + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        if (mkdir(copy, 0700) && errno != EEXIST && errno != EROFS && errno != EACCES) {
            return error_errno(err, -errno, "cannot make the folder %s", copy);
        }
        *slash = '/';
    }
    return dir_ensure_private(path, err);
}
