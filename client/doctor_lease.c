/* doctor's check of run/CLUSTER.lease: which hub has the right to run/CLUSTER.sck, and whether
 * that one still lives, as far as this host may judge. */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "client/doctor.h"
#include "common/lease.h"
#include "common/record.h"

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
    struct lease_seen lease;
    char remedy[PATH_MAX + 16], holder[HOST_NAME_SIZE + 40];
    if (lease_look(&doctor->cli->home, path, &lease) || (lease.here && lease.alive)) {
        return;
    }
    snprintf(holder, sizeof holder, "%s, pid %d", lease.host, (int)lease.pid);
    if (!lease.damaged && !lease.here) {
        doctor_note(doctor,
            "run/%s.sck is the matter of %s, as far as can be told from here; to serve it on "
            "this host: gearsctl takeover %s",
            cluster, lease.host, cluster);
    } else if (lease.here && is_needed(doctor, cluster)) {
        doctor_note(doctor, "the gearsd that held %s ended (%s); the next one takes it again",
            path, holder);
    } else {
        snprintf(remedy, sizeof remedy, "rm %s", path);
        bool fixed = doctor->fix && lease_bury(&doctor->cli->home, path, lease.nonce);
        (fixed ? doctor_fixed : doctor_find)(doctor, remedy,
            "%s keeps other hubs from run/%s.sck, and its holder is dead (%s)", path, cluster,
            lease.damaged ? "damaged" : holder);
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
