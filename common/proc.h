/* Processes of this host through /proc: identity that survives pid reuse, and whole trees. */
#ifndef COMMON_PROC_H
#define COMMON_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What /proc/<pid>/stat says. Times in clock ticks (sysconf(_SC_CLK_TCK)). */
struct proc_stat {
    pid_t pid, ppid, pgrp, session;
    char state; /* R S D T Z X … */
    /* Field 22: ticks after boot; with pid and boot id a unique identity. */
    uint64_t start_time;
    uint64_t utime, stime;
    uint64_t rss_bytes;
    char comm[32];
};

/* 0, -ENOENT/-ESRCH when there is no such process, -EBADMSG when unreadable. */
int proc_stat_read(pid_t pid, struct proc_stat *out);

/* Whether (pid, start_time) is a process that still runs (a zombie does not). */
bool proc_is_alive(pid_t pid, uint64_t start_time);

/* A list of processes; zero-initialise, free(list.items) when done. At most 65 536 items. */
struct proc_list {
    struct proc_stat *items;
    size_t count;
    size_t capacity;
};

/* Append every descendant of `root` (not `root` itself), found by parent links over all of
 * /proc; zombies included. 0 or -ENOMEM or a negative errno of /proc. */
int proc_list_descendants(pid_t root, struct proc_list *list);

/* Append every process of our uid whose initial environment holds exactly `assignment`
 * ("KEY=value"); zombies have none. For finding what a dead keeper left. 0 or a negative errno
 * when /proc cannot be read now (-EMFILE …): then absence from the list means nothing. */
int proc_list_by_environ(const char *assignment, struct proc_list *list);

/* Send `signal` to each item that is still the same process. Returns how many were reached. */
size_t proc_list_signal(const struct proc_list *list, int signal);

/* Sum of resident bytes and CPU seconds of `root` and its descendants; zero when gone. */
void proc_tree_usage(pid_t root, uint64_t *rss_bytes, double *cpu_seconds);

/* "jupyter-lab(1234) python3(1240) …" for messages, cut at `size`. */
void proc_list_describe(const struct proc_list *list, char *out, size_t size);

#endif
