/* Leases: a record made beside and linked into place, so that exactly one of many wins. */
#include "daemon/core/lease.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "common/file.h"
#include "common/proc.h"
#include "common/record.h"
#include "common/text.h"

enum { TRIES = 50, PAUSE_NS = 10000000 };

static int write_beside(const struct home *home, const struct lease *lease, char *beside,
    size_t size, struct error *err)
{
    struct proc_stat self;
    struct utsname uts;
    struct record *record = record_create();
    int code = record ? proc_stat_read(getpid(), &self) : -ENOMEM;
    if (!code) {
        record_add(record, "host", home->host);
        record_add(record, "boot_id", home->boot_id);
        record_add(record, "node", uname(&uts) ? "" : uts.nodename);
        record_add_integer(record, "pid", getpid());
        record_add_integer(record, "start_time", (int64_t)self.start_time);
        record_add(record, "nonce", lease->nonce);
        snprintf(beside, size, "%s.%s", lease->path, lease->nonce);
        code = record_store(record, beside, err);
    } else {
        error_errno(err, code, "cannot take %s", lease->path);
    }
    record_destroy(record);
    return code;
}

/* 1: its holder may live; 0: it is dead; -ENOENT: gone; the nonce tells which lease was judged.
 */
static int judge(
    const struct home *home, const char *path, char nonce[NONCE_TEXT_SIZE], struct error *err)
{
    struct record *record = NULL;
    int code = record_load(path, &record, NULL);
    if (code == -ENOENT) {
        return code;
    }
    nonce[0] = 0;
    if (code) {
        return 0; /* link(2) publishes whole files only: damaged means nobody's */
    }
    const char *host = record_find(record, "host", 0),
               *boot = record_find(record, "boot_id", 0);
    const char *text = record_find(record, "nonce", 0);
    pid_t pid = (pid_t)record_integer(record, "pid", 0);
    snprintf(nonce, NONCE_TEXT_SIZE, "%s", text ? text : "");
    bool here = string_equal(host, home->host);
    bool alive =
        !here || (string_equal(boot, home->boot_id) &&
                     proc_is_alive(pid, (uint64_t)record_integer(record, "start_time", 0)));
    if (alive) {
        error_set(err, -EEXIST, "pid %d on %s holds it", (int)pid, host ? host : "?");
    }
    record_destroy(record);
    return alive;
}

/* Only one process of this host at a time buries a dead lease: an abstract socket is the lock
 * (freed by the kernel with its holder). Somebody else's squatting delays, and never prevents.
 */
static int lock_burials(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int n = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "gears-lease-%u",
        (unsigned)geteuid());
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    for (int i = 0; fd >= 0 && i < TRIES; i++) {
        if (!bind(fd, (struct sockaddr *)&address, length)) {
            break;
        }
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    }
    return fd;
}

static void bury(const struct home *home, const char *path, const char *judged)
{
    char again[NONCE_TEXT_SIZE];
    int lock = lock_burials();
    if (judge(home, path, again, NULL) == 0 && !strcmp(again, judged)) {
        unlink(path);
    }
    if (lock >= 0) {
        close(lock);
    }
}

int lease_acquire(
    const struct home *home, const char *path, struct lease *lease, struct error *err)
{
    char beside[PATH_MAX + 64], judged[NONCE_TEXT_SIZE];
    snprintf(lease->path, sizeof lease->path, "%s", path);
    nonce_make(lease->nonce);
    int code = write_beside(home, lease, beside, sizeof beside, err);
    if (code) {
        return code;
    }
    code = -EBUSY;
    for (int i = 0; i < TRIES && code == -EBUSY; i++) {
        if (!link(beside, path)) {
            code = 0;
        } else if (errno != EEXIST) {
            code = error_errno(err, -errno, "cannot take %s", path);
        } else {
            int alive = judge(home, path, judged, err);
            if (alive == 1) {
                code = 1;
            } else if (alive == 0) {
                bury(home, path, judged);
            }
        }
    }
    unlink(beside);
    return code;
}

int lease_holder(const char *path, char host[HOST_NAME_SIZE], char node[HOST_NAME_SIZE])
{
    struct record *record = NULL;
    host[0] = node[0] = 0;
    int code = record_load(path, &record, NULL);
    if (!code) {
        const char *text = record_find(record, "host", 0);
        snprintf(host, HOST_NAME_SIZE, "%s", text ? text : "");
        text = record_find(record, "node", 0);
        snprintf(node, HOST_NAME_SIZE, "%s", text && strchr(text, '.') ? text : host);
    }
    record_destroy(record);
    return code;
}

int lease_take_over(
    const struct home *home, const char *path, struct lease *lease, struct error *err)
{
    char beside[PATH_MAX + 64];
    snprintf(lease->path, sizeof lease->path, "%s", path);
    nonce_make(lease->nonce);
    int code = write_beside(home, lease, beside, sizeof beside, err);
    if (!code && rename(beside, path)) {
        code = error_errno(err, -errno, "cannot take %s", path);
        unlink(beside);
    }
    return code ? code : file_sync_parent(path, err);
}

int lease_is_held(const struct lease *lease)
{
    struct record *record = NULL;
    if (record_load(lease->path, &record, NULL)) {
        return 0;
    }
    int held = string_equal(record_find(record, "nonce", 0), lease->nonce);
    record_destroy(record);
    return held;
}

void lease_release(struct lease *lease)
{
    if (lease_is_held(lease)) {
        unlink(lease->path);
    }
}
