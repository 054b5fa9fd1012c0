/* Log segments and their byte budgets; the keepers and gearsd write them, `logs` reads them. */
#include "common/segments.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"

enum { FOLDERS_LIMIT = 4096, ALL_LIMIT = 65536 };

/* A segment below the parent folder of several services. */
struct found {
    segment_name name;
    char *folder; /* shared by the segments of one folder */
    uint64_t bytes;
};

static bool is_segment(const char *name)
{
    size_t digits = strspn(name, "0123456789");
    return digits >= 16 && digits + 5 <= SEGMENT_NAME_SIZE && !strcmp(name + digits, ".log");
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

segment_name *segments_list(const char *folder, size_t *count)
{
    segment_name *names = NULL;
    size_t room = 0;
    *count = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && *count < SEGMENTS_LIMIT && (entry = readdir(dir));) {
        if (!is_segment(entry->d_name)) {
            continue;
        }
        if (*count == room) {
            room = room ? 2 * room : 16;
            segment_name *more = realloc(names, room * sizeof *names);
            if (!more) {
                break;
            }
            names = more;
        }
        memcpy(names[(*count)++], entry->d_name, strlen(entry->d_name) + 1);
    }
    if (dir) {
        closedir(dir);
    }
    if (names) {
        qsort(names, *count, sizeof *names, by_name);
    }
    return names;
}

/* Now, or just after the newest segment: a clock that was set back changes no order. */
static long long next_name(const char *folder)
{
    size_t count;
    segment_name *names = segments_list(folder, &count);
    long long now = clock_utc_us(), newest = count ? strtoll(names[count - 1], NULL, 10) : 0;
    free(names);
    return newest >= now ? newest + 1 : now;
}

int segment_open(const char *folder)
{
    char path[PATH_MAX];
    if (mkdir(folder, 0700) && errno != EEXIST) {
        return -errno;
    }
    if (snprintf(path, sizeof path, "%s/%016lld.log", folder, next_name(folder)) >=
        (int)sizeof path) {
        return -ENAMETOOLONG;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd < 0 ? -errno : fd;
}

static uint64_t size_of(const char *folder, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return lstat(path, &st) || !S_ISREG(st.st_mode) ? 0 : (uint64_t)st.st_size;
}

static void remove_segment(const char *folder, const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
}

void segments_prune(const char *folder, uint64_t budget, uint64_t room)
{
    size_t count;
    segment_name *names = segments_list(folder, &count);
    uint64_t left = budget > room ? budget - room : 0;
    for (size_t i = count; i-- > 0;) {
        uint64_t bytes = size_of(folder, names[i]);
        if (bytes > left) {
            remove_segment(folder, names[i]);
            left = 0;
        } else {
            left -= bytes;
        }
    }
    free(names);
}

static size_t find_folder(const char *folder, struct found *all, size_t used, uint64_t *total)
{
    size_t count, kept = 0;
    segment_name *names = segments_list(folder, &count);
    char *copy = count ? strdup(folder) : NULL;
    for (size_t i = 0; copy && i < count; i++) {
        uint64_t bytes = size_of(folder, names[i]);
        *total += bytes;
        if (i + 1 < count && used + kept < ALL_LIMIT) {
            struct found *found = &all[used + kept++];
            memcpy(found->name, names[i], sizeof found->name);
            found->folder = copy;
            found->bytes = bytes;
        }
    }
    free(names);
    if (!kept) {
        free(copy);
    }
    return kept;
}

static void free_found(struct found *all, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || all[i].folder != all[i - 1].folder) {
            free(all[i].folder);
        }
    }
    free(all);
}

static int by_age(const void *a, const void *b)
{
    return strcmp(
        (*(const struct found *const *)a)->name, (*(const struct found *const *)b)->name);
}

static void remove_oldest(struct found *all, size_t count, uint64_t total, uint64_t most)
{
    struct found **order = calloc(count ? count : 1, sizeof(struct found *));
    for (size_t i = 0; order && i < count; i++) {
        order[i] = &all[i];
    }
    if (order) {
        qsort(order, count, sizeof(struct found *), by_age);
    }
    for (size_t i = 0; order && i < count && total > most; i++) {
        remove_segment(order[i]->folder, order[i]->name);
        total -= order[i]->bytes;
    }
    free(order);
}

void segments_prune_all(const char *parent, uint64_t budget, uint64_t room)
{
    struct found *all = calloc(ALL_LIMIT, sizeof *all); /* pages are touched as used */
    size_t count = 0;
    uint64_t total = 0;
    DIR *dir = all ? opendir(parent) : NULL;
    struct dirent *entry;
    for (int i = 0; dir && i < FOLDERS_LIMIT && (entry = readdir(dir)); i++) {
        char folder[PATH_MAX];
        if (entry->d_name[0] != '.' && snprintf(folder, sizeof folder, "%s/%s", parent,
                                           entry->d_name) < (int)sizeof folder) {
            count += find_folder(folder, all, count, &total);
        }
    }
    if (dir) {
        closedir(dir);
    }
    if (all) {
        remove_oldest(all, count, total, budget > room ? budget - room : 0);
        free_found(all, count);
    }
}
