/* Runs the checks one after the other, each in a child with a bound, and prints what they
 * found. */
#include "client/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/bundle.h"
#include "common/clock.h"

enum { BOUND_MS = 2000, LONG_BOUND_MS = 20000, FINDING_MOST = 2048 };

static const struct check {
    const char *name;
    void (*run)(struct doctor *doctor);
    bool home; /* it looks below GEARS_HOME: pointless once that hangs */
    int bound_ms;
    const char *slow; /* what else it waits for, said when it takes too long */
} checks[] = {
    {"home", check_home, true, BOUND_MS, NULL},
    {"filesystem", check_filesystem, true, BOUND_MS, NULL},
    {"writable", check_writable, true, BOUND_MS, NULL},
    {"space", check_space, true, BOUND_MS, NULL},
    {"socket-paths", check_socket_paths, true, BOUND_MS, NULL},
    {"hop-paths", check_hop_paths, true, BOUND_MS, NULL},
    {"short-folders", check_short_folders, true, BOUND_MS, NULL},
    {"configuration", check_configuration, true, BOUND_MS, "gearsd is slow to check it"},
    {"lease", check_lease, true, BOUND_MS, NULL},
    {"stale-sockets", check_stale_sockets, true, BOUND_MS, NULL},
    {"hop-leases", check_hop_leases, true, BOUND_MS, NULL},
    {"hop-sockets", check_hop_sockets, true, BOUND_MS, NULL},
    {"strays", check_strays, true, BOUND_MS, NULL},
    {"other-hosts", check_other_hosts, true, BOUND_MS, NULL},
    {"daemon", check_daemon, true, 3 * BOUND_MS, "gearsd is slow"},
    {"relay", check_relay, true, 3 * BOUND_MS, "gearsd or the relay is slow"},
    {"builds", check_builds, true, 2 * BOUND_MS, "gearsd is slow"},
    {"services", check_services, true, 2 * BOUND_MS, "gearsd is slow"},
    {"hops", check_hops, true, BOUND_MS, "gearsd is slow"},
    {"python", check_python, true, LONG_BOUND_MS, "an environment's Python is slow to start"},
    {"clock", check_clock, true, BOUND_MS, NULL},
    {"other-clocks", check_other_clocks, true, BOUND_MS, NULL},
    {"descriptors", check_descriptors, false, BOUND_MS, NULL},
    {"logout", check_logout, true, BOUND_MS, "the host's login manager is slow"},
    {"forwarding", check_forwarding, false, BOUND_MS, NULL},
};

/* One report is one datagram of text: kind, message, remedy, separated by newlines. */
static void report(
    struct doctor *doctor, char kind, const char *remedy, const char *format, va_list args)
{
    char message[FINDING_MOST / 2], text[FINDING_MOST];
    vsnprintf(message, sizeof message, format, args);
    int n = snprintf(text, sizeof text, "%c\n%s\n%s", kind, message, remedy);
    (void)!write(doctor->out, text, (size_t)n < sizeof text ? (size_t)n + 1 : sizeof text);
}

void doctor_find(struct doctor *doctor, const char *remedy, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report(doctor, 'F', remedy, format, args);
    va_end(args);
}

void doctor_fixed(struct doctor *doctor, const char *remedy, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report(doctor, 'X', remedy, format, args);
    va_end(args);
}

void doctor_note(struct doctor *doctor, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report(doctor, 'N', "", format, args);
    va_end(args);
}

struct result {
    cJSON *findings, *notes;
    int wrong; /* found and not fixed */
};

static void take_report(struct result *result, const char *check, char *text)
{
    char *message = text + 1 + (text[1] == '\n'), *remedy = strchr(message, '\n');
    if (remedy) {
        *remedy++ = 0;
    }
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "check", check);
    cJSON_AddStringToObject(object, "message", message);
    if (*text == 'N') {
        cJSON_AddItemToArray(result->notes, object);
        return;
    }
    cJSON_AddStringToObject(object, "remedy", remedy ? remedy : "");
    cJSON_AddBoolToObject(object, "fixed", *text == 'X');
    cJSON_AddItemToArray(result->findings, object);
    result->wrong += *text != 'X';
}

/* Take what the child reports until it ends; false when it did not within its bound. */
static bool collect(struct result *result, const struct check *check, int fd)
{
    int64_t until = clock_monotonic_ms() + check->bound_ms;
    char text[FINDING_MOST + 1];
    for (;;) {
        int64_t left = until - clock_monotonic_ms();
        struct pollfd item = {.fd = fd, .events = POLLIN};
        int n = poll(&item, 1, (int)(left > 0 ? left : 0));
        if (n == 0) {
            return false;
        }
        ssize_t got = n > 0 ? recv(fd, text, sizeof text - 1, 0) : -1;
        if (got == 0 || (got < 0 && errno != EINTR)) {
            return true;
        }
        if (got > 0) {
            text[got] = 0;
            take_report(result, check->name, text);
        }
    }
}

/* Whether the home is what a check waits for: a look at it, in a process that may never end. */
static bool home_answers(const char *root)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) {
        return true;
    }
    pid_t pid = fork();
    if (pid == 0) {
        struct statvfs st;
        close(ends[0]);
        statvfs(root, &st);
        _exit(0);
    }
    close(ends[1]);
    struct pollfd item = {.fd = ends[0], .events = POLLIN}; /* it ends with the process */
    bool answers = pid < 0 || poll(&item, 1, BOUND_MS) != 0;
    close(ends[0]);
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, answers ? 0 : WNOHANG);
    }
    return answers;
}

/* What it would have said is not known; why, as far as can be told. */
static void report_slow(
    struct doctor *doctor, const struct check *check, struct result *result, bool *home_hangs)
{
    const char *root = doctor->cli->home.root;
    char text[2 * PATH_MAX + 300];
    if (check->home && !home_answers(root)) {
        *home_hangs = true;
        snprintf(text, sizeof text,
            "F\n%s did not answer within %d s; its file system hangs\n"
            "ask those who run the file server, or wait until \"ls %s\" answers",
            root, check->bound_ms / 1000, root);
    } else {
        snprintf(text, sizeof text,
            "F\nthis check did not end within %d s: %s\ngearsctl doctor, once more; if it "
            "stays so, report it with: gearsctl doctor --bundle FILE",
            check->bound_ms / 1000,
            check->slow ? check->slow : "the host is busy, or a file system hangs");
    }
    take_report(result, check->name, text);
}

static void run_check(
    struct doctor *doctor, const struct check *check, struct result *result, bool *home_hangs)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends)) {
        return;
    }
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        doctor->check = check->name;
        doctor->out = ends[1];
        check->run(doctor);
        _exit(0);
    }
    close(ends[1]);
    bool ended = pid < 0 || collect(result, check, ends[0]);
    close(ends[0]);
    if (pid > 0 && !ended) {
        report_slow(doctor, check, result, home_hangs);
        kill(pid, SIGKILL);
    }
    int status = 0;
    if (pid > 0) { /* the kernel may hold it: do not wait */
        waitpid(pid, &status, ended ? 0 : WNOHANG);
    }
    if (ended && WIFSIGNALED(status)) {
        char text[200];
        snprintf(text, sizeof text,
            "F\nthe check itself was ended by signal %s; what else it would say is not known\n"
            "report it with: gearsctl doctor --bundle FILE",
            signal_name(WTERMSIG(status)));
        take_report(result, check->name, text);
    }
}

static void print_findings(struct cli *cli, const struct result *result)
{
    const cJSON *item;
    const char *red = cli->colour ? "\033[31m" : "", *green = cli->colour ? "\033[32m" : "";
    const char *plain = cli->colour ? "\033[0m" : "";
    cJSON_ArrayForEach(item, result->findings)
    {
        bool fixed = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(item, "fixed"));
        printf("%s%s%s %s: %s\n    %s: %s\n", fixed ? green : red, fixed ? "fixed" : "wrong",
            plain, json_text(item, "check"), json_text(item, "message"),
            fixed ? "done" : "remedy", json_text(item, "remedy"));
    }
    cJSON_ArrayForEach(item, result->notes)
    {
        printf("note  %s: %s\n", json_text(item, "check"), json_text(item, "message"));
    }
    if (!cJSON_GetArraySize(result->findings)) {
        printf("nothing wrong (%zu checks)\n", sizeof checks / sizeof *checks);
    }
}

static int print_result(struct cli *cli, struct result *result)
{
    if (!cli->json) {
        print_findings(cli, result);
        return cli_flush();
    }
    cJSON *out = cJSON_CreateObject();
    cJSON_AddNumberToObject(out, "schema", 1);
    cJSON_AddStringToObject(out, "host", cli->home.host);
    cJSON_AddItemReferenceToObject(out, "findings", result->findings);
    cJSON_AddItemReferenceToObject(out, "notes", result->notes);
    cJSON *names = cJSON_AddArrayToObject(out, "checks");
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        cJSON_AddItemToArray(names, cJSON_CreateString(checks[i].name));
    }
    int code = cli_print_json(out, false);
    cJSON_Delete(out);
    return code;
}

/* The options; 0 or EXIT_USAGE. */
static int take_options(int argc, char **argv, struct doctor *doctor, const char **bundle)
{
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--fix")) {
            doctor->fix = true;
        } else if (!strcmp(argv[i], "--bundle") && i + 1 < argc && *argv[i + 1]) {
            *bundle = argv[++i];
        } else if (!strcmp(argv[i], "--bundle")) {
            return command_misuse(argv[0], "--bundle needs a FILE");
        } else if (argv[i][0] == '-') {
            return command_unknown_option(argv[0], argv[i]);
        } else {
            return command_misuse(argv[0], "it takes no arguments");
        }
    }
    return 0;
}

int cmd_doctor(struct cli *cli, int argc, char **argv)
{
    struct doctor doctor = {.cli = cli};
    const char *bundle = NULL;
    bool home_hangs = false;
    int code = take_options(argc, argv, &doctor, &bundle);
    if (code) {
        return code;
    }
    struct result result = {cJSON_CreateArray(), cJSON_CreateArray(), 0};
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        if (!checks[i].home || !home_hangs) {
            run_check(&doctor, &checks[i], &result, &home_hangs);
        }
    }
    code = print_result(cli, &result);
    if (!code && bundle && home_hangs) {
        cli_say("no bundle was made: %s does not answer", cli->home.root);
        code = EXIT_FAILED;
    } else if (!code && bundle) {
        code = bundle_make(cli, bundle);
    }
    cJSON_Delete(result.findings);
    cJSON_Delete(result.notes);
    return code ? code : result.wrong ? EXIT_FAILED : EXIT_DONE;
}
