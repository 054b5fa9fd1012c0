/* doctor's checks of this machine, of the configuration, of Python. */
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "client/doctor.h"
#include "client/program.h"

enum { DESCRIPTORS_LEAST = 1024, DESCRIPTORS_SPARE = 64 };

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
