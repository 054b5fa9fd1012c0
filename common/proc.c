/* Reading /proc; the keeper kills trees with it, gearsd knows dead incarnations by it. */
#include "common/proc.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/text.h"

enum { LIST_LIMIT = 65536, ENVIRON_LIMIT = 1 << 20 };

/* Fields 3 to 24 of /proc/PID/stat, see proc(5). */
static int parse_fields(const char *text, struct proc_stat *out)
{
    enum { PPID, PGRP, SESSION, UTIME = 10, STIME, START_TIME = 18, RSS = 20, COUNT };
    uint64_t fields[COUNT];
    if (text[0] != ' ' || !text[1] || numbers_parse(text + 2, fields, COUNT) != COUNT) {
        return -EBADMSG;
    }
    out->state = text[1];
    out->ppid = (pid_t)fields[PPID];
    out->pgrp = (pid_t)fields[PGRP];
    out->session = (pid_t)fields[SESSION];
    out->utime = fields[UTIME];
    out->stime = fields[STIME];
    out->start_time = fields[START_TIME];
    out->rss_bytes = fields[RSS] * (uint64_t)sysconf(_SC_PAGESIZE);
    return 0;
}

int proc_stat_read(pid_t pid, struct proc_stat *out)
{
    char path[64], buffer[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    ssize_t n = read(fd, buffer, sizeof buffer - 1);
    int code = n <= 0 ? (n < 0 ? -errno : -ESRCH) : 0;
    close(fd);
    if (code) {
        return code;
    }
    buffer[n] = 0;
    /* The command may hold spaces and parentheses: its end is the last ')'. */
    char *open_paren = strchr(buffer, '('), *close_paren = strrchr(buffer, ')');
    if (!open_paren || !close_paren || close_paren < open_paren) {
        return -EBADMSG;
    }
    *close_paren = 0;
    *out = (struct proc_stat){.pid = pid};
    snprintf(out->comm, sizeof out->comm, "%s", open_paren + 1);
    return parse_fields(close_paren + 1, out);
}

bool proc_is_alive(pid_t pid, uint64_t start_time)
{
    struct proc_stat st;
    return pid > 0 && !proc_stat_read(pid, &st) && st.start_time == start_time &&
           st.state != 'Z' && st.state != 'X';
}

static int list_append(struct proc_list *list, const struct proc_stat *item)
{
    if (list->count == LIST_LIMIT) {
        return -E2BIG;
    }
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 64;
        struct proc_stat *items = realloc(list->items, capacity * sizeof *items);
        if (!items) {
            return -ENOMEM;
        }
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = *item;
    return 0;
}

/* Ours, not the process's: who looks sees nothing, and must not take that for absence. */
static bool is_blind(int code)
{
    return code == -EMFILE || code == -ENFILE || code == -ENOMEM;
}

/* Call `visit` for every numeric entry of /proc until it returns non-zero. */
static int each_process(int (*visit)(pid_t pid, void *context), void *context)
{
    DIR *dir = opendir("/proc");
    if (!dir) {
        return -errno;
    }
    int code = 0;
    for (struct dirent *entry; !code && (entry = readdir(dir));) {
        if (isdigit((unsigned char)entry->d_name[0])) {
            code = visit((pid_t)atoi(entry->d_name), context);
        }
    }
    closedir(dir);
    return code;
}

static int collect_any(pid_t pid, void *context)
{
    struct proc_stat st;
    int code = proc_stat_read(pid, &st);
    return !code ? list_append(context, &st) : is_blind(code) ? code : 0;
}

int proc_list_descendants(pid_t root, struct proc_list *list)
{
    struct proc_list all = {0};
    int code = each_process(collect_any, &all);
    bool *taken = calloc(all.count + 1, sizeof *taken);
    if (!taken) {
        code = -ENOMEM;
    }
    /* Parents may come after their children in /proc order: repeat until nothing is added. */
    for (bool grew = true; !code && grew;) {
        grew = false;
        for (size_t i = 0; !code && i < all.count; i++) {
            bool below = !taken[i] && all.items[i].ppid == root;
            for (size_t j = 0; !taken[i] && !below && j < list->count; j++) {
                below = list->items[j].pid == all.items[i].ppid;
            }
            if (below && all.items[i].pid != root) {
                taken[i] = grew = true;
                code = list_append(list, &all.items[i]);
            }
        }
    }
    free(taken);
    free(all.items);
    return code;
}

struct environ_search {
    const char *assignment;
    struct proc_list *list;
};

static bool environ_holds(int fd, const char *assignment)
{
    size_t want = strlen(assignment) + 1, used = 0, capacity = 16384;
    char *buffer = malloc(capacity);
    bool found = false;
    for (ssize_t n = 1; buffer && n > 0 && used < ENVIRON_LIMIT;) {
        if (used == capacity) {
            char *bigger = realloc(buffer, capacity *= 2);
            if (!bigger) {
                break;
            }
            buffer = bigger;
        }
        n = read(fd, buffer + used, capacity - used);
        used += n > 0 ? (size_t)n : 0;
    }
    for (size_t at = 0; buffer && !found && at + want <= used;) {
        found = !memcmp(buffer + at, assignment, want);
        const char *zero = memchr(buffer + at, 0, used - at);
        at = zero ? (size_t)(zero - buffer) + 1 : used;
    }
    free(buffer);
    return found;
}

static int collect_environ(pid_t pid, void *context)
{
    struct environ_search *search = context;
    char path[64];
    struct stat owner;
    snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return is_blind(-errno) ? -errno : 0;
    }
    bool found = !fstat(fd, &owner) && owner.st_uid == geteuid() && pid != getpid() &&
                 environ_holds(fd, search->assignment);
    close(fd);
    return found ? collect_any(pid, search->list) : 0;
}

int proc_list_by_environ(const char *assignment, struct proc_list *list)
{
    struct environ_search search = {assignment, list};
    return each_process(collect_environ, &search);
}

size_t proc_list_signal(const struct proc_list *list, int signal)
{
    size_t reached = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct proc_stat *item = &list->items[i];
        if (proc_is_alive(item->pid, item->start_time) && !kill(item->pid, signal)) {
            reached++;
        }
    }
    return reached;
}

void proc_tree_usage(pid_t root, uint64_t *rss_bytes, double *cpu_seconds)
{
    struct proc_list list = {0};
    struct proc_stat st;
    uint64_t ticks = 0;
    *rss_bytes = 0;
    if (!proc_stat_read(root, &st)) {
        list_append(&list, &st);
        proc_list_descendants(root, &list);
    }
    for (size_t i = 0; i < list.count; i++) {
        *rss_bytes += list.items[i].rss_bytes;
        ticks += list.items[i].utime + list.items[i].stime;
    }
    *cpu_seconds = (double)ticks / (double)sysconf(_SC_CLK_TCK);
    free(list.items);
}

void proc_list_describe(const struct proc_list *list, char *out, size_t size)
{
    size_t used = 0;
    out[0] = 0;
    for (size_t i = 0; i < list->count && used < size; i++) {
        int n = snprintf(out + used, size - used, "%s%s(%d)", i ? " " : "", list->items[i].comm,
            (int)list->items[i].pid);
        used += n > 0 ? (size_t)n : 0;
    }
}
