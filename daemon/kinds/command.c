/* Kind command: any program; {socket} and {port} in it are filled in. */
#include "daemon/kinds/kinds.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/text.h"
#include "daemon/kinds/prepare.h"

/* A loopback port that is free now; who holds it in the end is checked after the start. */
static uint16_t choose_port(void)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && !bind(fd, (struct sockaddr *)&address, sizeof address) &&
              !getsockname(fd, (struct sockaddr *)&address, &length);
    if (fd >= 0) {
        close(fd);
    }
    return ok ? ntohs(address.sin_port) : 0;
}

/* How the shell stands at a place of a command line. */
enum quoting { BARE, SINGLE, DOUBLE };

static enum quoting follow(enum quoting state, char c)
{
    if (state == BARE) {
        return c == '\'' ? SINGLE : c == '"' ? DOUBLE : BARE;
    }
    return c == (state == SINGLE ? '\'' : '"') ? BARE : state;
}

/* `value` so that the shell reads it as it is, whatever quotes stand around it. */
static void append_quoted(struct text *out, const char *value, enum quoting state)
{
    if (state == BARE) {
        text_append(out, "'", 1);
    }
    for (; *value; value++) {
        if (state != DOUBLE && *value == '\'') {
            text_append(out, "'\\''", 4);
        } else {
            if (state == DOUBLE && strchr("\\$`\"", *value)) {
                text_append(out, "\\", 1);
            }
            text_append(out, value, 1);
        }
    }
    if (state == BARE) {
        text_append(out, "'", 1);
    }
}

/* What a command line's marks stand for, and which were met. */
struct marks {
    const char *socket;
    uint16_t port;
    bool socket_used, port_used;
};

/* `template` with {socket} and {port} filled in: `shell` when a shell will read the result.
 * NULL when out of memory. */
static char *fill(const char *template, bool shell, struct marks *marks)
{
    struct text out = {0};
    enum quoting state = BARE;
    text_append(&out, "", 0);
    while (*template) {
        if (!strncmp(template, "{socket}", 8)) {
            if (shell) {
                append_quoted(&out, marks->socket, state);
            } else {
                text_append(&out, marks->socket, strlen(marks->socket));
            }
            marks->socket_used = true;
            template += 8;
        } else if (!strncmp(template, "{port}", 6)) {
            text_printf(&out, "%u", (unsigned)marks->port);
            marks->port_used = true;
            template += 6;
        } else {
            bool escape = *template == '\\' && state != SINGLE && template[1];
            state = escape ? state : follow(state, *template);
            text_append(&out, template, escape ? 2 : 1);
            template += escape ? 2 : 1;
        }
    }
    return text_take(&out);
}

static int apply_ready(
    const struct service_config *service, struct launch *launch, struct error *err)
{
    const char *rule = service->ready;
    bool served = launch->socket || launch->port;
    launch->ready = served ? READY_SOCKET : READY_STARTED;
    if (!rule || !strcmp(rule, served ? "socket" : "started")) {
        return 0;
    }
    if (!strcmp(rule, "started")) {
        launch->ready = READY_STARTED;
    } else if (!strcmp(rule, "notify")) {
        launch->ready = READY_NOTIFY;
    } else if (!strncmp(rule, "log:", 4) && rule[4]) {
        launch->ready = READY_LOG;
        launch->ready_log = strdup(rule + 4);
    } else if (!strncmp(rule, "http:/", 6) && served) {
        launch->ready = READY_HTTP;
        launch->http_path = strdup(rule + 5);
    } else {
        return error_set(err, -EINVAL,
            "ready = %s: write socket or http:/PATH (with {socket} or {port} in the command), "
            "started, notify or log:REGEX",
            rule);
    }
    return 0;
}

static int fill_argv(const struct service_config *service, struct marks *marks,
    struct launch *launch, struct error *err)
{
    struct list argv = {0};
    bool shell = !service->argv;
    char *const words[] = {service->command, NULL};
    if (shell) {
        list_add(&argv, "/bin/sh");
        list_add(&argv, "-c");
    }
    for (char *const *word = shell ? words : service->argv; *word; word++) {
        char *filled = fill(*word, shell, marks);
        list_add(&argv, "%s%s", shell ? "exec " : "", filled ? filled : "");
        argv.failed |= !filled;
        free(filled);
    }
    if (argv.count < (shell ? 3 : 1)) {
        list_free(&argv);
        return error_set(err, -EINVAL, "service %s has no command", service->name);
    }
    if (marks->port_used && !marks->port) {
        list_free(&argv);
        return error_set(err, -EADDRNOTAVAIL, "there is no free loopback port for {port}");
    }
    launch->argv = list_take(&argv);
    launch->socket = marks->socket_used ? strdup(marks->socket) : NULL;
    launch->port = marks->port_used ? marks->port : 0;
    return launch->argv && (launch->socket || !marks->socket_used)
               ? 0
               : error_set(err, -ENOMEM, "out of memory");
}

static int fill_environment(const struct home *home, const struct service_config *service,
    struct launch *launch, struct error *err)
{
    struct list env = {0};
    char folder[PATH_MAX], bin[PATH_MAX + 8];
    int code = service->env ? prepare_env_dir(home, service, folder, err) : 0;
    if (!code && service->env) {
        snprintf(bin, sizeof bin, "%s/bin", folder);
    }
    code =
        code ? code
             : prepare_environment(service, launch->cwd, service->env ? bin : NULL, &env, err);
    if (code) {
        list_free(&env);
        return code;
    }
    prepare_assignments(service, &env);
    launch->env = list_take(&env);
    launch->env_name = service->env ? strdup(service->env) : NULL;
    return launch->env ? 0 : error_set(err, -ENOMEM, "out of memory");
}

static int prepare(const struct home *home, const char *share_dir,
    const struct service_config *service, struct launch *launch, struct error *err)
{
    (void)share_dir;
    char socket_path[PATH_MAX];
    struct marks marks = {.socket = socket_path, .port = choose_port()};
    int code = home_path(home, socket_path, "run", "own/%s.sck", service->name);
    code = code ? error_set(err, code, "%s: path too long", home->root)
                : fill_argv(service, &marks, launch, err);
    if (!code && launch->socket) {
        code = prepare_socket(home, service->name, socket_path, err);
    }
    code = code ? code : prepare_cwd(service, &launch->cwd, err);
    code = code ? code : fill_environment(home, service, launch, err);
    code = code ? code : apply_ready(service, launch, err);
    if (!code && launch->socket) {
        /* Left by an incarnation that is gone; most programs fail over it. */
        unlink(socket_path);
    }
    if (!code && (launch->socket || launch->port)) {
        launch->url_path = strdup("/");
    }
    return code;
}

const struct kind kind_command = {"command", prepare};

const struct kind *kind_find(const char *name)
{
    const struct kind *const kinds[] = {&kind_jupyter, &kind_command};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!strcmp(kinds[i]->name, name)) {
            return kinds[i];
        }
    }
    return NULL;
}
