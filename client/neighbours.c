/* Site packs, sessions, owners of processes, in this order. */
#include "client/neighbours.h"

#include <dirent.h>
#include <fnmatch.h>
#include <glob.h>
#include <ini.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <utmpx.h>

enum { ORDINARY_UID = 1000, NOBODY_UID = 65534 };

static bool is_neighbour(uid_t uid)
{
    return uid >= ORDINARY_UID && uid != NOBODY_UID && uid != geteuid();
}

struct pack {
    const char *node, *host;
    char name[64];
    bool matches;
};

/* "[cluster:NAME]" with "hosts = PATTERN…": shell patterns of node names. */
static int on_pack_key(void *context, const char *section, const char *key, const char *value)
{
    struct pack *pack = context;
    if (strncmp(section, "cluster:", 8) != 0 || strcmp(key, "hosts") != 0) {
        return 1;
    }
    char *copy = strdup(value), *save = NULL;
    for (char *word = copy ? strtok_r(copy, " \t", &save) : NULL; word;
         word = strtok_r(NULL, " \t", &save)) {
        if (!pack->matches &&
            (!fnmatch(word, pack->node, 0) || !fnmatch(word, pack->host, 0))) {
            pack->matches = true;
            snprintf(pack->name, sizeof pack->name, "%s", section + 8);
        }
    }
    free(copy);
    return 1;
}

static bool find_pack(struct cli *cli, char name[64])
{
    char folder[PATH_MAX], pattern[PATH_MAX + 64];
    struct utsname self;
    struct pack pack = {.host = cli->home.host};
    glob_t found;
    uname(&self);
    pack.node = self.nodename;
    cli_program_dir(folder);
    snprintf(pattern, sizeof pattern, "%s/../share/clusters/*.conf", folder);
    if (glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc && !pack.matches; i++) {
            ini_parse(found.gl_pathv[i], on_pack_key, &pack);
        }
        globfree(&found);
    }
    memcpy(name, pack.name, 64);
    return pack.matches;
}

/* The first other person of logind's sessions; *any: there is a session at all. */
static uid_t find_logind(bool *any)
{
    static const char folder[] = "/run/systemd/sessions";
    DIR *dir = opendir(folder);
    uid_t other = 0;
    for (struct dirent *entry; dir && !other && (entry = readdir(dir));) {
        char path[PATH_MAX], line[256];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        FILE *file = strchr(entry->d_name, '.') ? NULL : fopen(path, "re");
        while (file && fgets(line, sizeof line, file)) {
            unsigned uid;
            if (sscanf(line, "UID=%u", &uid) == 1) {
                *any = true;
                other = is_neighbour(uid) ? uid : other;
            }
        }
        if (file) {
            fclose(file);
        }
    }
    if (dir) {
        closedir(dir);
    }
    return other;
}

static bool find_utmp(bool *any, char name[64])
{
    bool found = false;
    setutxent();
    for (struct utmpx *entry; !found && (entry = getutxent());) {
        if (entry->ut_type != USER_PROCESS) {
            continue;
        }
        *any = true;
        snprintf(name, 64, "%.*s", (int)sizeof entry->ut_user, entry->ut_user);
        struct passwd *user = getpwnam(name);
        /* Somebody the machine no longer knows is somebody else all the same. */
        found = user ? is_neighbour(user->pw_uid) : true;
    }
    endutxent();
    return found;
}

static uid_t find_owner(void)
{
    DIR *dir = opendir("/proc");
    uid_t other = 0;
    for (struct dirent *entry; dir && !other && (entry = readdir(dir));) {
        struct stat st;
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
            !fstatat(dirfd(dir), entry->d_name, &st, 0) && is_neighbour(st.st_uid)) {
            other = st.st_uid;
        }
    }
    if (dir) {
        closedir(dir);
    }
    return other;
}

static void name_user(uid_t uid, char name[64])
{
    struct passwd *user = getpwuid(uid);
    snprintf(name, 64, "%s", user ? user->pw_name : "");
    if (!user) {
        snprintf(name, 64, "uid %u", (unsigned)uid);
    }
}

bool neighbours_find(struct cli *cli, char *why, size_t size)
{
    char name[64] = "";
    bool any = false;
    if (find_pack(cli, name)) {
        snprintf(why, size, "it belongs to the site pack \"%s\"", name);
        return true;
    }
    uid_t uid = find_logind(&any);
    if (uid) {
        name_user(uid, name);
    }
    if (uid || find_utmp(&any, name)) {
        snprintf(why, size, "%s is logged in", name);
        return true;
    }
    uid = any ? 0 : find_owner();
    if (uid) {
        name_user(uid, name);
        snprintf(why, size, "%s runs programs", name);
    }
    return uid != 0;
}
