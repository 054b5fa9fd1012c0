/* The durable record of each service: state/<host>/service/<name>.rec. Written before anything
 * that it promises happens; read when gearsd starts. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/file.h"
#include "common/record.h"
#include "daemon/core/log.h"
#include "daemon/service/act.h"
#include "daemon/service/manager_private.h"

struct store_job {
    char path[PATH_MAX];
    struct record *record;
    manager_done *done;
    void *context;
};

static void add_config(struct record *record, const struct service_config *config)
{
    for (char **word = config->argv; word && *word; word++) {
        record_add(record, "argv", *word);
    }
    if (config->cwd) {
        record_add(record, "cwd", config->cwd);
    }
    record_add(record, "kind", config->kind);
}

static void add_launch(struct record *record, const struct service *service)
{
    const struct launch *launch = &service->launch;
    const struct {
        const char *key, *value;
    } strings[] = {{"launch.socket", launch->socket}, {"launch.http", launch->http_path},
        {"launch.url", launch->url_path}, {"launch.shutdown", launch->shutdown_path},
        {"launch.activity", launch->activity_path}, {"launch.env", launch->env_name}};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
        if (strings[i].value) {
            record_add(record, strings[i].key, strings[i].value);
        }
    }
    if (launch->kernels_path) {
        record_add(record, "launch.kernels", launch->kernels_path);
    }
    record_add_integer(record, "launch.port", launch->port);
    record_add_integer(record, "launch.ready", (int)launch->ready);
}

/* An end that no successor may take for a reason to start again. */
static void add_rest(struct record *record, const struct service *service)
{
    if (service->wish.fresh || !service->wish.wanted) {
        return;
    }
    if (service->machine.state == SERVICE_FAILED) {
        record_add(record, "rest", "failed");
        record_add(record, "cause", service->cause);
    } else if (service->machine.state == SERVICE_STOPPED) {
        record_add(record, "rest", "stopped");
    }
}

static struct record *make_record(const struct service *service)
{
    struct record *record = record_create();
    struct service_terms terms;
    if (!record) {
        return NULL;
    }
    act_terms(service, &terms);
    record_add(record, "service", service->config->name);
    record_add(record, "boot_id", service->manager->home.boot_id);
    record_add_integer(record, "wanted", service->wish.wanted);
    record_add_integer(record, "again", service->wish.again);
    record_add_integer(record, "enabled", terms.enabled);
    record_add_integer(record, "forward_port", terms.forward_port);
    record_add_integer(record, "restarts", service->machine.restarts);
    record_add(record, "nonce", service->wish.fresh ? "" : service->nonce);
    add_rest(record, service);
    record_add_integer(record, "adhoc", service->adhoc);
    if (terms.config->workspace) {
        record_add(record, "workspace", terms.config->workspace);
    }
    if (terms.config->env) {
        record_add(record, "env", terms.config->env);
    }
    if (service->adhoc) {
        add_config(record, terms.config);
    }
    add_launch(record, service);
    return record;
}

static int run_store(void *context, struct error *err)
{
    struct store_job *job = context;
    int code = record_store(job->record, job->path, err);
    if (code == -E2BIG) {
        error_set(err, code,
            "the command is too long to be recorded: it may have 64 KiB; put it into a script, "
            "or what is long into a file, and run that");
    }
    return code;
}

static void finish_store(void *context, int code, const struct error *err)
{
    struct store_job *job = context;
    if (code) {
        log_line("record not written path=%s cause=%s", job->path, err->text);
    }
    if (job->done) {
        job->done(job->context, code, err);
    }
    record_destroy(job->record);
    free(job);
}

void store_submit(struct service *service, manager_done *done, void *context)
{
    struct manager *manager = service->manager;
    struct error err = {0};
    service->stores++;
    struct store_job *job = calloc(1, sizeof *job);
    int code = -ENOMEM;
    if (job) {
        job->done = done;
        job->context = context;
        job->record = make_record(service);
        code = job->record ? home_path(&manager->home, job->path, "state", "service/%s.rec",
                                 service->config->name)
                           : -ENOMEM;
        code = code ? code : worker_submit(manager->io, run_store, finish_store, job);
    }
    if (code) {
        error_errno(&err, code, "the record of %s cannot be written (the home hangs?)",
            service->config->name);
        if (job) {
            record_destroy(job->record);
            free(job);
        }
        if (done) {
            done(context, code, &err);
        }
    }
}

static char *copy(const char *text)
{
    return text ? strdup(text) : NULL;
}

static void load_launch(struct service *service, const struct record *record)
{
    struct launch *launch = &service->launch;
    launch->socket = copy(record_find(record, "launch.socket", 0));
    launch->http_path = copy(record_find(record, "launch.http", 0));
    launch->url_path = copy(record_find(record, "launch.url", 0));
    launch->shutdown_path = copy(record_find(record, "launch.shutdown", 0));
    launch->activity_path = copy(record_find(record, "launch.activity", 0));
    launch->env_name = copy(record_find(record, "launch.env", 0));
    launch->kernels_path = copy(record_find(record, "launch.kernels", 0));
    launch->port = (uint16_t)record_integer(record, "launch.port", 0);
    launch->ready = (enum ready_rule)record_integer(record, "launch.ready", READY_STARTED);
    char path[PATH_MAX];
    if (!home_path(
            &service->manager->home, path, "state", "secret/%s.token", service->config->name) &&
        file_read(path, 256, &launch->token, NULL, NULL)) {
        launch->token = NULL;
    }
}

static struct service_config *adhoc_config(const struct record *record, const char *name)
{
    const char *kind = record_find(record, "kind", 0);
    struct service_config *config = service_config_create(name, kind ? kind : "command");
    size_t count = 0;
    while (record_find(record, "argv", count)) {
        count++;
    }
    if (!config || !(config->argv = calloc(count + 1, sizeof(char *)))) {
        service_config_destroy(config);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        config->argv[i] = copy(record_find(record, "argv", i));
    }
    config->cwd = copy(record_find(record, "cwd", 0));
    config->restart = RESTART_NO; /* as `run` has it */
    return config;
}

/* Of an earlier boot: nothing of it runs. What had not ended by then ended with the host. */
static void load_dead(struct service *service)
{
    struct service_exit end;
    char when[32];
    exit_load(&service->manager->home, service->config->name, service->nonce, &end);
    if (end.how == EXIT_NONE && service->wish.wanted && service->nonce[0] &&
        !service->settled) {
        int64_t boot_us = clock_utc_us() - clock_boot_ms() * 1000;
        bool lab = string_equal(service->config->kind, "jupyter");
        char *lost = NULL;
        end = (struct service_exit){.how = EXIT_UNKNOWN};
        clock_format_local(boot_us, when, sizeof when);
        snprintf(end.note, sizeof end.note, "host rebooted %s, %s lost", when,
            lab ? "kernels" : "what ran is");
        if (service->launch.kernels_path &&
            !file_read(service->launch.kernels_path, sizeof end.lost * 8, &lost, NULL, NULL)) {
            snprintf(end.lost, sizeof end.lost, "%.*s", (int)strcspn(lost, "\n"), lost);
            free(lost);
        }
    }
    service->exit = end;
    service->machine.state = SERVICE_STOPPED;
    service->machine.wanted = service->wish.wanted = false;
    service->wish.fresh = service->wish.again = false;
    service->nonce[0] = 0;
}

static void load_wish(struct service *service, const struct record *record)
{
    const char *nonce = record_find(record, "nonce", 0);
    const char *rest = record_find(record, "rest", 0);
    const char *cause = record_find(record, "cause", 0);
    snprintf(service->nonce, sizeof service->nonce, "%s", nonce ? nonce : "");
    service->wish.wanted = record_integer(record, "wanted", 0) != 0;
    service->wish.fresh = service->wish.wanted && !service->nonce[0];
    service->wish.again = service->wish.wanted && record_integer(record, "again", 0) != 0;
    service->machine.wanted = service->wish.wanted;
    service->machine.restarts = (int)record_integer(record, "restarts", 0);
    service->enabled = (int)record_integer(record, "enabled", -1);
    service->forward_port = (uint16_t)record_integer(record, "forward_port", 0);
    if (string_equal(rest, "failed")) {
        service->machine.state = SERVICE_FAILED;
        snprintf(service->cause, sizeof service->cause, "%s", cause ? cause : "");
    }
    service->settled = rest != NULL;
}

static void load_one(struct manager *manager, const char *name, const struct record *record)
{
    struct service *service = manager_find(manager, name);
    bool adhoc = record_integer(record, "adhoc", 0) != 0;
    if (!service) {
        /* Gone from gears.conf but perhaps still running: known until it ends. */
        struct service_config *config =
            adhoc || record_integer(record, "wanted", 0) ? adhoc_config(record, name) : NULL;
        service = config ? manager_add(manager, config) : NULL;
        if (!service) {
            return;
        }
        service->adhoc = adhoc;
        service->orphaned = !adhoc;
    }
    const char *workspace = record_find(record, "workspace", 0);
    const char *env = record_find(record, "env", 0);
    if (workspace && !service->config->workspace) {
        service->config->workspace = strdup(workspace);
    }
    if (env && !service->config->env) {
        service->config->env = strdup(env);
    }
    service->recorded = true;
    load_wish(service, record);
    load_launch(service, record);
    if (!string_equal(record_find(record, "boot_id", 0), manager->home.boot_id)) {
        load_dead(service);
    }
}

void store_load_all(struct manager *manager)
{
    char folder[PATH_MAX], path[PATH_MAX + 260];
    DIR *dir = home_path(&manager->home, folder, "state", "service") ? NULL : opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        size_t length = strlen(entry->d_name);
        struct record *record = NULL;
        struct error err;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (length > 4 && !strcmp(entry->d_name + length - 4, ".tmp")) {
            unlink(path); /* of a gearsd that died while it wrote; only gearsd writes here */
        }
        if (length < 5 || strcmp(entry->d_name + length - 4, ".rec") != 0) {
            continue;
        }
        if (record_load(path, &record, &err)) {
            log_line("record ignored path=%s cause=%s", path, err.text);
            continue;
        }
        const char *name = record_find(record, "service", 0);
        if (name && !name_check(name, NULL)) {
            load_one(manager, name, record);
        }
        record_destroy(record);
    }
    if (dir) {
        closedir(dir);
    }
}
