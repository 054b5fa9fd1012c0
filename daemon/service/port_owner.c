/* Matching /proc/net/tcp{,6} inodes with the descriptors of a tree. */
#include "daemon/service/port_owner.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/proc.h"

enum { LISTEN_STATE = 0x0a, INODES = 16 };

/* Inodes of sockets listening on `port` in one table. */
static size_t find_inodes(const char *table, uint16_t port, unsigned long *inodes, size_t count)
{
    FILE *file = fopen(table, "re");
    char line[512];
    while (file && count < INODES && fgets(line, sizeof line, file)) {
        char address[64];
        unsigned local, state;
        unsigned long inode;
        if (sscanf(line, " %*d: %63[0-9A-F]:%x %*s %x %*s %*s %*s %*d %*d %lu", address, &local,
                &state, &inode) == 4 &&
            local == port && state == LISTEN_STATE) {
            inodes[count++] = inode;
        }
    }
    if (file) {
        fclose(file);
    }
    return count;
}

static bool process_holds(pid_t pid, const unsigned long *inodes, size_t count)
{
    char folder[64], path[400], target[64];
    snprintf(folder, sizeof folder, "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(folder);
    bool found = false;
    for (struct dirent *entry; dir && !found && (entry = readdir(dir));) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        ssize_t n = readlink(path, target, sizeof target - 1);
        unsigned long inode;
        if (n <= 0) {
            continue;
        }
        target[n] = 0;
        for (size_t i = 0; sscanf(target, "socket:[%lu]", &inode) == 1 && i < count; i++) {
            found = found || inode == inodes[i];
        }
    }
    if (dir) {
        closedir(dir);
    }
    return found;
}

bool port_owner_is_tree(uint16_t port, pid_t keeper, char *words, size_t size)
{
    unsigned long inodes[INODES];
    size_t count = find_inodes("/proc/net/tcp", port, inodes, 0);
    count = find_inodes("/proc/net/tcp6", port, inodes, count);
    struct proc_list list = {0};
    bool found = false;
    proc_list_descendants(keeper, &list);
    for (size_t i = 0; i < list.count && !found; i++) {
        found = process_holds(list.items[i].pid, inodes, count);
    }
    free(list.items);
    if (!found) {
        snprintf(words, size, "port %u is held by a program that is not this service's",
            (unsigned)port);
    }
    return found;
}
