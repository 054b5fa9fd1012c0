/* Gathers what a helper would ask for, without secrets, and has tar(1) pack it. */
#include "client/bundle.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/program.h"
#include "client/redact.h"
#include "common/file.h"
#include "common/host.h"

enum {
    LOG_TAIL = 256 << 10,
    OUTPUT_MOST = 4 << 20,
    SECRET_MOST = 4096,
    CONFIG_MOST = 1 << 20,
    RECORD_MOST = 64 << 10
};

struct bundle {
    struct cli *cli;
    struct secrets secrets;
    char folder[64]; /* below /tmp, 0700 */
    char self[PATH_MAX];
};

/* Tokens and cookie secrets of every host of this home: a log may quote another's. */
static void learn_secrets(struct bundle *bundle)
{
    char pattern[PATH_MAX];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/state/*/secret/*", bundle->cli->home.root);
    if (glob(pattern, 0, NULL, &found)) {
        return;
    }
    for (size_t i = 0; i < found.gl_pathc; i++) {
        char *text = NULL;
        if (!file_read(found.gl_pathv[i], SECRET_MOST, &text, NULL, NULL)) {
            text[strcspn(text, "\r\n")] = 0;
            secrets_add(&bundle->secrets, text);
            explicit_bzero(text, strlen(text));
        }
        free(text);
    }
    globfree(&found);
}

static void store(struct bundle *bundle, const char *name, const char *raw)
{
    char path[PATH_MAX];
    struct text clean = {0};
    snprintf(path, sizeof path, "%s/%s", bundle->folder, name);
    redact_text(&bundle->secrets, raw, &clean);
    FILE *file = fopen(path, "wxe");
    if (file) {
        fputs(text_string(&clean), file);
        fclose(file);
    }
    text_finish(&clean);
}

static void store_output(struct bundle *bundle, const char *name, const char *const argv[])
{
    char *out = malloc(OUTPUT_MOST);
    if (out) {
        program_read_all(argv, out, OUTPUT_MOST);
        store(bundle, name, out);
    }
    free(out);
}

static void store_own(
    struct bundle *bundle, const char *name, const char *verb, const char *noun)
{
    const char *argv[] = {bundle->self, "--no-autostart", verb, noun ? noun : "--json",
        noun ? "--json" : NULL, NULL};
    store_output(bundle, name, argv);
}

static void store_file(struct bundle *bundle, const char *name, const char *path)
{
    char *text = NULL;
    if (!file_read(path, CONFIG_MOST, &text, NULL, NULL)) {
        store(bundle, name, text);
    }
    free(text);
}

/* The end of a service's newest segment; whole lines. */
static void store_log(struct bundle *bundle, const char *name, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    char *text = malloc(LOG_TAIL + 1), file[300];
    ssize_t n = -1;
    bool cut = false;
    if (fd >= 0 && text && !fstat(fd, &st)) {
        cut = st.st_size > LOG_TAIL;
        n = pread(fd, text, LOG_TAIL, cut ? st.st_size - LOG_TAIL : 0);
    }
    if (n > 0) {
        for (ssize_t i = 0; i < n; i++) { /* a program may have printed anything */
            text[i] = text[i] ? text[i] : ' ';
        }
        text[n] = 0;
        snprintf(file, sizeof file, "log-%s.txt", name);
        const char *start = cut ? strchr(text, '\n') : NULL;
        store(bundle, file, start ? start + 1 : text);
    }
    free(text);
    if (fd >= 0) {
        close(fd);
    }
}

static void store_logs(struct bundle *bundle)
{
    char folder[PATH_MAX], pattern[PATH_MAX + 300];
    glob_t found;
    DIR *dir = home_path(&bundle->cli->home, folder, "log", "%s", "") ? NULL : opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        snprintf(pattern, sizeof pattern, "%s/%s/*.log", folder, entry->d_name);
        if (entry->d_name[0] != '.' && !glob(pattern, 0, NULL, &found)) {
            store_log(bundle, entry->d_name, found.gl_pathv[found.gl_pathc - 1]);
            globfree(&found);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

/* What hubs wrote down about hops: each hub's own records and ends, and where services live.
 * Nothing that a human typed was ever in them. */
static void store_hops(struct bundle *bundle)
{
    static const char *const patterns[] = {
        "state/*/hop/*.rec", "state/*/hop/*.end", "state/@cluster/*.rec", "run/*.lease"};
    struct text all = {0};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        glob_t found;
        if (glob(patterns[i], 0, NULL, &found)) {
            continue;
        }
        for (size_t k = 0; k < found.gl_pathc && all.length < OUTPUT_MOST; k++) {
            char *text = NULL;
            if (!file_read(found.gl_pathv[k], RECORD_MOST, &text, NULL, NULL)) {
                text_printf(&all, "--- %s\n%s\n", found.gl_pathv[k], text);
            }
            free(text);
        }
        globfree(&found);
    }
    store(bundle, "hops.txt", text_string(&all));
    text_finish(&all);
}

static void gather(struct bundle *bundle)
{
    char path[PATH_MAX + 32];
    const char *root = bundle->cli->home.root;
    store_own(bundle, "version.json", "version", NULL);
    store_own(bundle, "daemon.json", "daemon", "status");
    store_own(bundle, "status.json", "status", NULL);
    store_own(bundle, "events.json", "events", NULL);
    store_own(bundle, "doctor.json", "doctor", NULL);
    store_own(bundle, "config-effective.json", "config", "show");
    snprintf(path, sizeof path, "%s/etc/gears.conf", root);
    store_file(bundle, "gears.conf", path);
    store_file(bundle, "site-gears.conf", "/etc/gears/gears.conf");
    store_file(bundle, "os-release.txt", "/etc/os-release");
    store_file(bundle, "limits.txt", "/proc/self/limits");
    store_output(bundle, "uname.txt", (const char *[]){"uname", "-a", NULL});
    store_output(bundle, "disk.txt", (const char *[]){"df", "-hT", root, NULL});
    store_output(bundle, "files.txt",
        (const char *[]){"ls", "-laR", "--time-style=full-iso", "run", "state", NULL});
    store_hops(bundle);
    store_logs(bundle);
}

static int pack(struct bundle *bundle, const char *file)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        cli_say("%s: %s", file,
            errno == EEXIST ? "it is there already; choose another name" : strerror(errno));
        return EXIT_FAILED;
    }
    close(fd);
    int code = program_run(
        (const char *[]){"tar", "-C", bundle->folder, "-czf", file, ".", NULL}, NULL);
    if (code) {
        unlink(file);
        cli_say("%s: tar could not make it", file);
        return code == EXIT_INTERRUPTED ? code : EXIT_FAILED;
    }
    cli_say("%s holds versions, configuration, status and the ends of logs, without tokens and "
            "passwords; have a look before you send it",
        file);
    return 0;
}

static void remove_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        unlinkat(dirfd(dir), entry->d_name, 0);
    }
    if (dir) {
        closedir(dir);
    }
    rmdir(folder);
}

int bundle_make(struct cli *cli, const char *file)
{
    struct bundle bundle = {.cli = cli, .folder = "/tmp/gears-bundle-XXXXXX"};
    char *absolute = NULL;
    ssize_t n = readlink("/proc/self/exe", bundle.self, sizeof bundle.self - 1);
    bundle.self[n > 0 ? n : 0] = 0;
    if (!access(file, F_OK)) { /* before the work, and again when it is made */
        cli_say("%s: it is there already; choose another name", file);
        return EXIT_FAILED;
    }
    char *cwd = getcwd(NULL, 0);
    if (!cwd ||
        asprintf(&absolute, "%s%s%s", *file == '/' ? "" : cwd, *file == '/' ? "" : "/", file) <
            0 ||
        !mkdtemp(bundle.folder)) {
        cli_say("cannot make a folder for the bundle: %s", strerror(errno));
        free(cwd);
        return EXIT_FAILED;
    }
    free(cwd);
    learn_secrets(&bundle);
    if (!chdir(cli->home.root)) { /* for the listing */
        gather(&bundle);
    }
    int code = pack(&bundle, absolute);
    remove_folder(bundle.folder);
    secrets_finish(&bundle.secrets);
    free(absolute);
    return code;
}
