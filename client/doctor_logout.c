/* doctor's check of what goes on when its user has left: logind, which may end a session's
 * processes, and shells that end by themselves when they are idle. */
#include <glob.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/doctor.h"
#include "client/program.h"

enum { FILES_MOST = 64, LINE_SIZE = 1024, USERS_SIZE = 1024 };

/* logind.conf(5), as far as it decides who is killed. */
struct kill_rule {
    int kill; /* 1, 0, −1: not known */
    char only[USERS_SIZE], exclude[USERS_SIZE];
};

static void take_list(char list[USERS_SIZE], const char *value)
{
    size_t used = *value ? strlen(list) : 0;
    snprintf(list + used, USERS_SIZE - used, "%s%s", used ? " " : "", value);
}

static void read_rule(const char *path, struct kill_rule *rule)
{
    char line[LINE_SIZE];
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) {
        char key[64], value[LINE_SIZE] = "";
        if (sscanf(line, " %63[A-Za-z] = %1023[^\n]", key, value) < 1) {
            continue;
        }
        value[strcspn(value, "\r")] = 0;
        if (!strcmp(key, "KillUserProcesses") && *value) {
            rule->kill = strchr("yYtT1", *value) || !strcasecmp(value, "on");
        } else if (!strcmp(key, "KillOnlyUsers")) {
            take_list(rule->only, value);
        } else if (!strcmp(key, "KillExcludeUsers")) {
            take_list(rule->exclude, value);
        }
    }
    if (file) {
        fclose(file);
    }
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(strrchr(*(char *const *)a, '/'), strrchr(*(char *const *)b, '/'));
}

/* The main file, then all drop-ins by name, whichever folder they are in; of one name the first
 * folder's counts. */
static void read_files(struct kill_rule *rule)
{
    static const char *const roots[] = {"/etc", "/run", "/usr/local/lib", "/usr/lib"};
    char *files[FILES_MOST], path[PATH_MAX];
    size_t count = 0;
    bool main_read = false;
    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++) {
        glob_t found;
        snprintf(path, sizeof path, "%s/systemd/logind.conf", roots[i]);
        if (!main_read && !access(path, F_OK)) {
            read_rule(path, rule);
            main_read = true;
        }
        snprintf(path, sizeof path, "%s/systemd/logind.conf.d/*.conf", roots[i]);
        if (glob(path, 0, NULL, &found)) {
            continue;
        }
        for (size_t k = 0; k < found.gl_pathc && count < FILES_MOST; k++) {
            bool masked = false;
            for (size_t n = 0; n < count; n++) {
                masked = masked || !compare_names(&files[n], &found.gl_pathv[k]);
            }
            files[count] = masked ? NULL : strdup(found.gl_pathv[k]);
            count += files[count] != NULL;
        }
        globfree(&found);
    }
    qsort(files, count, sizeof *files, compare_names);
    for (size_t i = 0; i < count; i++) {
        read_rule(files[i], rule);
        free(files[i]);
    }
}

/* What logind says: "b false", then lists as 'as 1 "root"'. Only it knows its default. */
static bool ask_logind(struct kill_rule *rule)
{
    static const char name[] = "org.freedesktop.login1";
    char out[2 * USERS_SIZE], *save = NULL;
    const char *const argv[] = {"busctl", "--system", "--timeout=1", "get-property", name,
        "/org/freedesktop/login1", "org.freedesktop.login1.Manager", "KillUserProcesses",
        "KillOnlyUsers", "KillExcludeUsers", NULL};
    if (access("/run/systemd/system", F_OK) || program_read(argv, out, sizeof out) ||
        strncmp(out, "b ", 2) != 0) {
        return false;
    }
    *rule = (struct kill_rule){.kill = !strncmp(out, "b true", 6)};
    strtok_r(out, "\n", &save);
    for (int i = 0; i < 2; i++) {
        char *line = strtok_r(NULL, "\n", &save), *list = line ? strchr(line, '"') : NULL;
        for (char *c = list; c && *c; c++) {
            *c = *c == '"' ? ' ' : *c;
        }
        take_list(i ? rule->exclude : rule->only, list ? list : "");
    }
    return true;
}

static bool lists(const char *list, const char *user)
{
    size_t length = strlen(user);
    for (const char *at = list; length && (at = strstr(at, user)); at += length) {
        if ((at == list || at[-1] == ' ') && (!at[length] || at[length] == ' ')) {
            return true;
        }
    }
    return false;
}

/* 1: logind ends what `user`'s sessions leave; 0: it does not; −1: not known. */
static int read_kill_setting(const char *user)
{
    struct kill_rule rule = {.kill = -1};
    if (!ask_logind(&rule)) {
        snprintf(rule.exclude, sizeof rule.exclude, "root"); /* as logind.conf(5) says */
        read_files(&rule);
    }
    return lists(rule.exclude, user) ? 0 : *rule.only ? lists(rule.only, user) : rule.kill;
}

/* Whether gearsd, or what would start it, is in the user's manager rather than in a session. */
static bool in_user_manager(struct doctor *doctor)
{
    char path[PATH_MAX], line[LINE_SIZE], mark[40];
    bool found = false;
    pid_t pid = home_path(&doctor->cli->home, path, "run", "gearsd.sck")
                    ? 0
                    : doctor_listener(path, SOCK_STREAM);
    snprintf(path, sizeof path, "/proc/%d/cgroup", (int)(pid > 0 ? pid : getpid()));
    snprintf(mark, sizeof mark, "/user@%u.service/", (unsigned)geteuid());
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) {
        found = found || strstr(line, mark);
    }
    if (file) {
        fclose(file);
    }
    return found;
}

static void judge_session(struct doctor *doctor, const char *user)
{
    char path[PATH_MAX], runner[PATH_MAX];
    snprintf(path, sizeof path, "/var/lib/systemd/linger/%s", user);
    bool linger = *user && !access(path, F_OK), managed = in_user_manager(doctor);
    int kills = read_kill_setting(user);
    if (managed && !linger) {
        doctor_find(doctor, "loginctl enable-linger",
            "gearsd runs in your user manager, which ends with your last session here: then "
            "services, kernels and hops are lost");
    } else if (kills == 1 && !managed) {
        bool able = !program_read((const char *[]){"sh", "-c", "command -v systemd-run", NULL},
            runner, sizeof runner);
        doctor_find(doctor,
            !linger ? "loginctl enable-linger"
            : able  ? "gearsctl daemon stop --services && systemd-run --user --scope gearsctl "
                      "daemon start"
                    : "ask your site to name you in KillExcludeUsers of logind.conf",
            "this host kills all processes of a user at the last logout "
            "(KillUserProcesses=yes in logind.conf): services, kernels and hops are lost then");
    } else if (managed) {
        doctor_note(doctor, "services, kernels and hops survive a logout: gearsd runs in your "
                            "user manager, which lingers");
    } else if (access("/run/systemd/seats", F_OK)) {
        doctor_note(doctor,
            "services, kernels and hops survive a logout, unless the site has a way of its own "
            "to end them: systemd-logind does not run here");
    } else if (kills == 0) {
        doctor_note(doctor, "services, kernels and hops survive a logout: logind kills nothing "
                            "of yours");
    } else {
        doctor_note(doctor,
            "whether services, kernels and hops survive a logout cannot be told: logind.conf "
            "does not set KillUserProcesses, and logind does not say");
    }
}

/* When a shell that waits at its prompt ends by itself. */
struct idle {
    long seconds; /* 0: never */
    bool fixed;   /* read-only: its user cannot change it */
    char file[PATH_MAX];
};

static const char *find_word(const char *line, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = line; (at = strstr(at, word)); at += length) {
        bool begins = at == line || !strchr("_$#{", at[-1]);
        begins = begins && (at == line || strchr(" \t;&", at[-1]));
        if (begins && (!at[length] || strchr(" \t;=\n(", at[length]))) {
            return at + length;
        }
    }
    return NULL;
}

/* "TMOUT=900", "readonly TMOUT", "set -r autologout = 30"; what is computed says nothing. */
static void take_line(const char *line, const char *word, long unit, struct idle *idle)
{
    line += strspn(line, " \t");
    const char *at = *line == '#' ? NULL : find_word(line, word);
    if (!at) {
        return;
    }
    char *end;
    const char *value = at + strspn(at, " \t");
    bool assigned = *value == '=';
    value += assigned + strspn(value + assigned, " \t\"'(");
    long number = strtol(value, &end, 10);
    if (!strncmp(line, "unset", 5)) {
        idle->seconds = 0;
    } else if (assigned && end != value && number >= 0 && number < 10000000) {
        idle->seconds = number * unit;
    }
    idle->fixed = idle->fixed || !strncmp(line, "readonly", 8) || strstr(line, " -r ") ||
                  strstr(line, "readonly TMOUT") || strstr(line, " -rx ");
}

static void read_shell_files(
    const char *const *patterns, const char *word, long unit, struct idle *idle)
{
    for (; *patterns; patterns++) {
        glob_t found;
        if (glob(*patterns, 0, NULL, &found)) {
            continue;
        }
        for (size_t i = 0; i < found.gl_pathc && i < FILES_MOST; i++) {
            char line[LINE_SIZE];
            FILE *file = fopen(found.gl_pathv[i], "re");
            while (file && fgets(line, sizeof line, file)) {
                if (!strstr(line, word)) {
                    continue;
                }
                long before = idle->seconds;
                take_line(line, word, unit, idle);
                if (idle->seconds != before) {
                    snprintf(idle->file, sizeof idle->file, "%s", found.gl_pathv[i]);
                }
            }
            if (file) {
                fclose(file);
            }
        }
        globfree(&found);
    }
}

static void judge_idle(struct doctor *doctor, const struct idle *idle, const char *setting,
    const char *shell, bool own)
{
    char words[32];
    duration_format(idle->seconds * 1000, words, sizeof words);
    if (!own) {
        doctor_note(doctor,
            "%s would end an idle shell after %s (%s in %s); your login shell "
            "is another",
            shell, words, setting, idle->file);
        return;
    }
    doctor_find(doctor,
        "leave gearsctl attach running in that shell, or have the laptop forward with ssh -N",
        "an idle shell is ended after %s here (%s%s in %s): services, kernels and hops survive "
        "that, the forward of an ssh that waits in such a shell does not",
        words, setting, idle->fixed ? ", read-only," : "", idle->file);
}

void check_logout(struct doctor *doctor)
{
    static const char *const sh[] = {
        "/etc/profile", "/etc/profile.d/*.sh", "/etc/bash.bashrc", "/etc/bashrc", NULL};
    static const char *const csh[] = {
        "/etc/csh.cshrc", "/etc/profile.d/*.csh", "/etc/csh.login", NULL};
    struct passwd *user = getpwuid(geteuid());
    bool in_csh = user && user->pw_shell && strstr(user->pw_shell, "csh");
    struct idle idle = {0}, other = {0};
    char setting[64];
    const char *given = getenv("TMOUT");
    judge_session(doctor, user ? user->pw_name : "");
    read_shell_files(sh, "TMOUT", 1, &idle);
    if (given && strtol(given, NULL, 10) > 0 && strtol(given, NULL, 10) != idle.seconds) {
        idle.seconds = strtol(given, NULL, 10);
        snprintf(idle.file, sizeof idle.file, "your environment");
    }
    read_shell_files(csh, "autologout", 60, &other);
    if (idle.seconds) {
        snprintf(setting, sizeof setting, "TMOUT=%ld", idle.seconds);
        judge_idle(doctor, &idle, setting, "sh", !in_csh);
    }
    if (other.seconds) {
        snprintf(setting, sizeof setting, "autologout=%ld", other.seconds / 60);
        judge_idle(doctor, &other, setting, "csh", in_csh);
    }
}
