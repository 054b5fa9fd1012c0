/* doctor's checks of GEARS_HOME: who owns it, what it is on, what fits into it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "client/doctor.h"
#include "common/file.h"
#include "common/nonce.h"
#include "common/unixsock.h"

enum {
    FREE_LEAST = 64 << 20,
    FILES_LEAST = 256,
    SKEW_MOST_S = 60,
    PROBE_BYTES = 65536,
    LEFTOVER_AGE_S = 24 * 3600,
    NAME_USUAL = 8 /* bytes of a service's name that always have to fit */
};

/* One folder: ours, a real one, no wider than `mode`. */
static void check_folder(struct doctor *doctor, const char *path, mode_t forbidden)
{
    struct stat st;
    char remedy[PATH_MAX + 64];
    if (lstat(path, &st)) {
        return; /* gearsd makes what is missing */
    }
    if (!S_ISDIR(st.st_mode)) {
        snprintf(remedy, sizeof remedy, "move %s away; gearsd makes a folder of its own", path);
        doctor_find(doctor, remedy, "%s is not a folder", path);
    } else if (st.st_uid != geteuid()) {
        snprintf(remedy, sizeof remedy, "set GEARS_HOME to a folder of your own");
        doctor_find(doctor, remedy, "%s belongs to uid %u", path, (unsigned)st.st_uid);
    } else if (st.st_mode & forbidden) {
        mode_t good = st.st_mode & 07777 & ~forbidden;
        snprintf(remedy, sizeof remedy, "chmod %04o %s", (unsigned)good, path);
        bool fixed = doctor->fix && !chmod(path, good);
        (fixed ? doctor_fixed : doctor_find)(doctor, remedy,
            "%s has mode %04o: others could reach it", path, (unsigned)st.st_mode & 07777);
    }
}

void check_home(struct doctor *doctor)
{
    static const char *const areas[] = {"run", "state", "log"};
    static const char *const parts[] = {
        "run/own", "run/link", "state/service", "state/exit", "state/secret"};
    const struct home *home = &doctor->cli->home;
    char path[PATH_MAX];
    struct stat st;
    if (stat(home->root, &st)) {
        doctor_find(doctor, "gearsctl init", "%s: %s", home->root, strerror(errno));
        return;
    }
    check_folder(doctor, home->root, 022);
    for (size_t i = 0; i < sizeof areas / sizeof *areas; i++) {
        snprintf(path, sizeof path, "%s/%s", home->root, areas[i]);
        check_folder(doctor, path, 077);
        if (!home_path(home, path, areas[i], "%s", "")) {
            check_folder(doctor, path, 077);
        }
    }
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const char *slash = strchr(parts[i], '/');
        char area[16];
        snprintf(area, sizeof area, "%.*s", (int)(slash - parts[i]), parts[i]);
        if (!home_path(home, path, area, "%s", slash + 1)) {
            check_folder(doctor, path, 077);
        }
    }
}

/* Kinds that say something; numbers of statfs(2). */
static const char *filesystem_name(long type)
{
    static const struct {
        long type;
        const char *name;
    } names[] = {{0x6969, "nfs"}, {0x0BD00BD0, "lustre"}, {0x47504653, "gpfs"},
        {0x65735546, "fuse"}, {0x01021994, "tmpfs"}, {0x858458F6, "ramfs"},
        {0xFF534D42, "cifs"}, {0x5346414F, "afs"}, {0x19830326, "beegfs"},
        {0x00C36400, "ceph"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (names[i].type == type) {
            return names[i].name;
        }
    }
    return "a local file system";
}

/* What a socket is for: bound, listened on, connected to and removed. 0 or a negative errno. */
static int use_socket(const char *path)
{
    struct sockaddr_un address;
    struct error err;
    int code = unix_address(&address, path, &err), fd = -1, peer = -1;
    if (!code) {
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        code = fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 1)
                   ? -errno
                   : 0;
    }
    if (!code) {
        peer = unix_connect(path, SOCK_STREAM, true, NULL);
        code = peer < 0 ? peer : 0;
    }
    if (peer >= 0) {
        close(peer);
    }
    if (fd >= 0) {
        unlink(path);
        close(fd);
    }
    return code;
}

/* Where sockets are to be, one must be possible. A folder that is full, read-only or too deep
 * is the matter of other checks. */
static void try_socket(struct doctor *doctor, const char *folder, const char *kind)
{
    char path[PATH_MAX + 32], tag[9];
    nonce_hex(tag, 4);
    snprintf(path, sizeof path, "%s/.%s", folder, tag);
    int code = use_socket(path);
    if (code && code != -EROFS && code != -ENOSPC && code != -EDQUOT && code != -EACCES &&
        code != -ENAMETOOLONG) {
        doctor_find(doctor, "set GEARS_HOME to a folder on another file system",
            "%s (%s) cannot hold sockets: %s", folder, kind, strerror(-code));
    }
}

/* run/<host>, and run/ for what laptops forward to, which may be on another one; where neither
 * is made yet, the home itself. */
static void try_sockets(struct doctor *doctor, const char *root)
{
    char folders[3][PATH_MAX];
    struct stat st;
    dev_t seen = 0;
    bool any = false;
    snprintf(folders[1], PATH_MAX, "%s/run", root);
    snprintf(folders[2], PATH_MAX, "%s", root);
    for (int i = home_path(&doctor->cli->home, folders[0], "run", "%s", "") ? 1 : 0; i < 3;
         i++) {
        struct statfs fs;
        if (stat(folders[i], &st) || (any && (i == 2 || st.st_dev == seen)) ||
            statfs(folders[i], &fs)) {
            continue;
        }
        try_socket(doctor, folders[i], filesystem_name((long)fs.f_type));
        seen = st.st_dev;
        any = true;
    }
}

void check_filesystem(struct doctor *doctor)
{
    const char *root = doctor->cli->home.root;
    struct statfs fs;
    if (statfs(root, &fs)) {
        return; /* check_home has said so */
    }
    const char *kind = filesystem_name((long)fs.f_type);
    if (!strcmp(kind, "tmpfs") || !strcmp(kind, "ramfs")) {
        doctor_find(doctor, "set GEARS_HOME to a folder on a disk",
            "%s is in memory (%s): a reboot takes it all", root, kind);
    } else {
        doctor_note(doctor, "%s is on %s", root, kind);
    }
    try_sockets(doctor, root);
}

/* The clock of the file server, seen in a fresh file's time. */
static void compare_clocks(struct doctor *doctor, int fd)
{
    struct stat st;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (!fstat(fd, &st) && llabs((long long)(st.st_mtim.tv_sec - now.tv_sec)) > SKEW_MOST_S) {
        doctor_find(doctor,
            "tell your site: the clock of this host or of the file server is wrong",
            "a file written now has a time %lld s away from this host's",
            llabs((long long)(st.st_mtim.tv_sec - now.tv_sec)));
    }
}

static void try_writing(struct doctor *doctor, const char *folder)
{
    static char bytes[PROBE_BYTES];
    char path[PATH_MAX + 32], remedy[PATH_MAX + 80], tag[9];
    nonce_hex(tag, 4);
    snprintf(path, sizeof path, "%s/.%s", folder, tag);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600),
        code = fd < 0 ? errno : 0;
    for (size_t done = 0; !code && done < sizeof bytes;) {
        ssize_t n = write(fd, bytes + done, sizeof bytes - done);
        code = n > 0 ? 0 : errno;
        done += n > 0 ? (size_t)n : 0;
    }
    code = !code && fsync(fd) ? errno : code;
    if (fd >= 0) {
        compare_clocks(doctor, fd);
        unlink(path);
        close(fd);
    }
    if (!code) {
        return;
    }
    bool full = code == ENOSPC || code == EDQUOT;
    snprintf(remedy, sizeof remedy,
        full ? "remove what is not needed; look with: du -xsh ~/* %s"
             : "make it writable, or set GEARS_HOME to another: ls -ld %s",
        full ? doctor->cli->home.root : folder);
    doctor_find(doctor, remedy, "nothing can be written in %s: %s", folder, strerror(code));
}

void check_writable(struct doctor *doctor)
{
    static const char *const areas[] = {"state", "log", "run"};
    char path[PATH_MAX];
    struct stat st;
    bool any = false;
    for (size_t i = 0; i < sizeof areas / sizeof *areas; i++) {
        if (!home_path(&doctor->cli->home, path, areas[i], "%s", "") && !stat(path, &st)) {
            try_writing(doctor, path);
            any = true;
        }
    }
    if (!any && !stat(doctor->cli->home.root, &st)) {
        try_writing(doctor, doctor->cli->home.root);
    }
}

void check_space(struct doctor *doctor)
{
    static const char *const areas[] = {"", "state", "log", "run"};
    char path[PATH_MAX], remedy[PATH_MAX + 64];
    unsigned long seen[4];
    for (size_t i = 0; i < sizeof areas / sizeof *areas; i++) {
        struct statvfs fs;
        snprintf(path, sizeof path, "%s/%s", doctor->cli->home.root, areas[i]);
        if (statvfs(path, &fs)) {
            continue;
        }
        bool again = false;
        for (size_t k = 0; k < i; k++) {
            again = again || seen[k] == fs.f_fsid;
        }
        seen[i] = fs.f_fsid;
        unsigned long long left = (unsigned long long)fs.f_bavail * fs.f_frsize;
        snprintf(
            remedy, sizeof remedy, "remove what is not needed; look with: du -xsh %s/*", path);
        if (!again && fs.f_blocks && left < FREE_LEAST) {
            doctor_find(doctor, remedy, "%s has %llu MB left", path, left >> 20);
        } else if (!again && fs.f_files && fs.f_favail < FILES_LEAST) {
            doctor_find(doctor, remedy, "%s has room for %llu more files", path,
                (unsigned long long)fs.f_favail);
        }
    }
}

void check_socket_paths(struct doctor *doctor)
{
    char path[PATH_MAX];
    struct sockaddr_un address;
    if (home_path(&doctor->cli->home, path, "run", "own/%.*s.sck", NAME_USUAL, "xxxxxxxx")) {
        return;
    }
    size_t length = strlen(path), most = sizeof address.sun_path - 1;
    if (length > most) {
        doctor_find(doctor, "set GEARS_HOME to a shorter path and run: gearsctl init",
            "socket paths below %s need up to %zu bytes and the kernel allows %zu",
            doctor->cli->home.root, length, most);
    }
}

/* Whether the folder holds nothing but sockets nobody listens on, and for long. */
static bool is_leftover(const char *folder, const struct stat *st)
{
    DIR *dir = time(NULL) - st->st_mtime > LEFTOVER_AGE_S ? opendir(folder) : NULL;
    bool dead = dir != NULL;
    for (struct dirent *entry; dir && dead && (entry = readdir(dir));) {
        char path[PATH_MAX];
        struct stat file;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] == '.') {
            continue;
        }
        int fd = lstat(path, &file) || !S_ISSOCK(file.st_mode)
                     ? 0
                     : unix_connect(path, SOCK_STREAM, true, NULL);
        dead = fd == -ECONNREFUSED;
        if (fd > 0) {
            close(fd);
        }
    }
    if (dir) {
        closedir(dir);
    }
    return dead;
}

static bool remove_leftover(const char *folder)
{
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        unlinkat(dirfd(dir), entry->d_name, 0);
    }
    if (dir) {
        closedir(dir);
    }
    return !rmdir(folder);
}

/* Our pointer files: each names a folder below /tmp that must be there, ours and private. */
static void check_pointers(struct doctor *doctor, struct text *used)
{
    char folder[PATH_MAX], path[PATH_MAX + 256], *target;
    DIR *dir =
        home_path(&doctor->cli->home, folder, "state", "%s", "") ? NULL : opendir(folder);
    struct error err;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (strncmp(entry->d_name, "short-", 6) != 0 ||
            file_read(path, PATH_MAX - 1, &target, NULL, NULL)) {
            continue;
        }
        text_printf(used, "%s\n", target);
        if (dir_check_private(target, &err)) {
            char remedy[PATH_MAX + 64];
            snprintf(remedy, sizeof remedy, "gearsctl restart %s",
                strchr(entry->d_name + 6, '-') ? strchr(entry->d_name + 6, '-') + 1 : "lab");
            doctor_find(doctor, remedy, "the short folder %s is gone or not private: %s",
                target, err.text);
        } else if (!access("/usr/lib/tmpfiles.d/tmp.conf", F_OK) ||
                   !access("/etc/cron.daily/tmpreaper", F_OK) ||
                   !access("/etc/cron.daily/tmpwatch", F_OK)) {
            doctor_find(doctor,
                "set GEARS_HOME to a shorter path, so that none is needed in /tmp",
                "this host cleans /tmp, and %s holds sockets there", target);
        }
        free(target);
    }
    if (dir) {
        closedir(dir);
    }
}

void check_short_folders(struct doctor *doctor)
{
    struct text used = {0};
    check_pointers(doctor, &used);
    DIR *dir = opendir("/tmp");
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char path[PATH_MAX], line[PATH_MAX + 2], remedy[PATH_MAX + 16];
        struct stat st;
        snprintf(path, sizeof path, "/tmp/%s", entry->d_name);
        snprintf(line, sizeof line, "%s\n", path);
        if (strncmp(entry->d_name, "gears-", 6) != 0 || lstat(path, &st) ||
            !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
            strstr(text_string(&used), line) || !is_leftover(path, &st)) {
            continue;
        }
        snprintf(remedy, sizeof remedy, "rm -r %s", path);
        bool fixed = doctor->fix && remove_leftover(path);
        (fixed ? doctor_fixed : doctor_find)(
            doctor, remedy, "%s is left from an earlier run and nobody uses it", path);
    }
    if (dir) {
        closedir(dir);
    }
    text_finish(&used);
}
