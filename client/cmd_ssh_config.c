/* ssh-config: entries to paste on a laptop, for OpenSSH. Their words are read by people who see
 * ssh_config(5) for the first time, so each trap has its comment. */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "client/client.h"

struct entry {
    char alias[160], host[256], port[16];
    char socket[PATH_MAX];
    char command[PATH_MAX * 2]; /* RemoteCommand; "" for none */
    const char *token_of;       /* what `gearsctl url` is asked for */
    struct text comments;
};

/* A value as ssh_config reads it: % begins a token there, a blank ends a word. */
static void print_value(const char *value)
{
    bool quoted = strpbrk(value, " \t#") != NULL;
    fputs(quoted ? "\"" : "", stdout);
    for (; *value; value++) {
        fputs(*value == '%' ? "%" : "", stdout);
        putchar(*value);
    }
    fputs(quoted ? "\"" : "", stdout);
}

static void print_entry(const struct entry *entry)
{
    struct passwd *user = getpwuid(geteuid());
    printf("# Paste into ~/.ssh/config on your laptop; then: ssh %s\n"
           "# and open http://localhost:%s (the token: gearsctl url %s).\n"
           "%s"
           "Host %s\n"
           "    HostName %s\n"
           "    User %s\n"
           "    LocalForward %s ",
        entry->alias, entry->port, entry->token_of, text_string(&entry->comments), entry->alias,
        entry->host, user ? user->pw_name : "YOU", entry->port);
    print_value(entry->socket);
    fputs("\n"
          "    ServerAliveInterval 15\n"
          "    ServerAliveCountMax 3\n"
          "    # A second window of this entry ends at once: the port is taken by the first.\n"
          "    ExitOnForwardFailure yes\n"
          "    ControlMaster no\n"
          "    ForwardAgent no\n",
        stdout);
    if (*entry->command) {
        fputs("    RequestTTY yes\n    RemoteCommand ", stdout);
        for (const char *c = entry->command; *c; c++) {
            fputs(*c == '%' ? "%%" : (char[]){*c, 0}, stdout);
        }
        putchar('\n');
    }
    fputs("# Windows: the OpenSSH of Windows 10 or later, or of WSL. PuTTY and plink cannot "
          "forward\n"
          "# to a Unix socket: they take its path for a host name, and the page stays empty.\n",
        stdout);
}

static int check_socket(const struct cli *cli, const char *path)
{
    struct sockaddr_un address;
    if (*path && strlen(path) < sizeof address.sun_path) {
        return 0;
    }
    cli_say("%s is too long a path for a socket that ssh can reach (its present place in /tmp "
            "may change); set GEARS_HOME to a shorter one",
        cli->home.root);
    return EXIT_FAILED;
}

/* A word of the remote command line, for any shell. */
static void append_word(char *out, size_t size, const char *word)
{
    size_t n = strlen(out);
    bool plain = !word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                    "0123456789/._-+@:,")];
    snprintf(
        out + n, size - n, "%s%s%s%s", n ? " " : "", plain ? "" : "'", word, plain ? "" : "'");
}

/* The name under which gearsctl stays, whichever build is current. */
static void find_program(const struct cli *cli, char out[PATH_MAX])
{
    char folder[PATH_MAX - 16];
    snprintf(out, PATH_MAX, "%s/bin/gearsctl", cli->home.root);
    if (access(out, X_OK)) {
        cli_program_dir(out);
        snprintf(folder, sizeof folder, "%s", out);
        snprintf(out, PATH_MAX, "%s/gearsctl", folder);
    }
}

/* Whether a name may mean something outside of the site's own network. */
static bool is_full_name(const char *name)
{
    static const char *const inner[] = {".local", ".localdomain", ".internal", ".lan", NULL};
    size_t length = strlen(name);
    for (size_t i = 0; inner[i]; i++) {
        size_t n = strlen(inner[i]);
        if (length >= n && !strcmp(name + length - n, inner[i])) {
            return false;
        }
    }
    return strchr(name, '.') && strspn(name, "0123456789.") != length;
}

/* The hub by its real name, as the socket is of use on no other; else what the site calls it.
 */
static void choose_hub(const cJSON *cluster, struct entry *entry)
{
    struct utsname self;
    const char *hub = json_text(cluster, "hub");
    uname(&self);
    bool real = is_full_name(self.nodename);
    snprintf(entry->host, sizeof entry->host, "%s", real || !*hub ? self.nodename : hub);
    if (real && *hub && strcmp(hub, self.nodename) != 0) {
        text_printf(&entry->comments,
            "# The only host with this socket, whichever others are behind %s. Where\n"
            "# your laptop does not know its name, write HostName %s:\n"
            "# on the wrong host attach says how to get to the right one.\n",
            hub, hub);
    } else if (!real) {
        text_printf(&entry->comments,
            "# The socket is on %s only; where other hosts answer to this name too, attach\n"
            "# says how to get to the right one.\n",
            self.nodename);
    }
}

static int fill_hub_entry(struct cli *cli, const cJSON *cluster, struct entry *entry)
{
    char program[PATH_MAX];
    const cJSON *tunnel = cJSON_GetObjectItemCaseSensitive(cluster, "tunnel");
    const char *name = json_text(cluster, "name"), *holder = json_text(tunnel, "held_by");
    snprintf(entry->alias, sizeof entry->alias, "%s-jupyter", name);
    snprintf(entry->socket, sizeof entry->socket, "%s/run/%s.sck", cli->home.root, name);
    find_program(cli, program);
    append_word(entry->command, sizeof entry->command, program);
    append_word(entry->command, sizeof entry->command, "attach");
    append_word(entry->command, sizeof entry->command, name);
    append_word(entry->command, sizeof entry->command, "--shell");
    text_printf(&entry->comments, "# It has a name of its own because of its RemoteCommand, "
                                  "which scp, rsync and VS Code\n"
                                  "# cannot use: they go on with the plain host name.\n");
    choose_hub(cluster, entry);
    if (*holder) {
        cli_say("run/%s.sck is served on %s now; run ssh-config there, or here after: gearsctl "
                "takeover %s",
            name, holder, name);
    }
    return check_socket(cli, entry->socket);
}

/* Straight to the login node that holds the lab: no hub, the service's own socket there. */
static int fill_direct_entry(struct cli *cli, const cJSON *cluster, struct entry *entry)
{
    char host[HOST_NAME_SIZE], program[PATH_MAX];
    struct error err;
    const char *name = json_text(cluster, "name"), *node = json_text(cluster, "node");
    const char *service = json_text(cluster, "service");
    const char *member = cJSON_GetStringValue(
        cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(cluster, "members"), 0));
    if (!json_bool(cluster, "direct")) {
        cli_say("%s: its site does not let laptops reach login nodes directly (direct = no); "
                "run: gearsctl ssh-config %s",
            name, name);
        return EXIT_FAILED;
    }
    node = *node ? node : member ? member : json_text(cluster, "host");
    if (host_name_from(node, "", host, &err)) {
        cli_say("%s: %s", name, err.text);
        return EXIT_FAILED;
    }
    snprintf(entry->alias, sizeof entry->alias, "%s-direct", name);
    snprintf(entry->host, sizeof entry->host, "%s", node);
    snprintf(
        entry->socket, sizeof entry->socket, "%s/run/%s/%s.sck", cli->home.root, host, service);
    find_program(cli, program);
    append_word(entry->command, sizeof entry->command, program);
    append_word(entry->command, sizeof entry->command, "start");
    append_word(entry->command, sizeof entry->command, service);
    size_t used = strlen(entry->command);
    snprintf(entry->command + used, sizeof entry->command - used, "; exec $SHELL -l");
    text_printf(&entry->comments,
        "# %s lives on %s: this entry is of use for that login node only.\n"
        "# It has a name of its own because of its RemoteCommand, which scp, rsync and VS "
        "Code\n"
        "# cannot use: they go on with the plain host name.\n",
        service, node);
    return check_socket(cli, entry->socket);
}

static int print_cluster(struct cli *cli, const char *name, bool direct)
{
    struct entry entry = {0};
    char full[FULL_NAME_MOST];
    cJSON *cluster = NULL, *parameters = cJSON_CreateObject();
    cJSON_AddStringToObject(parameters, "cluster", name);
    int code = cli_call(cli, "Cluster", parameters, &cluster);
    if (!code) {
        snprintf(entry.port, sizeof entry.port, "%d", (int)json_number(cluster, "port"));
        snprintf(full, sizeof full, "%s%s%s", json_text(cluster, "service"), direct ? "" : "@",
            direct ? "" : json_text(cluster, "name"));
        entry.token_of = full;
        code = direct ? fill_direct_entry(cli, cluster, &entry)
                      : fill_hub_entry(cli, cluster, &entry);
    }
    if (!code) {
        print_entry(&entry);
    }
    text_finish(&entry.comments);
    cJSON_Delete(cluster);
    return code;
}

/* For the services of the host where it is run. */
static int print_here(struct cli *cli)
{
    struct entry entry = {.port = "38888", .token_of = "lab"};
    home_path(&cli->home, entry.socket, "run", "lab.sck");
    if (home_find_run(&cli->home) || cli->home.run[0]) {
        return check_socket(cli, ""); /* the sockets are in a folder that may change */
    }
    gethostname(entry.host, sizeof entry.host - 1);
    snprintf(entry.alias, sizeof entry.alias, "%s-jupyter", cli->home.host);
    print_entry(&entry);
    return 0;
}

int cmd_ssh_config(struct cli *cli, int argc, char **argv)
{
    const char *cluster = NULL;
    bool direct = false;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--direct")) {
            direct = true;
        } else if (argv[i][0] == '-') {
            return command_unknown_option(argv[0], argv[i]);
        } else if (cluster) {
            return command_misuse(argv[0], "one CLUSTER at most");
        } else {
            cluster = argv[i];
        }
    }
    cli->subject = argv[0];
    return cluster ? print_cluster(cli, cluster, direct) : print_here(cli);
}
