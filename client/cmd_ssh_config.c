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
#include "common/service_record.h"

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

/* The hub by its real name, as the socket serves on no other; else what the site calls it. */
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
    home_program(&cli->home, program);
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

/* What the folders of a login node are called; its node name may lack the domain. 0 or a
 * negative errno. */
static int host_of(const struct home *home, const char *node, char host[HOST_NAME_SIZE])
{
    char path[PATH_MAX], label[HOST_NAME_SIZE];
    int code = host_name_from(node, "", host, NULL);
    snprintf(path, sizeof path, "%s/state/%s", home->root, host);
    if (!code && access(path, F_OK)) {
        snprintf(label, sizeof label, "%.*s", (int)strcspn(host, "."), host);
        snprintf(path, sizeof path, "%s/state/%s", home->root, label);
        if (!access(path, F_OK)) {
            memcpy(host, label, sizeof label);
        }
    }
    return code;
}

/* Whether the shared home says that the service is wanted on this host and has not ended. */
static bool lives_on(const struct home *home, const char *host, const char *service)
{
    struct home there = *home;
    char file[NAME_MOST + 8];
    snprintf(there.host, sizeof there.host, "%s", host);
    snprintf(file, sizeof file, "%s.rec", service);
    return service_record_is_wanted(&there, file, NULL);
}

/* The login nodes by the names that the site pack has for them; where it has none, the common
 * name may be that of a single one. */
static const char *get_member(const cJSON *cluster, int index)
{
    const cJSON *members = cJSON_GetObjectItemCaseSensitive(cluster, "members");
    int count = cJSON_GetArraySize(members);
    return index < count              ? cJSON_GetStringValue(cJSON_GetArrayItem(members, index))
           : index == 0 && count == 0 ? json_text(cluster, "host")
                                      : NULL;
}

/* The login node whose socket the entry forwards to: where the service lives, else where a hop
 * last found this user's services, else this host if it is one, else any. NULL: nobody knows a
 * name of one. */
static const char *choose_node(const struct cli *cli, const cJSON *cluster)
{
    const char *service = json_text(cluster, "service"), *node = json_text(cluster, "node");
    const char *here = NULL, *name;
    char host[HOST_NAME_SIZE];
    node = is_full_name(node) ? node : ""; /* an address tells no folder of sockets */
    if (*node && !host_of(&cli->home, node, host) && lives_on(&cli->home, host, service)) {
        return node;
    }
    for (int i = 0; (name = get_member(cluster, i)); i++) {
        if (host_of(&cli->home, name, host)) {
            continue;
        }
        if (lives_on(&cli->home, host, service)) {
            return name;
        }
        here = strcmp(host, cli->home.host) ? here : name;
    }
    if (*node || here) {
        return *node ? node : here;
    }
    name = cJSON_GetStringValue(
        cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(cluster, "members"), 0));
    if (name) {
        cli_say("%s lives on no login node of %s yet; this entry makes it live on %s", service,
            json_text(cluster, "name"), name);
    } else {
        cli_say("%s: no login node is known by a name of its own; run there: gearsctl "
                "ssh-config",
            json_text(cluster, "name"));
    }
    return name;
}

/* Straight to the login node that holds the lab: no hub, the service's own socket there. */
static int fill_direct_entry(struct cli *cli, const cJSON *cluster, struct entry *entry)
{
    char host[HOST_NAME_SIZE], program[PATH_MAX];
    const char *name = json_text(cluster, "name"), *service = json_text(cluster, "service");
    if (!json_bool(cluster, "direct")) {
        cli_say("%s: no laptop is known to reach its login nodes by their own names (direct = "
                "no); run: gearsctl ssh-config %s",
            name, name);
        return EXIT_FAILED;
    }
    watch_home_begin(cli->home.root, "looking for the services of login nodes");
    const char *node = choose_node(cli, cluster);
    watch_end();
    if (!node) {
        return EXIT_FAILED;
    }
    if (host_of(&cli->home, node, host)) {
        cli_say("%s: \"%s\" is no host's name", name, node);
        return EXIT_FAILED;
    }
    snprintf(entry->alias, sizeof entry->alias, "%s-direct", name);
    snprintf(entry->host, sizeof entry->host, "%s", node);
    snprintf(
        entry->socket, sizeof entry->socket, "%s/run/%s/%s.sck", cli->home.root, host, service);
    home_program(&cli->home, program);
    append_word(entry->command, sizeof entry->command, program);
    append_word(entry->command, sizeof entry->command, "start");
    append_word(entry->command, sizeof entry->command, service);
    size_t used = strlen(entry->command);
    snprintf(entry->command + used, sizeof entry->command - used, "; exec $SHELL -l");
    text_printf(&entry->comments,
        "# For %s on %s: of use for that login node only.\n"
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
    if (direct && !cluster) {
        return command_misuse(argv[0], "--direct needs a CLUSTER");
    }
    return cluster ? print_cluster(cli, cluster, direct) : print_here(cli);
}
