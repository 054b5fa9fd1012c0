/* Reading other hosts' records in a process that nobody waits for longer than a moment. */
#include "client/elsewhere.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/client.h"
#include "common/clock.h"
#include "common/record.h"
#include "common/service_record.h"
#include "common/text.h"

enum { HELD_LIMIT = 256, WAIT_MS = 300, NAMES_SAID = 5, FDS_MOST = 64, SKIPPED_MOST = 64 };

struct held {
    char name[NAME_TEXT_SIZE], host[HOST_NAME_SIZE], cluster[NAME_TEXT_SIZE];
};

struct elsewhere {
    int fd; /* from the process that looks */
    struct home home;
    char name[NAME_TEXT_SIZE]; /* "" for all */
    struct held held[HELD_LIMIT];
    size_t count;
    char skipped[SKIPPED_MOST][HOST_NAME_SIZE];
    size_t skipped_count;
};

static bool is_held(const struct home *there, const char *file, char name[NAME_TEXT_SIZE])
{
    snprintf(name, NAME_TEXT_SIZE, "%.*s", (int)strcspn(file, "."), file);
    return *name && service_record_is_wanted(there, file, NULL);
}

/* What the host wrote down when a hop reached it (`daemon report`); "" when none has. */
static void find_cluster(const struct home *there, char cluster[NAME_TEXT_SIZE])
{
    char path[PATH_MAX];
    struct record *record = NULL;
    cluster[0] = 0;
    if (!home_path(there, path, "state", "cluster") && !record_load(path, &record, NULL)) {
        const char *value = record_find(record, "cluster", 0);
        snprintf(cluster, NAME_TEXT_SIZE, "%s", value ? value : "");
    }
    record_destroy(record);
}

static void look_at_host(struct elsewhere *all, const char *host)
{
    struct home there = all->home;
    char folder[PATH_MAX], name[NAME_TEXT_SIZE], cluster[NAME_TEXT_SIZE];
    snprintf(there.host, sizeof there.host, "%s", host);
    find_cluster(&there, cluster);
    DIR *dir = home_path(&there, folder, "state", "service") ? NULL : opendir(folder);
    for (struct dirent *entry; dir && all->count < HELD_LIMIT && (entry = readdir(dir));) {
        size_t length = strlen(entry->d_name);
        if (length < 5 || length > 36 || strcmp(entry->d_name + length - 4, ".rec") != 0 ||
            (*all->name && (strlen(all->name) != length - 4 ||
                               strncmp(entry->d_name, all->name, length - 4) != 0)) ||
            !is_held(&there, entry->d_name, name)) {
            continue;
        }
        struct held *held = &all->held[all->count++];
        snprintf(held->name, sizeof held->name, "%s", name);
        snprintf(held->host, sizeof held->host, "%s", host);
        snprintf(held->cluster, sizeof held->cluster, "%s", cluster);
    }
    if (dir) {
        closedir(dir);
    }
}

/* Another login node of our own cluster is no hop away. */
static void forget_own_cluster(struct elsewhere *all)
{
    char own[NAME_TEXT_SIZE];
    find_cluster(&all->home, own);
    for (size_t i = 0; i < all->count; i++) {
        if (!strcmp(all->held[i].cluster, own)) {
            all->held[i].cluster[0] = 0;
        }
    }
}

static void look(struct elsewhere *all)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s/state", all->home.root);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (entry->d_name[0] != '.' && strlen(entry->d_name) < HOST_NAME_SIZE &&
            strcmp(entry->d_name, all->home.host) != 0) {
            look_at_host(all, entry->d_name);
        }
    }
    if (dir) {
        closedir(dir);
    }
    forget_own_cluster(all);
}

/* In a process of its own: not even a signal ends a call to some hung filesystems, and nobody
 * may have to wait for the end of who makes it. */
static void look_apart(struct elsewhere *all, int out)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3; fd++) {
        dup2(null, fd);
    }
    for (int fd = 3; fd < FDS_MOST; fd++) {
        if (fd != out) {
            close(fd);
        }
    }
    look(all);
    (void)!write(out, all->held, all->count * sizeof *all->held);
    _exit(0);
}

struct elsewhere *elsewhere_begin(const struct home *home, const char *name)
{
    int ends[2];
    struct elsewhere *all = calloc(1, sizeof *all);
    if (!all || pipe2(ends, O_CLOEXEC)) {
        free(all);
        return NULL;
    }
    all->home = *home;
    all->fd = ends[0];
    snprintf(all->name, sizeof all->name, "%s", name ? name : "");
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        look_apart(all, ends[1]);
    }
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        free(all);
        return NULL;
    }
    return all;
}

/* Take what was found; nothing when it takes too long. */
static void await(struct elsewhere *all)
{
    size_t used = 0;
    int64_t until = clock_monotonic_ms() + WAIT_MS;
    for (;;) {
        int64_t left = until - clock_monotonic_ms();
        struct pollfd item = {.fd = all->fd, .events = POLLIN};
        ssize_t n = left > 0 && poll(&item, 1, (int)left) > 0
                        ? read(all->fd, (char *)all->held + used, sizeof all->held - used)
                        : -1;
        if (n <= 0) {
            break;
        }
        used += (size_t)n;
    }
    close(all->fd);
    all->count = used / sizeof *all->held;
}

/* The services of the host of held[first], which come in a row. */
static size_t say_host(const struct elsewhere *all, size_t first)
{
    char names[300] = "";
    size_t used = 0, count = 0;
    const char *host = all->held[first].host;
    while (first + count < all->count && !strcmp(all->held[first + count].host, host)) {
        if (count < NAMES_SAID) {
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s",
                count ? ", " : "", all->held[first + count].name);
        }
        count++;
    }
    const char *cluster = all->held[first].cluster,
               *more = count > NAMES_SAID ? " and more" : "";
    const char *verb = count == 1 ? "is" : "are", *one = count == 1 ? names : "";
    if (*cluster) {
        cli_say("%s%s %s held by %s; run: gearsctl status %s@%s", names, more, verb, host, one,
            cluster);
    } else {
        char program[PATH_MAX];
        home_program(&all->home, program);
        cli_say("%s%s %s held by %s; run: ssh %s %s status%s%s", names, more, verb, host, host,
            program, *one ? " " : "", one);
    }
    return count;
}

void elsewhere_skip(struct elsewhere *all, const char *host)
{
    if (all && all->skipped_count < SKIPPED_MOST) {
        snprintf(all->skipped[all->skipped_count++], HOST_NAME_SIZE, "%s", host);
    }
}

static void leave_out_skipped(struct elsewhere *all)
{
    size_t kept = 0;
    for (size_t i = 0; i < all->count; i++) {
        bool skipped = false;
        for (size_t k = 0; k < all->skipped_count && !skipped; k++) {
            skipped = !strcmp(all->held[i].host, all->skipped[k]);
        }
        if (!skipped) {
            all->held[kept++] = all->held[i];
        }
    }
    all->count = kept;
}

int elsewhere_finish(struct elsewhere *all, cJSON *list)
{
    if (!all) {
        return 0;
    }
    await(all);
    leave_out_skipped(all);
    for (size_t i = 0; list && i < all->count; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "name", all->held[i].name);
        cJSON_AddStringToObject(item, "host", all->held[i].host);
        cJSON_AddItemToArray(list, item);
    }
    for (size_t i = 0; !list && i < all->count;) {
        i += say_host(all, i);
    }
    int count = (int)all->count;
    free(all);
    return count;
}

void elsewhere_drop(struct elsewhere *all)
{
    if (all) {
        close(all->fd);
        free(all);
    }
}

int elsewhere_say(const struct home *home, const char *name)
{
    return elsewhere_finish(elsewhere_begin(home, name), NULL);
}
