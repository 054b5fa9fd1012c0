/* uninstall: list, ask, stop everything, remove what Gears made. */
#include "client/uninstall.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/client.h"
#include "client/program.h"
#include "common/clock.h"
#include "common/proc.h"
#include "common/unixsock.h"

enum { END_MS = 20000, KILL_MS = 5000, PAUSE_MS = 20, PEERS_MOST = 2050 };

/* gearsd, the relay, keepers, tunnels: who listens on our sockets, told from later ones. */
struct peers {
    struct proc_stat items[PEERS_MOST];
    size_t count;
};

static void add_peer(struct peers *peers, const char *path, int type)
{
    struct ucred peer;
    int fd = unix_connect(path, type, true, NULL);
    if (fd >= 0) {
        if (peers->count < PEERS_MOST && !unix_peer(fd, &peer) &&
            !proc_stat_read(peer.pid, &peers->items[peers->count])) {
            peers->count++;
        }
        close(fd);
    }
}

/* Appends: one that is already ending may not listen any more. */
static void find_peers(const struct home *home, struct peers *peers)
{
    char folder[PATH_MAX], path[PATH_MAX + 256];
    if (!home_path(home, folder, "run", "gearsd.sck")) {
        add_peer(peers, folder, SOCK_STREAM);
    }
    DIR *dir = home_path(home, folder, "run", "link") ? NULL : opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (!strncmp(entry->d_name, "k-", 2) || !strncmp(entry->d_name, "t-", 2) ||
            !strcmp(entry->d_name, "relay.sck")) {
            add_peer(peers, path, SOCK_SEQPACKET);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

static bool any_lives(const struct peers *peers, int number)
{
    bool any = false;
    for (size_t i = 0; i < peers->count; i++) {
        const struct proc_stat *one = &peers->items[i];
        if (proc_is_alive(one->pid, one->start_time)) {
            any = true;
            if (number) {
                kill(one->pid, number);
            }
        }
    }
    return any;
}

static bool wait_for_end(const struct peers *peers, int ms)
{
    int64_t until = clock_monotonic_ms() + ms;
    while (any_lives(peers, 0) && clock_monotonic_ms() < until) {
        poll(NULL, 0, PAUSE_MS);
    }
    return !any_lives(peers, 0);
}

/* 0 when nothing of ours runs on this host any more, else an exit code after a line. */
static int stop_everything(struct cli *cli)
{
    static struct peers peers;
    cJSON *reply = NULL;
    find_peers(&cli->home, &peers);
    if (!peers.count) {
        return 0;
    }
    cJSON *parameters = cJSON_CreateObject();
    cJSON_AddBoolToObject(parameters, "services", true);
    int code = cli_call(cli, "Shutdown", parameters, &reply);
    cJSON_Delete(reply);
    if (code) {
        cli_say("what runs could not be stopped, so nothing was removed");
        return code;
    }
    find_peers(&cli->home, &peers);      /* a gearsd started only for this included */
    if (!wait_for_end(&peers, END_MS)) { /* a relay may wait for a connection to end */
        any_lives(&peers, SIGKILL);
    }
    if (!wait_for_end(&peers, KILL_MS)) {
        cli_say("processes of Gears do not end (pid %d), so nothing was removed",
            (int)peers.items[0].pid);
        return EXIT_FAILED;
    }
    return 0;
}

static int print_plan(struct cli *cli, const struct plan *plan)
{
    if (cli->json) {
        cJSON *out = cJSON_CreateObject();
        cJSON_AddNumberToObject(out, "schema", 1);
        cJSON_AddItemToObject(out, "remove",
            cJSON_CreateStringArray(
                (const char *const *)plan->removes, (int)plan->remove_count));
        cJSON_AddItemToObject(out, "keep",
            cJSON_CreateStringArray((const char *const *)plan->keeps, (int)plan->keep_count));
        cJSON_AddItemToObject(out, "logout",
            cJSON_CreateStringArray((const char *const *)plan->hops, (int)plan->hop_count));
        int code = cli_print_json(out, false);
        cJSON_Delete(out);
        return code;
    }
    for (size_t i = 0; i < plan->hop_count; i++) {
        printf("logout\t%s\n", plan->hops[i]);
    }
    for (size_t i = 0; i < plan->remove_count; i++) {
        printf("remove\t%s\n", plan->removes[i]);
    }
    for (size_t i = 0; i < plan->keep_count; i++) {
        printf("keep\t%s\n", plan->keeps[i]);
    }
    return cli_flush();
}

static int carry_out(const struct plan *plan)
{
    int code = 0;
    for (size_t i = 0; i < plan->remove_count && code != EXIT_INTERRUPTED; i++) {
        const char *argv[] = {"rm", "-rf", "--", plan->removes[i], NULL};
        int status = program_run(argv, NULL);
        if (status) {
            cli_say("%s could not be removed whole; run: rm -rf %s", plan->removes[i],
                plan->removes[i]);
            code = status == EXIT_INTERRUPTED ? status : EXIT_FAILED;
        }
    }
    for (size_t i = 0; i < plan->empty_count; i++) {
        (void)rmdir(plan->empties[i]); /* what holds something else stays */
    }
    return code;
}

static int refuse_elsewhere(char *elsewhere)
{
    char *lease = strchr(elsewhere, ' ');
    *lease++ = 0;
    cli_say(
        "Gears may still run on %s, which cannot be told from here; run there: gearsctl daemon "
        "stop --services --yes; if that host is gone: rm %s",
        elsewhere, lease);
    return EXIT_FAILED;
}

int cmd_uninstall(struct cli *cli, int argc, char **argv)
{
    static struct plan plan;
    char folder[PATH_MAX], share[PATH_MAX + 16];
    bool yes = argc == 2 && !strcmp(argv[1], "--yes");
    if (argc > 1 && !yes) {
        return command_unknown_option(argv[0], argv[1]);
    }
    cli_program_dir(folder);
    snprintf(share, sizeof share, "%s/../share", folder);
    watch_home_begin(cli->home.root, "looking at what is there");
    plan_make(&cli->home, share, &plan);
    watch_end();
    int code = print_plan(cli, &plan);
    if (!code && plan.elsewhere[0]) {
        code = refuse_elsewhere(plan.elsewhere);
    } else if (!code && !plan.remove_count) {
        cli_say("%s holds nothing that Gears made", cli->home.root);
    } else if (!code && !yes) {
        code = program_confirm(
            plan.hop_count
                ? "Stop everything, kernels included, log out of the hops, and remove this?"
                : "Stop everything, kernels included, and remove this?",
            "gearsctl uninstall --yes");
    }
    code = code || !plan.remove_count ? code : stop_everything(cli);
    if (!code && plan.remove_count) {
        varlink_client_close(cli->client);
        cli->client = NULL;
        plan_finish(&plan);
        /* What a gearsd started for its end has made, too. */
        plan_make(&cli->home, share, &plan);
        code = carry_out(&plan);
    }
    plan_finish(&plan);
    return code;
}
