/* What hops made outside of run/HOST and state/HOST, and which of them are open. Called by
 * uninstall_plan.c. */
#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/uninstall.h"
#include "common/lease.h"
#include "common/record.h"
#include "common/text.h"
#include "common/unixsock.h"

/* "CLUSTER" of CLUSTER.lease, CLUSTER.sck and CLUSTER+SERVICE.sck; false: not such a name. */
static bool take_cluster(const char *name, const char *ending, char cluster[NAME_MAX + 1])
{
    size_t length = strlen(name), end = strlen(ending);
    if (length <= end || strcmp(name + length - end, ending) != 0) {
        return false;
    }
    snprintf(cluster, NAME_MAX + 1, "%.*s", (int)(length - end), name);
    cluster[strcspn(cluster, "+")] = 0;
    return !name_check(cluster, NULL);
}

/* A file of that name that is no whole lease may be anybody's. */
static bool is_lease(const struct home *home, const char *path, struct lease_seen *lease)
{
    return !lease_look(home, path, lease) && !lease->damaged;
}

/* A socket of ours by this host's lease, or one that nobody serves. */
static bool is_ours_or_dead(const struct home *home, const char *path, const char *cluster)
{
    char right[PATH_MAX];
    struct lease_seen lease;
    struct stat st;
    lease_path(home, cluster, right);
    if (lstat(path, &st) || !S_ISSOCK(st.st_mode)) {
        return false;
    }
    if (is_lease(home, right, &lease)) {
        return lease.here;
    }
    int fd = unix_connect(path, SOCK_STREAM, true, NULL);
    if (fd >= 0) {
        close(fd);
    }
    return fd == -ECONNREFUSED;
}

/* run/CLUSTER.lease and the sockets that it gives the right to. */
static void plan_rights(struct plan *plan, const struct home *home)
{
    char folder[PATH_MAX], path[PATH_MAX + 256], cluster[NAME_MAX + 1];
    struct lease_seen lease;
    snprintf(folder, sizeof folder, "%s/run", home->root);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (take_cluster(entry->d_name, ".lease", cluster)) {
            if (is_lease(home, path, &lease)) {
                plan_remove(plan, path);
                plan_look_elsewhere(plan, home, path);
            }
        } else if (take_cluster(entry->d_name, ".sck", cluster) &&
                   is_ours_or_dead(home, path, cluster)) {
            plan_remove(plan, path);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

/* state/@cluster: whole, or its records alone when there is something else in it. */
static void plan_places(struct plan *plan, const struct home *home)
{
    char folder[PATH_MAX], path[PATH_MAX + 256], cluster[NAME_MAX + 1];
    snprintf(folder, sizeof folder, "%s/state/@cluster", home->root);
    size_t before = plan->remove_count;
    bool alone = true;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (take_cluster(entry->d_name, ".rec", cluster)) {
            plan_remove(plan, path);
        } else {
            alone = alone && (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."));
        }
    }
    bool found = dir != NULL;
    if (dir) {
        closedir(dir);
    }
    while (found && alone && plan->remove_count > before) {
        free(plan->removes[--plan->remove_count]);
    }
    if (found && alone) {
        plan_remove(plan, folder);
    }
}

/* Those that are wanted, or whose tunnel lives: state/HOST/hop and run/HOST/link say. */
static void find_open(struct plan *plan, const struct home *home)
{
    static const char *const patterns[][2] = {{"state", "hop/*.rec"}, {"run", "link/t-*.sck"}};
    char pattern[PATH_MAX], cluster[NAME_MAX + 1];
    for (size_t i = 0; i < 2; i++) {
        glob_t found;
        if (home_path(home, pattern, patterns[i][0], "%s", patterns[i][1]) ||
            glob(pattern, 0, NULL, &found)) {
            continue;
        }
        for (size_t k = 0; k < found.gl_pathc; k++) {
            struct record *record = NULL;
            const char *path = found.gl_pathv[k], *name = strrchr(path, '/') + 1 + 2 * i;
            snprintf(cluster, sizeof cluster, "%.*s", (int)strlen(name) - 4, name);
            int fd = i ? unix_connect(path, SOCK_SEQPACKET, true, NULL) : -1;
            bool open =
                i ? fd >= 0 || fd == -EAGAIN
                  : !record_load(path, &record, NULL) && record_integer(record, "wanted", 0);
            for (size_t n = 0; n < plan->hop_count; n++) {
                open = open && strcmp(plan->hops[n], cluster) != 0;
            }
            if (open) {
                plan_add(plan->hops, &plan->hop_count, sizeof plan->hops / sizeof *plan->hops,
                    cluster);
            }
            if (fd >= 0) {
                close(fd);
            }
            record_destroy(record);
        }
        globfree(&found);
    }
}

void plan_hops(struct plan *plan, const struct home *home)
{
    find_open(plan, home);
    plan_rights(plan, home);
    plan_places(plan, home);
}
