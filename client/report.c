/* `daemon report`: what a tunnel runs on a login node. It starts gearsd there and says on one
 * line, behind a word that shell start-up files do not print, where it listens. */
#include "client/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "build_id.h"
#include "common/clock.h"
#include "common/record.h"

/* For others who share the home: the cluster that this host belongs to. Written only when it
 * is not known already; that it could not be is no reason to have no hop. */
static void record_cluster(const struct cli *cli, const char *cluster, const char *node)
{
    char path[PATH_MAX];
    struct record *record = NULL;
    struct error err;
    if (home_path(&cli->home, path, "state", "cluster")) {
        return;
    }
    bool known = !record_load(path, &record, NULL) &&
                 string_equal(record_find(record, "cluster", 0), cluster) &&
                 string_equal(record_find(record, "node", 0), node);
    record_destroy(record);
    record = known ? NULL : record_create();
    if (record && !record_add(record, "cluster", cluster) &&
        !record_add(record, "node", node) &&
        !record_add_integer(record, "at", clock_utc_us()) && record_store(record, path, &err)) {
        cli_say("%s", err.text);
    }
    record_destroy(record);
}

static int print_report(const struct cli *cli, const cJSON *hello, const char *node)
{
    char socket[PATH_MAX], run[PATH_MAX];
    if (home_path(&cli->home, socket, "run", "gearsd.sck") ||
        home_path(&cli->home, run, "run", "%s", "")) {
        cli_say("%s: path too long", cli->home.root);
        return EXIT_FAILED;
    }
    cJSON *out = cJSON_CreateObject();
    cJSON_AddStringToObject(out, "host", cli->home.host);
    cJSON_AddItemToObject(
        out, "node", strchr(node, '.') ? cJSON_CreateString(node) : cJSON_CreateNull());
    cJSON_AddStringToObject(out, "boot_id", cli->home.boot_id);
    cJSON_AddItemToObject(out, "build", json_copy(hello, "build"));
    cJSON_AddItemToObject(out, "version", json_copy(hello, "version"));
    cJSON_AddItemToObject(out, "pid", json_copy(hello, "pid"));
    cJSON_AddStringToObject(out, "socket", socket);
    cJSON_AddStringToObject(out, "run", run);
    cJSON_AddStringToObject(out, "home", cli->home.root);
    cJSON_AddStringToObject(out, "gearsctl_build", GEARS_BUILD_ID);
    char *text = cJSON_PrintUnformatted(out);
    cJSON_Delete(out);
    if (!text) {
        cli_say("out of memory");
        return EXIT_FAILED;
    }
    watch_output_begin();
    printf("\n@gears-report 1 %s\n", text);
    int code = cli_flush();
    watch_output_end();
    free(text);
    return code;
}

int report_run(struct cli *cli, int argc, char **argv)
{
    struct utsname self;
    struct error err;
    cJSON *hello = NULL;
    if (argc != 4 || strcmp(argv[2], "--cluster") != 0) {
        return command_misuse(argv[0], "report needs --cluster NAME");
    }
    if (name_check(argv[3], &err)) {
        return command_misuse(argv[0], err.text);
    }
    uname(&self);
    int code = cli_call(cli, "Hello", NULL, &hello);
    if (!code) {
        record_cluster(cli, argv[3], self.nodename);
        code = print_report(cli, hello, self.nodename);
    }
    cJSON_Delete(hello);
    return code;
}
