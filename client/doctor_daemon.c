/* doctor's checks of what runs: gearsd, its lease, the relay, keepers, services. */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "build_id.h"
#include "client/doctor.h"
#include "client/program.h"
#include "common/clock.h"
#include "common/lease.h"

enum { RELAY_TRIES = 20, RELAY_PAUSE_MS = 100 };

static bool is_stopped(pid_t pid)
{
    char state = doctor_state_of(pid);
    return state == 'T' || state == 't';
}

/* 1 its holder may live, 0 it is dead, a negative errno (−ENOENT: there is none); where =
 * "HOST, pid N". */
static int judge_lease(struct doctor *doctor, const char *path, char *where, size_t size)
{
    struct lease_seen lease;
    int code = lease_look(&doctor->cli->home, path, &lease);
    if (code || lease.damaged) {
        snprintf(where, size, "%s", code ? "unreadable" : "damaged");
        return code;
    }
    snprintf(where, size, "%s, pid %d%s", lease.host, (int)lease.pid,
        lease.rebooted ? ", before the last reboot" : "");
    return lease.alive;
}

void check_lease(struct doctor *doctor)
{
    char path[PATH_MAX], where[200];
    if (home_path(&doctor->cli->home, path, "run", "gearsd.lease")) {
        return;
    }
    int alive = judge_lease(doctor, path, where, sizeof where);
    bool runs = doctor_daemon_runs(doctor);
    if (alive == -ENOENT && runs) {
        doctor_find(
            doctor, "gearsctl daemon restart", "gearsd runs without its lease %s", path);
    } else if (alive == 1 && !runs) {
        doctor_find(doctor, "gearsctl daemon start, after a look at the process",
            "the lease is held (%s) but its gearsd does not listen", where);
    } else if (alive == 0 && !runs) {
        doctor_note(
            doctor, "the last gearsd ended without a word (%s); the next takes over", where);
    }
}

void check_other_hosts(struct doctor *doctor)
{
    char folder[PATH_MAX], path[PATH_MAX + 300], where[200];
    snprintf(folder, sizeof folder, "%s/run", doctor->cli->home.root);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        snprintf(path, sizeof path, "%s/%s/gearsd.lease", folder, entry->d_name);
        if (doctor_is_host(entry->d_name) &&
            strcmp(entry->d_name, doctor->cli->home.host) != 0 &&
            judge_lease(doctor, path, where, sizeof where) == 1) {
            doctor_note(doctor,
                "another host has a gearsd, as far as can be told from here: %s", where);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

/* "gearsctl daemon VERB" by the gearsctl beside this one. */
static bool run_daemon(const char *verb)
{
    char folder[PATH_MAX], program[PATH_MAX + 16];
    cli_program_dir(folder);
    snprintf(program, sizeof program, "%s/gearsctl", folder);
    return !program_run_quiet((const char *[]){program, "daemon", verb, NULL});
}

/* gearsd does not run: a fault if there is something to look after. */
static void check_absent(struct doctor *doctor)
{
    int services = doctor_count_helpers(doctor, "k-"),
        hops = doctor_count_helpers(doctor, "t-");
    char what[64];
    if (!services && !hops) {
        doctor_note(doctor, "gearsd does not run on %s, nor any service or hop",
            doctor->cli->home.host);
        return;
    }
    if (hops) {
        snprintf(what, sizeof what, "%d services and %d hops", services, hops);
    } else {
        snprintf(what, sizeof what, "%d services", services);
    }
    bool fixed = doctor->fix && run_daemon("start");
    (fixed ? doctor_fixed : doctor_find)(doctor, "gearsctl daemon start",
        "%s %s without a gearsd to look after them", what, fixed ? "ran" : "run");
}

void check_daemon(struct doctor *doctor)
{
    char path[PATH_MAX], remedy[80];
    if (home_path(&doctor->cli->home, path, "run", "gearsd.sck")) {
        return;
    }
    pid_t pid = doctor_listener(path, SOCK_STREAM);
    if (pid <= 0) {
        check_absent(doctor);
        return;
    }
    cJSON *hello = doctor_ask(doctor, "Hello", NULL);
    if (!hello && is_stopped(pid)) {
        snprintf(remedy, sizeof remedy, "kill -CONT %d", (int)pid);
        doctor_find(doctor, remedy, "gearsd is stopped (pid %d)", (int)pid);
    } else if (!hello) {
        snprintf(remedy, sizeof remedy, "kill %d; gearsctl daemon start", (int)pid);
        doctor_find(
            doctor, remedy, "gearsd does not answer (pid %d); services go on", (int)pid);
    }
    cJSON_Delete(hello);
}

void check_relay(struct doctor *doctor)
{
    char path[PATH_MAX], remedy[80];
    if (!doctor_daemon_runs(doctor) ||
        home_path(&doctor->cli->home, path, "run", "link/relay.sck")) {
        return;
    }
    pid_t pid = doctor_listener(path, SOCK_SEQPACKET);
    for (int i = 0; i < RELAY_TRIES && pid <= 0 && pid != -EAGAIN; i++) {
        poll(NULL, 0, RELAY_PAUSE_MS); /* gearsd may be starting another just now */
        pid = doctor_listener(path, SOCK_SEQPACKET);
    }
    if (pid > 0 && is_stopped(pid)) {
        snprintf(remedy, sizeof remedy, "kill -CONT %d", (int)pid);
        doctor_find(doctor, remedy, "the relay is stopped (pid %d): no page loads", (int)pid);
    } else if (pid <= 0 && pid != -EAGAIN) {
        bool fixed = doctor->fix && run_daemon("restart");
        (fixed ? doctor_fixed : doctor_find)(doctor, "gearsctl daemon restart",
            "the relay does not answer on %s: no page loads", path);
    }
}

void check_builds(struct doctor *doctor)
{
    cJSON *hello = doctor_ask(doctor, "Hello", NULL),
          *status = hello ? doctor_ask(doctor, "Status", NULL) : NULL;
    const char *build = json_text(hello, "build"), *relay = json_text(hello, "relay_build");
    const cJSON *service;
    doctor_note(doctor, "gearsctl %s, gearsd %s, relay %s", GEARS_BUILD_ID,
        *build ? build : "not running", *relay ? relay : "not running");
    if (hello && strcmp(build, GEARS_BUILD_ID) != 0) {
        doctor_find(doctor, "gearsctl daemon upgrade", "gearsd is build %s and gearsctl is %s",
            build, GEARS_BUILD_ID);
    } else if (hello && *relay && strcmp(relay, build) != 0) {
        doctor_find(doctor, "gearsctl daemon upgrade", "the relay is build %s and gearsd is %s",
            relay, build);
    }
    cJSON_ArrayForEach(service, cJSON_GetObjectItemCaseSensitive(status, "services"))
    {
        const char *keeper = json_text(service, "build");
        if (*keeper && strcmp(keeper, build) != 0) {
            doctor_note(doctor, "the keeper of %s is build %s until the service is restarted",
                json_text(service, "name"), keeper);
        }
    }
    cJSON_Delete(hello);
    cJSON_Delete(status);
}

static void check_service(struct doctor *doctor, const cJSON *service)
{
    const cJSON *health = cJSON_GetObjectItemCaseSensitive(service, "health");
    const char *name = json_text(service, "name"), *state = json_text(service, "state");
    const char *cause = json_text(service, "cause");
    char remedy[80], age[32];
    int64_t since = clock_utc_us() - (int64_t)json_number(health, "since");
    duration_format(since > 0 ? since / 1000 : 0, age, sizeof age);
    snprintf(remedy, sizeof remedy, "gearsctl logs %s", name);
    if (!strcmp(state, "failed") || !strcmp(state, "backoff")) {
        doctor_find(doctor, remedy, "%s is in state %s: %s", name, state,
            *cause ? cause : json_text(health, "message"));
    } else if (!strcmp(state, "ready") &&
               !cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(health, "ok"))) {
        doctor_find(doctor, remedy, "%s runs but its layer \"%s\" has not been well for %s: %s",
            name, json_text(health, "layer"), age, json_text(health, "message"));
    } else if (json_number(service, "log_dropped") > 0) {
        doctor_note(doctor, "%s: %.0f bytes of output were dropped while the log's disk stood",
            name, json_number(service, "log_dropped"));
    }
    if (!strcmp(state, "stopped") && *cause && !strcmp(json_text(service, "wanted"), "start")) {
        snprintf(remedy, sizeof remedy, "gearsctl start %s", name);
        doctor_find(doctor, remedy, "%s is stopped: %s", name, cause);
    }
}

void check_services(struct doctor *doctor)
{
    cJSON *status = doctor_ask(doctor, "Status", NULL);
    const cJSON *service;
    cJSON_ArrayForEach(service, cJSON_GetObjectItemCaseSensitive(status, "services"))
    {
        check_service(doctor, service);
    }
    cJSON_Delete(status);
}
