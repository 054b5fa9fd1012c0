/* doctor's check of processes that nobody can reach: helpers without a socket of their own. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/doctor.h"
#include "common/clock.h"
#include "common/proc.h"

enum { PEERS_MOST = 4096, FOUND_MOST = 64, YOUNG_MS = 5000, AGAIN_MS = 300 };

/* Who serves this home's link sockets. */
struct peers {
    pid_t items[PEERS_MOST];
    size_t count;
    bool unsure; /* one is so busy that it cannot be told who it is */
    bool relay;  /* a relay answers */
};

static void find_peers(struct doctor *doctor, struct peers *peers)
{
    char folder[PATH_MAX], path[PATH_MAX + 300];
    DIR *dir = home_path(&doctor->cli->home, folder, "run", "link") ? NULL : opendir(folder);
    peers->count = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        bool relay = !strcmp(entry->d_name, "relay.sck");
        if (!relay && strncmp(entry->d_name, "k-", 2) != 0 &&
            strncmp(entry->d_name, "t-", 2) != 0) {
            continue;
        }
        pid_t pid = doctor_listener(path, SOCK_SEQPACKET);
        peers->unsure = peers->unsure || pid == -EAGAIN || peers->count == PEERS_MOST;
        peers->relay = peers->relay || (relay && pid > 0);
        if (pid > 0 && peers->count < PEERS_MOST) {
            peers->items[peers->count++] = pid;
        }
    }
    if (dir) {
        closedir(dir);
    }
}

static bool is_peer(const struct peers *peers, pid_t pid)
{
    for (size_t i = 0; i < peers->count; i++) {
        if (peers->items[i] == pid) {
            return true;
        }
    }
    return false;
}

/* A process of ours by the name of a helper that serves none of the sockets. */
struct stray {
    struct proc_stat stat;
    enum { OURS, UNKNOWN } home; /* a tunnel shows its environment to nobody */
};

static bool is_helper(const struct proc_stat *stat)
{
    return (!strcmp(stat->comm, "gears-tunnel") || !strcmp(stat->comm, "gears-relay") ||
               !strcmp(stat->comm, "gears-keeper")) &&
           stat->state != 'Z' && stat->state != 'X';
}

/* /proc/PID itself belongs to root when the process is not dumpable. */
static bool is_mine(pid_t pid)
{
    char path[64], line[256];
    unsigned uid = 0;
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file && !found && fgets(line, sizeof line, file)) {
        found = sscanf(line, "Uid: %u", &uid) == 1;
    }
    if (file) {
        fclose(file);
    }
    return found && uid == geteuid();
}

/* It has just begun, and may not have made its socket yet. */
static bool is_young(const struct proc_stat *stat)
{
    int64_t ticks = sysconf(_SC_CLK_TCK);
    return clock_boot_ms() - (int64_t)stat->start_time * 1000 / (ticks > 0 ? ticks : 100) <
           YOUNG_MS;
}

/* A container that shares our /proc, perhaps: another host, as far as names go. */
static bool is_elsewhere(pid_t pid)
{
    char path[64], own[64] = "", other[64] = "";
    snprintf(path, sizeof path, "/proc/%d/ns/uts", (int)pid);
    return readlink("/proc/self/ns/uts", own, sizeof own - 1) > 0 &&
           readlink(path, other, sizeof other - 1) > 0 && strcmp(own, other) != 0;
}

static bool shows_environment(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

static bool holds(const struct proc_list *list, pid_t pid)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].pid == pid) {
            return true;
        }
    }
    return false;
}

static size_t find_strays(
    struct doctor *doctor, const struct peers *peers, struct stray found[FOUND_MOST])
{
    char assignment[PATH_MAX];
    struct proc_list ours = {0};
    size_t count = 0;
    snprintf(assignment, sizeof assignment, "GEARS_HOME=%s", doctor->cli->home.root);
    proc_list_by_environ(assignment, &ours);
    DIR *dir = opendir("/proc");
    for (struct dirent *entry; dir && count < FOUND_MOST && (entry = readdir(dir));) {
        struct stray *stray = &found[count];
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid <= 0 || proc_stat_read(pid, &stray->stat) || !is_helper(&stray->stat) ||
            !is_mine(pid) || is_young(&stray->stat) || is_peer(peers, pid) ||
            is_elsewhere(pid) || (shows_environment(pid) && !holds(&ours, pid))) {
            continue;
        }
        stray->home = holds(&ours, pid) ? OURS : UNKNOWN;
        count++;
    }
    if (dir) {
        closedir(dir);
    }
    free(ours.items);
    return count;
}

static void report_stray(struct doctor *doctor, const struct stray *stray, bool relay)
{
    char remedy[80];
    const char *name = stray->stat.comm;
    int pid = (int)stray->stat.pid;
    snprintf(remedy, sizeof remedy, "kill %d", pid);
    if (stray->home == UNKNOWN) {
        doctor_note(doctor,
            "%s (pid %d) serves no socket of this GEARS_HOME; if you have no other one, nobody "
            "can reach it: kill %d",
            name, pid, pid);
    } else if (!strcmp(name, "gears-relay") && relay) {
        doctor_note(doctor,
            "an earlier relay (pid %d) serves the connections that it has, and ends with them",
            pid);
    } else if (!strcmp(name, "gears-keeper")) {
        doctor_find(doctor, "gearsctl daemon restart",
            "gears-keeper (pid %d) has no socket, so gearsd cannot reach its service", pid);
    } else {
        doctor_find(doctor, remedy,
            "%s (pid %d) has no socket of its own any more: nobody can reach it, only what it "
            "carries goes on",
            name, pid);
    }
}

/* Looked at twice: what ends just now is no stray. */
void check_strays(struct doctor *doctor)
{
    static struct peers peers;
    static struct stray first[FOUND_MOST], again[FOUND_MOST];
    find_peers(doctor, &peers);
    size_t count = peers.unsure ? 0 : find_strays(doctor, &peers, first);
    if (!count) {
        return;
    }
    poll(NULL, 0, AGAIN_MS);
    find_peers(doctor, &peers);
    size_t still = peers.unsure ? 0 : find_strays(doctor, &peers, again);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < still; k++) {
            if (first[i].stat.pid == again[k].stat.pid &&
                first[i].stat.start_time == again[k].stat.start_time) {
                report_stray(doctor, &again[k], peers.relay);
            }
        }
    }
}
