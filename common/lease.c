/* Leases: a record made beside and linked into place, so that exactly one of many wins. */
#include "common/lease.h"

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

void lease_path(const struct home *home, const char *cluster, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/run/%s.lease", home->root, cluster);
}

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

static void judge(const struct home *home, const struct record *record, struct lease_seen *seen)
{
    uint64_t start = (uint64_t)record_integer(record, "start_time", 0);
    record_copy(record, "host", seen->host, sizeof seen->host);
    record_copy(record, "nonce", seen->nonce, sizeof seen->nonce);
    record_copy(record, "node", seen->node, sizeof seen->node);
    if (!seen->host[0] || !seen->nonce[0]) {
        *seen = (struct lease_seen){.damaged = true};
        return;
    }
    if (!strchr(seen->node, '.')) {
        memcpy(seen->node, seen->host, sizeof seen->node);
    }
    seen->pid = (pid_t)record_integer(record, "pid", 0);
    seen->here = !strcmp(seen->host, home->host);
    seen->rebooted =
        seen->here && !string_equal(record_find(record, "boot_id", 0), home->boot_id);
    seen->alive = !seen->here || (!seen->rebooted && proc_is_alive(seen->pid, start));
    seen->own = seen->here && seen->alive && seen->pid == getpid();
}

int lease_look(const struct home *home, const char *path, struct lease_seen *seen)
{
    struct record *record = NULL;
    *seen = (struct lease_seen){0};
    int code = record_load(path, &record, NULL);
    if (!code) {
        judge(home, record, seen);
    }
    record_destroy(record);
    if (code == -EBADMSG) {
        seen->damaged = true;
        code = 0;
    }
    return code;
}

/* Only one process of this host at a time buries a dead lease: an abstract socket is the lock
 * (freed by the kernel with its holder). Who squats there delays, and never prevents. */
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

bool lease_bury(const struct home *home, const char *path, const char *nonce)
{
    struct lease_seen again;
    int lock = lock_burials();
    bool gone = !lease_look(home, path, &again) && !again.alive &&
                !strcmp(again.nonce, nonce) && !unlink(path);
    if (lock >= 0) {
        close(lock);
    }
    return gone;
}

/* Whose the file is: 0: this process's, which `lease` is then; 1: another's that lives; -EBUSY:
 * nobody's; another negative errno: it cannot be told. */
static int find_holder(
    const struct home *home, struct lease *lease, struct lease_seen *by, struct error *err)
{
    int code = lease_look(home, lease->path, by);
    if (code) {
        return code == -ENOENT ? -EBUSY : error_errno(err, code, "cannot read %s", lease->path);
    }
    if (by->own || !strcmp(by->nonce, lease->nonce)) {
        memcpy(lease->nonce, by->nonce, sizeof lease->nonce);
        return 0;
    }
    if (by->alive) {
        error_set(err, -EEXIST, "pid %d on %s holds it", (int)by->pid, by->host);
        return 1;
    }
    return -EBUSY;
}

/* link(2) says that a file stands there, which may be ours: its reply may have been lost on the
 * way from an NFS server, and been sent for again. As find_holder; -EBUSY: free now. */
static int settle(
    const struct home *home, struct lease *lease, struct lease_seen *by, struct error *err)
{
    int code = find_holder(home, lease, by, err);
    if (code == -EBUSY && (by->nonce[0] || by->damaged)) {
        lease_bury(home, lease->path, by->nonce);
    }
    return code;
}

int lease_acquire(const struct home *home, const char *path, struct lease *lease,
    struct lease_seen *by, struct error *err)
{
    char beside[PATH_MAX + 64];
    struct lease_seen seen;
    by = by ? by : &seen;
    snprintf(lease->path, sizeof lease->path, "%s", path);
    nonce_make(lease->nonce);
    int code = find_holder(home, lease, by, err); /* on a full disk, too */
    if (code != -EBUSY) {
        return code;
    }
    code = write_beside(home, lease, beside, sizeof beside, err);
    if (code) {
        return code;
    }
    code = -EBUSY;
    for (int i = 0; i < TRIES && code == -EBUSY; i++) {
        if (!link(beside, path)) {
            code = 0;
        } else if (errno == EEXIST) {
            code = settle(home, lease, by, err);
        } else {
            code = error_errno(err, -errno, "cannot take %s", path);
        }
    }
    if (code == -EBUSY) {
        error_set(err, code, "cannot take %s: it comes and goes", path);
    }
    unlink(beside);
    return code;
}

/* The same nonce again, so that whatever comes of it leaves the lease ours. */
static int renew(const struct home *home, const struct lease *lease, struct error *err)
{
    char beside[PATH_MAX + 64];
    int code = write_beside(home, lease, beside, sizeof beside, err);
    if (!code && rename(beside, lease->path)) {
        code = error_errno(err, -errno, "cannot write %s", lease->path);
        unlink(beside);
    }
    return code;
}

int lease_keep(
    const struct home *home, struct lease *lease, struct lease_seen *by, struct error *err)
{
    struct lease_seen seen;
    struct lease again;
    int code = lease->nonce[0] ? lease_look(home, lease->path, &seen) : -ENOENT;
    if (!code && !strcmp(seen.nonce, lease->nonce)) {
        if (!seen.own) {
            renew(home, lease, NULL); /* where it cannot be written it is ours all the same */
        }
        return 0;
    }
    if (code && code != -ENOENT) {
        return error_errno(err, code, "cannot read %s", lease->path);
    }
    code = lease_acquire(home, lease->path, &again, by, err);
    if (!code) {
        *lease = again;
    }
    return code;
}

int lease_take_over(
    const struct home *home, const char *path, struct lease *lease, struct error *err)
{
    struct lease taken;
    snprintf(taken.path, sizeof taken.path, "%s", path);
    nonce_make(taken.nonce);
    int code = renew(home, &taken, err);
    if (code && lease_is_held(&taken) == 1) {
        code = 0; /* only the reply was lost on its way */
    }
    if (!code) {
        *lease = taken;
        (void)file_sync_parent(path, NULL); /* it is ours now, whatever the next crash leaves */
    }
    return code;
}

int lease_is_held(const struct lease *lease)
{
    struct record *record = NULL;
    int code = record_load(lease->path, &record, NULL);
    if (!code) {
        code = string_equal(record_find(record, "nonce", 0), lease->nonce);
    }
    record_destroy(record);
    return code;
}

void lease_release(struct lease *lease)
{
    if (lease->nonce[0] && lease_is_held(lease) == 1) {
        unlink(lease->path);
    }
}
