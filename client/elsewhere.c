/* Reading other hosts' records on a thread that nobody waits for longer than a moment. */
#include "client/elsewhere.h"

#include <dirent.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/client.h"
#include "common/record.h"

enum { HELD_LIMIT = 256, WAIT_MS = 300, NAMES_SAID = 5 };

struct held {
    char name[33], host[HOST_NAME_SIZE];
};

struct elsewhere {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool done, abandoned; /* abandoned: the thread frees it */
    struct home home;
    char name[33]; /* "" for all */
    struct held held[HELD_LIMIT];
    size_t count;
};

/* Wanted there, and no keeper has recorded that this incarnation is gone. */
static bool is_held(const struct home *there, const char *file, char name[33])
{
    char path[PATH_MAX];
    struct record *record = NULL, *end = NULL;
    if (home_path(there, path, "state", "service/%s", file) ||
        record_load(path, &record, NULL)) {
        return false;
    }
    const char *nonce = record_find(record, "nonce", 0);
    snprintf(name, 33, "%s", record_find(record, "service", 0) ? file : "");
    name[strcspn(name, ".")] = 0;
    bool held = *name && record_integer(record, "wanted", 0) && !record_find(record, "rest", 0);
    if (held && nonce && *nonce && !home_path(there, path, "state", "exit/%s", file) &&
        !record_load(path, &end, NULL)) {
        held =
            !string_equal(record_find(end, "nonce", 0), nonce) || !record_find(end, "tree", 0);
    }
    record_destroy(end);
    record_destroy(record);
    return held;
}

static void look_at_host(struct elsewhere *all, const char *host)
{
    struct home there = all->home;
    char folder[PATH_MAX], name[33];
    snprintf(there.host, sizeof there.host, "%s", host);
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
    }
    if (dir) {
        closedir(dir);
    }
}

static void *look(void *argument)
{
    struct elsewhere *all = argument;
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
    pthread_mutex_lock(&all->lock);
    all->done = true;
    bool alone = all->abandoned;
    pthread_cond_signal(&all->wake);
    pthread_mutex_unlock(&all->lock);
    if (alone) {
        free(all);
    }
    return NULL;
}

struct elsewhere *elsewhere_begin(const struct home *home, const char *name)
{
    pthread_t thread;
    pthread_condattr_t steady;
    struct elsewhere *all = calloc(1, sizeof *all);
    if (!all) {
        return NULL;
    }
    pthread_mutex_init(&all->lock, NULL);
    pthread_condattr_init(&steady);
    pthread_condattr_setclock(&steady, CLOCK_MONOTONIC);
    pthread_cond_init(&all->wake, &steady);
    pthread_condattr_destroy(&steady);
    all->home = *home;
    snprintf(all->name, sizeof all->name, "%s", name ? name : "");
    if (pthread_create(&thread, NULL, look, all)) {
        free(all);
        return NULL;
    }
    pthread_detach(thread);
    return all;
}

/* Whether the thread has finished; if not, what it holds is its own from now on. */
static bool await(struct elsewhere *all)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += WAIT_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&all->lock);
    while (!all->done && !pthread_cond_timedwait(&all->wake, &all->lock, &until)) {
    }
    bool done = all->done;
    all->abandoned = !done;
    pthread_mutex_unlock(&all->lock);
    return done;
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
    cli_say("%s%s %s held by %s; run: ssh %s gearsctl status%s%s", names,
        count > NAMES_SAID ? " and more" : "", count == 1 ? "is" : "are", host, host,
        count == 1 ? " " : "", count == 1 ? names : "");
    return count;
}

int elsewhere_finish(struct elsewhere *all, cJSON *list)
{
    if (!all || !await(all)) {
        return 0;
    }
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
    if (all && await(all)) {
        free(all);
    }
}

int elsewhere_say(const struct home *home, const char *name)
{
    return elsewhere_finish(elsewhere_begin(home, name), NULL);
}
