/* A GEARS_HOME may be a checkout, or a folder full of other things: each kind of thing that
 * Gears makes is recognised by its content. */
#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/uninstall.h"
#include "common/file.h"
#include "common/lease.h"
#include "common/proc.h"
#include "common/text.h"

enum { SMALL_MOST = 65536 };

static bool exists(const char *folder, const char *name)
{
    char path[PATH_MAX + 256];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return !lstat(path, &st);
}

void plan_add(char **list, size_t *count, size_t most, const char *path)
{
    char *copy = *count < most ? strdup(path) : NULL;
    if (copy) {
        list[(*count)++] = copy;
    }
}

void plan_remove(struct plan *plan, const char *path)
{
    plan_add(plan->removes, &plan->remove_count, PLAN_MOST, path);
}

static void remove_if_empty(struct plan *plan, const struct home *home, const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s%s%s", home->root, *name ? "/" : "", name);
    if (!access(path, F_OK)) {
        plan_add(plan->empties, &plan->empty_count,
            sizeof plan->empties / sizeof *plan->empties, path);
    }
}

void plan_look_elsewhere(struct plan *plan, const struct home *home, const char *path)
{
    struct lease_seen lease;
    if (!lease_look(home, path, &lease) && !lease.damaged && !lease.here) {
        snprintf(plan->elsewhere, sizeof plan->elsewhere, "%.100s %.400s", lease.host, path);
    }
}

/* run/HOST, state/HOST, log/HOST: those that gearsd laid out. */
static void plan_hosts(struct plan *plan, const struct home *home, const char *area)
{
    static const char *const marks[] = {"link", "own", "service", "secret", "gearsd"};
    char path[PATH_MAX], folder[PATH_MAX + 256], lease[PATH_MAX + 300];
    snprintf(path, sizeof path, "%s/%s", home->root, area);
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        snprintf(folder, sizeof folder, "%s/%s", path, entry->d_name);
        bool ours = false;
        for (size_t i = 0; entry->d_name[0] != '.' && i < sizeof marks / sizeof *marks; i++) {
            ours = ours || exists(folder, marks[i]);
        }
        if (ours) {
            plan_remove(plan, folder);
            snprintf(lease, sizeof lease, "%s/gearsd.lease", folder);
            plan_look_elsewhere(plan, home, lease);
        }
    }
    if (dir) {
        closedir(dir);
    }
    remove_if_empty(plan, home, area);
}

/* Short folders below /tmp that our pointer files name; of this host alone. */
static void plan_short_folders(struct plan *plan, const struct home *home)
{
    char pattern[PATH_MAX], *target;
    glob_t found;
    if (home_path(home, pattern, "state", "short-*") || glob(pattern, 0, NULL, &found)) {
        return;
    }
    for (size_t i = 0; i < found.gl_pathc; i++) {
        if (!file_read(found.gl_pathv[i], PATH_MAX - 1, &target, NULL, NULL)) {
            if (!strncmp(target, "/tmp/gears-", 11) && !strchr(target + 5, '/') &&
                !dir_check_private(target, NULL)) {
                plan_remove(plan, target);
            }
            free(target);
        }
    }
    globfree(&found);
}

static void plan_environments(struct plan *plan, const struct home *home)
{
    char pattern[PATH_MAX];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/env/*/*/.gears-complete", home->root);
    if (!glob(pattern, 0, NULL, &found)) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            *strrchr(found.gl_pathv[i], '/') = 0;
            plan_remove(plan, found.gl_pathv[i]);
        }
        globfree(&found);
    }
    snprintf(pattern, sizeof pattern, "%s/env/*", home->root);
    if (!glob(pattern, GLOB_ONLYDIR, NULL, &found)) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            remove_if_empty(plan, home, found.gl_pathv[i] + strlen(home->root) + 1);
        }
        globfree(&found);
    }
    remove_if_empty(plan, home, "env");
}

static void plan_programs(struct plan *plan, const struct home *home)
{
    static const char *const names[] = {"gearsctl", "gearsd"};
    char path[PATH_MAX], target[PATH_MAX], *text;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/bin/%s", home->root, names[i]);
        if (!file_read(path, SMALL_MOST, &text, NULL, NULL)) {
            if (strstr(text, "lib/gears")) { /* the dispatcher, not somebody's program */
                plan_remove(plan, path);
            }
            free(text);
        }
    }
    snprintf(path, sizeof path, "%s/lib/gears", home->root);
    if (exists(path, "current")) {
        plan_remove(plan, path);
    }
    snprintf(path, sizeof path, "%s/share/man", home->root);
    ssize_t n = readlink(path, target, sizeof target - 1);
    target[n > 0 ? n : 0] = 0;
    if (n > 0 && strstr(target, "lib/gears")) {
        plan_remove(plan, path);
    }
    remove_if_empty(plan, home, "bin");
    remove_if_empty(plan, home, "lib");
    remove_if_empty(plan, home, "share");
}

/* The configuration as init wrote it; one that was edited is the user's. */
static void plan_configuration(struct plan *plan, const struct home *home, const char *share)
{
    char path[PATH_MAX], given[PATH_MAX + 64], *mine = NULL, *default_text = NULL;
    snprintf(path, sizeof path, "%s/etc/gears.conf", home->root);
    snprintf(given, sizeof given, "%s/templates/gears.conf", share);
    if (!file_read(path, SMALL_MOST, &mine, NULL, NULL) &&
        !file_read(given, SMALL_MOST, &default_text, NULL, NULL) &&
        !strcmp(mine, default_text)) {
        plan_remove(plan, path);
    }
    free(mine);
    free(default_text);
    remove_if_empty(plan, home, "etc/jupyter");
    remove_if_empty(plan, home, "etc");
}

static bool is_planned(const struct plan *plan, const char *path)
{
    for (size_t i = 0; i < plan->remove_count; i++) {
        if (!strcmp(plan->removes[i], path)) {
            return true;
        }
    }
    return false;
}

/* Whether anything stays at `path` when the plan is done. */
static bool stays(const struct plan *plan, const char *path)
{
    bool folder = false;
    if (is_planned(plan, path)) {
        return false;
    }
    for (size_t i = 0; i < plan->empty_count; i++) {
        folder = folder || !strcmp(plan->empties[i], path);
    }
    DIR *dir = folder ? opendir(path) : NULL;
    bool any = !dir;
    for (struct dirent *entry; dir && !any && (entry = readdir(dir));) {
        char inside[PATH_MAX + 256];
        snprintf(inside, sizeof inside, "%s/%s", path, entry->d_name);
        any = strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") && stays(plan, inside);
    }
    if (dir) {
        closedir(dir);
    }
    return any;
}

static void plan_keeps(struct plan *plan, const struct home *home)
{
    DIR *dir = opendir(home->root);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char path[PATH_MAX + 256];
        snprintf(path, sizeof path, "%s/%s", home->root, entry->d_name);
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..") && stays(plan, path)) {
            plan_add(
                plan->keeps, &plan->keep_count, sizeof plan->keeps / sizeof *plan->keeps, path);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

void plan_make(const struct home *home, const char *share, struct plan *plan)
{
    *plan = (struct plan){0};
    plan_short_folders(plan, home);
    plan_hops(plan, home);
    plan_hosts(plan, home, "run");
    plan_hosts(plan, home, "state");
    plan_hosts(plan, home, "log");
    plan_environments(plan, home);
    plan_configuration(plan, home, share);
    plan_programs(plan, home);
    remove_if_empty(plan, home, "");
    plan_keeps(plan, home);
}

void plan_finish(struct plan *plan)
{
    for (size_t i = 0; i < plan->remove_count; i++) {
        free(plan->removes[i]);
    }
    for (size_t i = 0; i < plan->empty_count; i++) {
        free(plan->empties[i]);
    }
    for (size_t i = 0; i < plan->keep_count; i++) {
        free(plan->keeps[i]);
    }
    for (size_t i = 0; i < plan->hop_count; i++) {
        free(plan->hops[i]);
    }
}
