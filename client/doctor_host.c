/* doctor's checks of this machine, of the configuration, of Python. */
#include <dirent.h>
#include <glob.h>
#include <ini.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "client/doctor.h"
#include "client/program.h"

enum { DESCRIPTORS_LEAST = 1024, DESCRIPTORS_SPARE = 64, YEAR_LEAST = 2026 };

void check_configuration(struct doctor *doctor)
{
    static char lines[65536];
    char folder[PATH_MAX], path[PATH_MAX + 16], remedy[PATH_MAX + 32], *save = NULL;
    cli_program_dir(folder);
    snprintf(path, sizeof path, "%s/gearsd", folder);
    int status =
        program_read_all((const char *[]){path, "--self-check", NULL}, lines, sizeof lines);
    for (char *line = status ? strtok_r(lines, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save)) {
        snprintf(remedy, sizeof remedy, "edit %.*s", (int)strcspn(line, ":"), line);
        doctor_find(doctor, *line == '/' ? remedy : "ask your site", "%s", line);
    }
}

/* The environments that services of kind jupyter use, each once. */
struct environments {
    char paths[16][PATH_MAX];
    size_t count;
    const struct home *home;
    char fallback[256]; /* env of [defaults] */
    char section[80], env[256];
    bool jupyter;
};

static void add_environment(struct environments *set)
{
    struct utsname self;
    char path[PATH_MAX], kernel[80];
    const char *name = *set->env ? set->env : *set->fallback ? set->fallback : "default";
    uname(&self);
    snprintf(kernel, sizeof kernel, "%s", self.sysname);
    kernel[0] = (char)(kernel[0] | 0x20); /* Linux → linux */
    if (*name == '/') {
        snprintf(path, sizeof path, "%s", name);
    } else {
        snprintf(
            path, sizeof path, "%s/env/%s-%s/%s", set->home->root, kernel, self.machine, name);
    }
    for (size_t i = 0; i < set->count; i++) {
        if (!strcmp(set->paths[i], path)) {
            return;
        }
    }
    if (set->count < sizeof set->paths / sizeof *set->paths) {
        memcpy(set->paths[set->count++], path, sizeof path);
    }
}

static void end_section(struct environments *set)
{
    bool lab = !strcmp(set->section, "service:lab");
    if (!strncmp(set->section, "service:", 8) && (set->jupyter || lab)) {
        add_environment(set);
    }
    set->env[0] = 0;
    set->jupyter = false;
}

static int on_key(void *context, const char *section, const char *key, const char *value)
{
    struct environments *set = context;
    if (strcmp(section, set->section) != 0) {
        end_section(set);
        snprintf(set->section, sizeof set->section, "%s", section);
    }
    if (!strcmp(key, "kind")) {
        set->jupyter = !strcmp(value, "jupyter");
    } else if (!strcmp(key, "env")) {
        char *out = strcmp(section, "defaults") ? set->env : set->fallback;
        snprintf(out, sizeof set->env, "%s", value);
    }
    return 1;
}

static void check_environment(struct doctor *doctor, const char *path, bool own)
{
    static const char ask[] =
        "import sys, importlib.metadata as m\n"
        "print('python', sys.version.split()[0], *(n + ' ' + m.version(n) for n in "
        "('jupyterlab', 'jupyter_server', 'ipykernel')))\n";
    char python[PATH_MAX + 16], out[512];
    const char *remedy = own ? "gearsctl init" : "install jupyterlab and ipykernel there";
    snprintf(python, sizeof python, "%s/bin/python", path);
    if (access(python, X_OK)) {
        doctor_find(doctor, own ? remedy : "change env in etc/gears.conf, or make it",
            "there is no Python environment in %s", path);
        return;
    }
    if (program_read((const char *[]){python, "-I", "-c", ask, NULL}, out, sizeof out)) {
        doctor_find(
            doctor, remedy, "the Python environment %s lacks JupyterLab or does not run", path);
        return;
    }
    out[strcspn(out, "\n")] = 0;
    doctor_note(doctor, "%s: %s", path, out);
}

void check_python(struct doctor *doctor)
{
    static struct environments set;
    char path[PATH_MAX + 32];
    const char *site = getenv("GEARS_SITE_CONFIG");
    set.home = &doctor->cli->home;
    ini_parse(site && *site ? site : "/etc/gears/gears.conf", on_key, &set);
    snprintf(path, sizeof path, "%s/etc/gears.conf", set.home->root);
    ini_parse(path, on_key, &set);
    end_section(&set);
    if (!set.count) {
        add_environment(&set); /* the lab that exists without being named */
    }
    for (size_t i = 0; i < set.count; i++) {
        snprintf(path, sizeof path, "%s/env/", set.home->root);
        check_environment(doctor, set.paths[i], !strncmp(set.paths[i], path, strlen(path)));
    }
}

void check_clock(struct doctor *doctor)
{
    time_t now = time(NULL);
    struct tm parts;
    gmtime_r(&now, &parts);
    if (parts.tm_year + 1900 < YEAR_LEAST) {
        doctor_find(doctor, "tell your site: this host's clock is wrong",
            "this host believes it is the year %d", parts.tm_year + 1900);
    }
    char path[PATH_MAX];
    glob_t found;
    if (home_path(&doctor->cli->home, path, "log", "gearsd/*.log") ||
        glob(path, 0, NULL, &found)) {
        return;
    }
    /* Segments are named by the microsecond they were begun in. */
    const char *name = strrchr(found.gl_pathv[found.gl_pathc - 1], '/') + 1;
    long long begun = strtoll(name, NULL, 10) / 1000000;
    if (begun > (long long)now + 60) {
        doctor_find(doctor, "tell your site: this host's clock went back",
            "gearsd's log begins %lld s in the future", begun - (long long)now);
    }
    globfree(&found);
}

void check_descriptors(struct doctor *doctor)
{
    struct rlimit limit;
    if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_max < DESCRIPTORS_LEAST) {
        doctor_find(doctor, "ask your site for a higher hard limit of open files (ulimit -Hn)",
            "a process may open only %llu files here; the relay needs two for each connection",
            (unsigned long long)limit.rlim_max);
    }
    FILE *file = fopen("/proc/sys/fs/file-nr", "re");
    unsigned long long used = 0, most = 0;
    if (file && fscanf(file, "%llu %*u %llu", &used, &most) == 2 &&
        used + DESCRIPTORS_SPARE > most) {
        doctor_find(doctor, "tell your site: the host is out of open files",
            "%llu of %llu open files of this host are used", used, most);
    }
    if (file) {
        fclose(file);
    }
}

/* The last KillUserProcesses= of logind.conf(5) and its drop-ins: 1, 0, −1 for unset. */
static int read_kill_setting(void)
{
    static const char *const patterns[] = {"/usr/lib/systemd/logind.conf.d/*.conf",
        "/etc/systemd/logind.conf", "/etc/systemd/logind.conf.d/*.conf",
        "/run/systemd/logind.conf.d/*.conf"};
    int setting = -1;
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        glob_t found;
        if (glob(patterns[i], 0, NULL, &found)) {
            continue;
        }
        for (size_t k = 0; k < found.gl_pathc; k++) {
            FILE *file = fopen(found.gl_pathv[k], "re");
            char line[256], value[32];
            while (file && fgets(line, sizeof line, file)) {
                if (sscanf(line, " KillUserProcesses = %31s", value) == 1) {
                    setting = strchr("yYtT1", *value) || !strcasecmp(value, "on");
                }
            }
            if (file) {
                fclose(file);
            }
        }
        globfree(&found);
    }
    return setting;
}

void check_logout(struct doctor *doctor)
{
    struct passwd *user = getpwuid(geteuid());
    char path[PATH_MAX];
    snprintf(path, sizeof path, "/var/lib/systemd/linger/%s", user ? user->pw_name : "");
    bool linger = user && !access(path, F_OK);
    if (read_kill_setting() == 1 && !linger) {
        doctor_find(doctor, "loginctl enable-linger",
            "this host kills all processes of a user at the last logout "
            "(KillUserProcesses=yes in logind.conf)");
    }
}
