/* doctor's check of run/CLUSTER.lease: which hub has the right to run/CLUSTER.sck, and whether
 * that one still lives, as far as this host may judge. */
#include <errno.h>
#include <glob.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/doctor.h"
#include "common/nonce.h"
#include "common/proc.h"
#include "common/record.h"

/* Only one process of this host at a time removes a dead lease: gearsd takes the same lock (an
 * abstract socket, see daemon/core/lease.c). */
static int lock_burials(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int n = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "gears-lease-%u",
        (unsigned)geteuid());
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, length)) {
        close(fd);
        return -1;
    }
    return fd;
}

struct lease {
    char host[HOST_NAME_SIZE], nonce[NONCE_TEXT_SIZE]; /* "" when it is damaged */
    bool here, alive;
    int pid;
};

/* link(2) publishes whole leases only, so a damaged one is nobody's. 0 or −ENOENT. */
static int load_lease(const struct home *home, const char *path, struct lease *lease)
{
    struct record *record = NULL;
    *lease = (struct lease){0};
    int code = record_load(path, &record, NULL);
    if (code) {
        return code == -EBADMSG ? 0 : code;
    }
    const char *host = record_find(record, "host", 0), *nonce = record_find(record, "nonce", 0);
    lease->pid = (int)record_integer(record, "pid", 0);
    snprintf(lease->host, sizeof lease->host, "%s", host ? host : "");
    snprintf(lease->nonce, sizeof lease->nonce, "%s", nonce ? nonce : "");
    lease->here = string_equal(host, home->host);
    lease->alive = lease->here &&
                   string_equal(record_find(record, "boot_id", 0), home->boot_id) &&
                   proc_is_alive(lease->pid, (uint64_t)record_integer(record, "start_time", 0));
    record_destroy(record);
    return 0;
}

/* Whether it is still the dead lease that was judged, and is gone now. */
static bool bury(const struct home *home, const char *path, const struct lease *judged)
{
    struct lease again;
    int lock = lock_burials();
    bool done = lock >= 0 && !load_lease(home, path, &again) && !again.alive &&
                !strcmp(again.host, judged->host) && !strcmp(again.nonce, judged->nonce) &&
                !unlink(path);
    if (lock >= 0) {
        close(lock);
    }
    return done;
}

/* Whether a gearsd to come takes the lease again: its hop lives, or is wanted. */
static bool is_needed(struct doctor *doctor, const char *cluster)
{
    char path[PATH_MAX];
    struct record *record = NULL;
    pid_t pid = home_path(&doctor->cli->home, path, "run", "link/t-%s.sck", cluster)
                    ? 0
                    : doctor_listener(path, SOCK_SEQPACKET);
    bool needed = pid > 0 || pid == -EAGAIN;
    if (!needed && !home_path(&doctor->cli->home, path, "state", "hop/%s.rec", cluster) &&
        !record_load(path, &record, NULL)) {
        needed = record_integer(record, "wanted", 0) != 0;
    }
    record_destroy(record);
    return needed;
}

static void judge_lease(struct doctor *doctor, const char *path, const char *cluster)
{
    struct lease lease;
    char remedy[PATH_MAX + 16], holder[HOST_NAME_SIZE + 40];
    if (load_lease(&doctor->cli->home, path, &lease) || lease.alive) {
        return;
    }
    snprintf(holder, sizeof holder, "%s, pid %d", lease.host, lease.pid);
    if (lease.host[0] && !lease.here) {
        doctor_note(doctor,
            "run/%s.sck is the matter of %s, as far as can be told from here; to serve it on "
            "this host: gearsctl takeover %s",
            cluster, lease.host, cluster);
    } else if (lease.here && is_needed(doctor, cluster)) {
        doctor_note(doctor, "the gearsd that held %s ended (%s); the next one takes it again",
            path, holder);
    } else {
        snprintf(remedy, sizeof remedy, "rm %s", path);
        bool fixed = doctor->fix && bury(&doctor->cli->home, path, &lease);
        (fixed ? doctor_fixed : doctor_find)(doctor, remedy,
            "%s keeps other hubs from run/%s.sck, and its holder is dead (%s)", path, cluster,
            lease.host[0] ? holder : "damaged");
    }
}

void check_hop_leases(struct doctor *doctor)
{
    char pattern[PATH_MAX];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/run/*.lease", doctor->cli->home.root);
    if (glob(pattern, 0, NULL, &found)) {
        return;
    }
    for (size_t i = 0; i < found.gl_pathc; i++) {
        char cluster[NAME_MAX + 1];
        snprintf(cluster, sizeof cluster, "%s", strrchr(found.gl_pathv[i], '/') + 1);
        cluster[strlen(cluster) - strlen(".lease")] = 0;
        if (!name_check(cluster, NULL)) {
            judge_lease(doctor, found.gl_pathv[i], cluster);
        }
    }
    globfree(&found);
}
