/* The table of commands: what --help says, what completion offers, what runs. The usage line is
 * also what the completion reads: NAME is a service, words with | are alternatives. */
#include <string.h>

#include "client/client.h"

#define WAITING                                                                                \
    "--no-wait      return when gearsd has taken it down durably\n"                            \
    "--timeout D    wait at most D (90s, 5m); exit 124 then, while the start goes on\n"

const struct command commands[] = {
    {"start", "start NAME [--workspace DIR] [--env NAME] [--no-wait] [--timeout D]",
        "start a service and wait until it is ready",
        "--workspace DIR  the folder it opens (jupyter) or runs in; kept for later starts\n"
        "--env NAME       the Python environment: a name below env/<system>/, or a "
        "path\n" WAITING "NAME@CLUSTER, here and elsewhere, is a service behind a hop, which "
        "start opens if\nneed be.\n",
        "gearsctl start lab", cmd_service},
    {"stop", "stop NAME… [--no-wait]", "stop services and everything they started",
        "--no-wait      return when gearsd has taken it down durably\n", "gearsctl stop lab",
        cmd_service},
    {"restart", "restart NAME… [--no-wait] [--timeout D]", "stop and start again", WAITING,
        "gearsctl restart lab", cmd_service},
    {"enable", "enable NAME…", "start whenever gearsd starts", "", "gearsctl enable lab",
        cmd_service},
    {"disable", "disable NAME…", "no longer start with gearsd", "", "gearsctl disable lab",
        cmd_service},
    {"reset-failed", "reset-failed NAME…", "forget that a service failed", "",
        "gearsctl reset-failed lab", cmd_service},
    {"remove", "remove NAME…", "forget a stopped service made by run", "", "gearsctl remove tb",
        cmd_service},
    {"status", "status [NAME] [--watch] [--usage] [--json]", "what is wanted and what is",
        "--watch  go on and show every change\n"
        "--usage  memory and CPU time too (in --json; always for one NAME)\n"
        "Without NAME also the services behind open hops, and the hops. With one NAME that is\n"
        "stopped or failed the exit status is 3; behind a hop that is not open it is\n"
        "\"unreachable\", and the exit status 7 where a human must log in, else 1.\n"
        "@CLUSTER stands for all services there.\n",
        "gearsctl status lab", cmd_status},
    {"logs", "logs NAME|gearsd|relay [-f] [-n N] [--since D] [--timestamps] [--json]",
        "output of a service, of gearsd or of its relay",
        "-f, --follow  go on with what comes\n"
        "-n N          the newest N lines (100, with --since all, but at most 10000)\n"
        "--since D     only of the last D (10m, 2h)\n"
        "--timestamps  the time and the stream (o, e) before each line\n",
        "gearsctl logs lab -f", cmd_logs},
    {"events", "events [NAME] [-f] [--json]", "what happened to services",
        "-f, --follow  go on with what comes\n"
        "NAME: only of that service, of gearsd, or of a cluster's hop; @CLUSTER: all behind "
        "it.\n",
        "gearsctl events -f", cmd_events},
    {"url", "url NAME [--open] [--json]", "the address to open, with its token",
        "--open  in a browser on this host ($BROWSER, else xdg-open), through a private page:\n"
        "        the token never stands in an argument list\n"
        "Prints the address of the port made by forward if there is one, else the laptop's;\n"
        "--json has both. NAME@CLUSTER: the laptop's, with the cluster's port.\n",
        "gearsctl url lab --open", cmd_url},
    {"wait", "wait NAME [--for ready|stopped] [--timeout D]", "wait for a state",
        "--for STATE    ready (default) or stopped\n"
        "--timeout D    wait at most D; exit 124 then\n",
        "gearsctl wait lab --for stopped", cmd_wait},
    {"run", "run NAME [--kind command|jupyter] [--no-wait] [--timeout D] -- CMD…",
        "a supervised command; {socket} and {port} are filled in",
        "--kind KIND    command (default) or jupyter\n" WAITING,
        "gearsctl run tb -- tensorboard --logdir runs --port {port}", cmd_run},
    {"signal", "signal NAME SIGNAL", "send a signal to the main process", "",
        "gearsctl signal lab USR1", cmd_signal},
    {"forward", "forward NAME [PORT] [--remove] [--yes] [--json]",
        "a loopback port to a service, for your uid only",
        "--remove  close it\n"
        "--yes     do not ask, where other people share the host\n"
        "Without PORT: 38888, else the next free one. Prints the port.\n",
        "gearsctl forward lab 38888", cmd_forward},
    {"init", "init", "folders, configuration, Python environment with JupyterLab",
        "May be run again at any time; it does what is missing.\n", "gearsctl init", cmd_init},
    {"password", "password [--stdin]", "set the password of Jupyter",
        "--stdin  read it as one line from standard input instead of asking twice\n",
        "gearsctl password", cmd_password},
    {"login", "login CLUSTER [--node NODE] [--force] [--json]",
        "open the hop to a cluster; the server's own questions are asked here",
        "--node NODE  that login node rather than the one where the lab lives\n"
        "--force      anew, although it is open\n"
        "Answers go to the server and nowhere else. ^C gives up. Without a terminal nothing "
        "is\n"
        "asked: exit status 7 when there would have been a question.\n",
        "gearsctl login andes", cmd_login},
    {"logout", "logout CLUSTER|--all [--json]", "close a hop; what runs there goes on",
        "--all  every hop of this host\n", "gearsctl logout andes", cmd_logout},
    {"attach", "attach CLUSTER [--shell]",
        "make everything be up, ask only if needed, then show it live",
        "--shell  your login shell afterwards, however it ends; for the laptop's entry\n"
        "Opens the hop, starts the cluster's lab, prints the address; may be run again at any\n"
        "time. On a terminal one line is then kept up to date: q leaves it.\n",
        "gearsctl attach andes", cmd_attach},
    {"takeover", "takeover CLUSTER [--yes] [--json]",
        "serve run/CLUSTER.sck on this hub, whichever did", "--yes  do not ask\n",
        "gearsctl takeover andes", cmd_takeover},
    {"ssh-config", "ssh-config [CLUSTER] [--direct]", "an entry for the laptop's ssh_config",
        "--direct  to the login node that holds the lab, without a hub, where the site allows "
        "it\n"
        "Without CLUSTER: to the services of this host.\n",
        "gearsctl ssh-config andes", cmd_ssh_config},
    {"doctor", "doctor [--fix] [--bundle FILE] [--json]",
        "what is wrong here, each with one remedy",
        "--fix          do what is safe: modes, dead sockets, leftovers, a dead relay or "
        "gearsd\n"
        "--bundle FILE  a tar.gz for those who help you: versions, configuration, status, "
        "ends\n"
        "               of logs, without tokens, passwords and cookies\n"
        "Exit status 0: nothing is wrong (any more); 1: there are findings.\n",
        "gearsctl doctor --fix", cmd_doctor},
    {"uninstall", "uninstall [--yes] [--json]", "stop everything and remove what Gears made",
        "--yes  do not ask\n"
        "Lists first. Removes programs, environments made by init, sockets, state, logs, and "
        "a\n"
        "gears.conf nobody edited; keeps notebooks, keys, your settings and all other files.\n",
        "gearsctl uninstall", cmd_uninstall},
    {"daemon", "daemon start|stop|restart|upgrade|status [--services] [--yes] [--json]",
        "gearsd itself",
        "start     unless it runs\n"
        "stop      gearsd only; with --services everything, after a question (--yes: without)\n"
        "restart   gearsd only; services go on\n"
        "upgrade   go on as the gearsd beside this gearsctl; services and connections stay\n"
        "status    versions and builds; exit 5 when it does not run\n"
        "report --cluster NAME is for the other end of a hop: it starts gearsd and tells "
        "where.\n",
        "gearsctl daemon status", cmd_daemon},
    {"config", "config check|show [--json]", "gears.conf, checked or as it counts",
        "check  every mistake as file:line; exit 1 if there is one\n"
        "show   all keys with the values that count\n",
        "gearsctl config check", cmd_config},
    {"call", "call METHOD [--more]", "any method of the control protocol",
        "--more  go on with a stream of replies, one a line\n"
        "Parameters are one JSON object on standard input. METHOD may be a bare name of\n"
        "org.gears.Manager.\n",
        "echo '{\"name\":\"lab\"}' | gearsctl call Status", cmd_call},
    {"completion", "completion bash|zsh|fish", "completion of commands and names for a shell",
        "bash  source <(gearsctl completion bash)\n"
        "zsh   source <(gearsctl completion zsh), after compinit\n"
        "fish  gearsctl completion fish | source\n",
        "gearsctl completion bash > ~/.local/share/bash-completion/completions/gearsctl",
        cmd_completion},
    {"version", "version [--json]", "the versions of client and daemon", "", "gearsctl version",
        cmd_version},
    /* Promised names that this version refuses; not listed, not completed. */
    {"pool", "pool create|scale|adapt|status|list|stop|remove|jobs NAME", NULL, "",
        "gearsctl pool create dask --max 8", cmd_later},
    {"env", "env list|create|remove|export|kernel NAME", NULL, "", "gearsctl env list",
        cmd_later},
    {"workspace", "workspace new|check|status DIR", NULL, "", "gearsctl workspace new study",
        cmd_later},
    {"data", "data stage|archive|restore|status|verify|cancel|resume|usage|expiring", NULL, "",
        "gearsctl data usage", cmd_later},
    {"team", "team status", NULL, "", "gearsctl team status", cmd_later},
    {"share", "share NAME --with USER", NULL, "", "gearsctl share tb --with anna", cmd_later},
    {"unshare", "unshare NAME", NULL, "", "gearsctl unshare tb", cmd_later}, {0}};

static const struct {
    const char *name, *words;
} absent[] = {{"pool", "Dask pools are"}, {"env", "environments beyond \"gearsctl init\" are"},
    {"workspace", "workspaces are"}, {"data", "moving data is"}, {"team", "team commands are"},
    {"share", "sharing is"}, {"unshare", "sharing is"}, {0}};

int cmd_later(struct cli *cli, int argc, char **argv)
{
    (void)cli;
    (void)argc;
    for (size_t i = 0; absent[i].name; i++) {
        if (!strcmp(argv[0], absent[i].name)) {
            cli_say("%s: %s not part of this version", argv[0], absent[i].words);
        }
    }
    return EXIT_FAILED;
}

const struct command *command_find(const char *name)
{
    for (const struct command *c = commands; c->name; c++) {
        if (!strcmp(c->name, name)) {
            return c;
        }
    }
    return NULL;
}

int command_misuse(const char *name, const char *why)
{
    const struct command *command = command_find(name);
    cli_say("%s: %s; usage: gearsctl %s", name, why, command->usage);
    return EXIT_USAGE;
}

int command_unknown_option(const char *name, const char *option)
{
    const struct command *command = command_find(name);
    cli_say("%s: %s %.60s; usage: gearsctl %s", name,
        *option == '-' ? "unknown option" : "unexpected", option, command->usage);
    return EXIT_USAGE;
}
