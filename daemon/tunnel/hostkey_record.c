/* Writes to the user's known_hosts, beside OpenSSH that does so too. Called by hostkey.c. */
#include "daemon/tunnel/hostkey_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/text.h"
#include "daemon/tunnel/known_hosts.h"

/* Only the last folder: a home that is not there is not ours to make. */
static int make_folder(const char *path, struct error *err)
{
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path) {
        return 0;
    }
    char *folder = strndup(path, (size_t)(slash - path));
    int code = folder ? 0 : -ENOMEM;
    if (!code && mkdir(folder, 0700) && errno != EEXIST) {
        code = error_errno(err, -errno, "cannot make %s", folder);
    }
    free(folder);
    return code;
}

/* A file whose last line was torn gets a newline first. */
static bool ends_in_line(int fd)
{
    struct stat st;
    char last = '\n';
    return !fstat(fd, &st) && st.st_size > 0 && pread(fd, &last, 1, st.st_size - 1) == 1 &&
           last != '\n';
}

static int append(int fd, const char *path, const char *line, struct error *err)
{
    struct text text = {0};
    text_printf(&text, "%s%s", ends_in_line(fd) ? "\n" : "", line);
    struct stat before;
    int code = text.failed ? -ENOMEM : fstat(fd, &before) ? -errno : 0;
    if (!code) {
        ssize_t n = write(fd, text_string(&text), text.length);
        code = n < 0 ? -errno : (size_t)n < text.length ? -ENOSPC : 0;
        if (n > 0 && code && ftruncate(fd, before.st_size)) {
            code = -errno; /* half a line stays: it is read as none */
        }
    }
    text_finish(&text);
    return code ? error_errno(err, code, "cannot write %s", path) : 0;
}

int hostkey_record(const char *path, const char *name, const uint8_t *blob, size_t blob_length,
    struct error *err)
{
    char *line = known_hosts_line(name, blob, blob_length);
    if (!line) {
        return error_errno(err, -ENOMEM, "cannot record a host key");
    }
    int code = make_folder(path, err);
    int fd = -1;
    if (!code) {
        fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
        code = fd < 0 ? error_errno(err, -errno, "cannot open %s", path) : 0;
    }
    code = code ? code : append(fd, path, line, err);
    if (fd >= 0 && close(fd) && !code) {
        code = error_errno(err, -errno, "cannot write %s", path);
    }
    free(line);
    return code;
}
