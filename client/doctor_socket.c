/* doctor's checks of sockets that nobody serves: of services and helpers here, of hops. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/doctor.h"
#include "common/lease.h"

/* Nobody listens on the socket `path`; *st tells which file that was. */
static bool is_dead(const char *path, int type, struct stat *st)
{
    return !lstat(path, st) && S_ISSOCK(st->st_mode) &&
           doctor_listener(path, type) == -ECONNREFUSED;
}

/* Remove the file that was found dead, not one that took its place meanwhile. What loses its
 * file all the same makes it again. */
static bool remove_dead(const char *path, const struct stat *dead)
{
    struct stat now;
    return !lstat(path, &now) && now.st_ino == dead->st_ino &&
           now.st_ctim.tv_sec == dead->st_ctim.tv_sec &&
           now.st_ctim.tv_nsec == dead->st_ctim.tv_nsec && !unlink(path);
}

static void report_dead(struct doctor *doctor, const char *path, const struct stat *st)
{
    char remedy[PATH_MAX + 300];
    snprintf(remedy, sizeof remedy, "rm %s", path);
    bool fixed = doctor->fix && remove_dead(path, st);
    (fixed ? doctor_fixed : doctor_find)(
        doctor, remedy, "nobody serves %s any more; its process is dead", path);
}

/* t-, f-: a tunnel's; g-: the relay's, which leads to gearsd there. */
static void check_links(struct doctor *doctor)
{
    char folder[PATH_MAX], path[PATH_MAX + 300];
    DIR *dir = home_path(&doctor->cli->home, folder, "run", "link") ? NULL : opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        const char *name = entry->d_name;
        size_t length = strlen(name);
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", folder, name);
        if (length > 6 && strchr("tfg", name[0]) && name[1] == '-' &&
            !strcmp(name + length - 4, ".sck") &&
            is_dead(path, name[0] == 'g' ? SOCK_STREAM : SOCK_SEQPACKET, &st)) {
            report_dead(doctor, path, &st);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

/* run/CLUSTER.sck and run/CLUSTER+SERVICE.sck: on a shared home only the holder judges. */
static void check_public(struct doctor *doctor)
{
    const struct home *home = &doctor->cli->home;
    char folder[PATH_MAX], path[PATH_MAX + 300], right[PATH_MAX], cluster[NAME_MAX + 1];
    struct lease_seen lease;
    snprintf(folder, sizeof folder, "%s/run", home->root);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        size_t length = strlen(entry->d_name);
        struct stat st;
        if (length < 5 || strcmp(entry->d_name + length - 4, ".sck") != 0) {
            continue;
        }
        snprintf(cluster, sizeof cluster, "%.*s", (int)length - 4, entry->d_name);
        cluster[strcspn(cluster, "+")] = 0;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (name_check(cluster, NULL) || !is_dead(path, SOCK_STREAM, &st)) {
            continue;
        }
        lease_path(home, cluster, right);
        int code = lease_look(home, right, &lease);
        if (!code && lease.here) {
            report_dead(doctor, path, &st);
        } else if (code == -ENOENT) {
            doctor_note(doctor,
                "nobody here serves %s, and no host has the right to it; gearsctl login %s "
                "makes it anew",
                path, cluster);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

void check_hop_sockets(struct doctor *doctor)
{
    check_links(doctor);
    check_public(doctor);
}

/* Those are check_hop_sockets' matter. */
static bool is_of_hop(const char *name)
{
    return name[0] && strchr("tfg", name[0]) && name[1] == '-';
}

static void check_stale(struct doctor *doctor, const char *part)
{
    char folder[PATH_MAX], path[PATH_MAX + 300];
    DIR *dir =
        home_path(&doctor->cli->home, folder, "run", "%s", part) ? NULL : opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        size_t n = strlen(entry->d_name);
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        /* A datagram or seqpacket one gives EPROTOTYPE while somebody has it. */
        if (n > 4 && !strcmp(entry->d_name + n - 4, ".sck") && !is_of_hop(entry->d_name) &&
            is_dead(path, SOCK_STREAM, &st)) {
            report_dead(doctor, path, &st);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

int doctor_count_helpers(struct doctor *doctor, const char *prefix)
{
    char folder[PATH_MAX], path[PATH_MAX + 256];
    int count = 0;
    DIR *dir = home_path(&doctor->cli->home, folder, "run", "link") ? NULL : opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        count += !strncmp(entry->d_name, prefix, strlen(prefix)) &&
                 doctor_listener(path, SOCK_SEQPACKET) > 0;
    }
    if (dir) {
        closedir(dir);
    }
    return count;
}

/* Only after a gearsd that did not end by itself (what a clean end leaves is no fault), and not
 * while keepers or tunnels wait for its successor, which takes over every name. */
void check_stale_sockets(struct doctor *doctor)
{
    static const char *const parts[] = {"", "own", "link"};
    struct lease_seen lease;
    char path[PATH_MAX];
    bool dead = !home_path(&doctor->cli->home, path, "run", "gearsd.lease") &&
                !lease_look(&doctor->cli->home, path, &lease) && !lease.alive &&
                !doctor_daemon_runs(doctor) && !doctor_count_helpers(doctor, "k-") &&
                !doctor_count_helpers(doctor, "t-");
    for (size_t i = 0; dead && i < sizeof parts / sizeof *parts; i++) {
        check_stale(doctor, parts[i]);
    }
}
