/* attach: everything that leads to a cluster's lab is made to be up, in order, and then shown.
 * Also what the laptop's entry runs, so that one ssh is all a day needs. */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/client.h"
#include "client/live.h"
#include "client/login.h"
#include "client/target.h"
#include "client/tunnels.h"
#include "common/clock.h"

enum { LOSSES_MOST = 5, LOSSES_WITHIN_MS = 60000 };

struct plan {
    const char *cluster;
    char service[NAME_MOST];
    char argument[FULL_NAME_MOST]; /* service@cluster */
    int port;
    bool laptop; /* a laptop's entry runs it */
};

/* A socket is of use only on the hub that bound it: a laptop's forward must lead there too. 0
 * or an exit code. */
static int check_hub(const struct cli *cli, const struct plan *plan, const cJSON *tunnel)
{
    const char *holder = json_text(tunnel, "held_by"), *name = plan->cluster;
    char program[PATH_MAX];
    if (!*holder) {
        return 0;
    }
    if (plan->laptop) {
        cli_say("attach: run/%s.sck is on %s; exit here, then on your laptop: ssh -o "
                "HostName=%s %s-jupyter; or have it here: gearsctl takeover %s",
            name, holder, holder, name, name);
    } else {
        home_program(&cli->home, program);
        cli_say("attach: run/%s.sck is on %s; run: ssh %s -t %s attach %s; or have it here: "
                "gearsctl takeover %s",
            name, holder, holder, program, name, name);
    }
    return EXIT_FAILED;
}

static int read_cluster(struct cli *cli, struct plan *plan, bool *open)
{
    cJSON *reply = NULL, *parameters = cJSON_CreateObject();
    struct cli line = cli_fork(cli, "attach"); /* an older connection may be to a dead gearsd */
    cJSON_AddStringToObject(parameters, "cluster", plan->cluster);
    int code = cli_call(&line, "Cluster", parameters, &reply);
    cli_fork_end(&line);
    if (!code) {
        snprintf(plan->service, NAME_MOST, "%s", json_text(reply, "service"));
        snprintf(plan->argument, sizeof plan->argument, "%s@%s", plan->service, plan->cluster);
        plan->port = (int)json_number(reply, "port");
        const cJSON *tunnel = cJSON_GetObjectItemCaseSensitive(reply, "tunnel");
        *open = tunnel_is_open(tunnel);
        code = check_hub(cli, plan, tunnel);
    }
    cJSON_Delete(reply);
    return code;
}

/* Idempotent: what is up is left as it is. Only for somebody who has just asked for it: it may
 * log in. */
static int make_it_so(struct cli *cli, struct plan *plan)
{
    bool open;
    int code = read_cluster(cli, plan, &open);
    code = code ? code : service_start(cli, plan->argument, true);
    target_leave(cli);
    return code;
}

/* What was watched has gone, and perhaps nobody sits here: no more than what an open hop
 * allows. One that is not open is shown, until somebody wants it. */
static int go_on(struct cli *cli, struct plan *plan)
{
    bool open = false;
    int code = read_cluster(cli, plan, &open);
    if (code || !open) {
        return code;
    }
    code = service_start(cli, plan->argument, false);
    if (code && !read_cluster(cli, plan, &open) && !open) {
        code = 0; /* it went together with what was lost */
    }
    target_leave(cli);
    return code;
}

static int print_address(const struct plan *plan)
{
    watch_output_begin();
    printf("http://localhost:%d\n", plan->port);
    int code = cli_flush();
    watch_output_end();
    cli_say("open it on your laptop; with its token: gearsctl url %s", plan->argument);
    return code;
}

/* Until somebody leaves it. */
static int watch_it(struct cli *cli, struct plan *plan)
{
    int losses = 0;
    for (;;) {
        int64_t began = clock_monotonic_ms();
        int end = live_show(cli, plan->service, plan->cluster);
        losses = clock_monotonic_ms() - began < LOSSES_WITHIN_MS ? losses : 0;
        bool lost = end == LIVE_LOST || end == EXIT_UNREACHABLE;
        if (end == LIVE_QUIT) {
            return 0;
        }
        if ((!lost && end != LIVE_LOGIN) || (lost && ++losses > LOSSES_MOST)) {
            return lost ? EXIT_UNREACHABLE : end;
        }
        int code = lost ? go_on(cli, plan) : make_it_so(cli, plan);
        if (code && lost) {
            return code;
        }
    }
}

static void arm_shell(void)
{
    struct passwd *user = getpwuid(geteuid());
    const char *shell = user ? user->pw_shell : NULL;
    shell = shell && *shell ? shell : getenv("SHELL");
    watch_set_shell(shell && *shell == '/' ? shell : "/bin/sh");
}

int cmd_attach(struct cli *cli, int argc, char **argv)
{
    struct plan plan = {0};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--shell")) {
            plan.laptop = true;
        } else if (argv[i][0] == '-') {
            return command_unknown_option(argv[0], argv[i]);
        } else if (plan.cluster) {
            return command_misuse(argv[0], "one CLUSTER only");
        } else {
            plan.cluster = argv[i];
        }
    }
    if (!plan.cluster) {
        return command_misuse(argv[0], "one CLUSTER is needed");
    }
    if (plan.laptop && isatty(0)) {
        /* From here on: a failed login must not cost the first hop too. */
        arm_shell();
    }
    int code = make_it_so(cli, &plan);
    code = code ? code : print_address(&plan);
    if (code || !isatty(0) || !cli->terminal) {
        return code;
    }
    return watch_it(cli, &plan);
}
