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

static void append_quoted(struct text *out, const char *value, bool quote)
{
    if (!quote) {
        text_append(out, value, strlen(value));
        return;
    }
    text_append(out, "'", 1);
    for (; *value; value++) {
        text_append(out, *value == '\'' ? "'\\''" : value, *value == '\'' ? 4 : 1);
    }
    text_append(out, "'", 1);
}

/* `template` with {socket} and {port} filled in; notes in the launch which were used. */
static char *fill(
    const char *template, const char *socket, uint16_t port, bool quote, struct launch *launch)
{
    struct text out = {0};
    char digits[8];
    snprintf(digits, sizeof digits, "%u", (unsigned)port);
    while (*template) {
        if (!strncmp(template, "{socket}", 8)) {
            append_quoted(&out, socket, quote);
            launch->socket = launch->socket ? launch->socket : strdup(socket);
            template += 8;
        } else if (!strncmp(template, "{port}", 6)) {
            text_append(&out, digits, strlen(digits));
            launch->port = port;
            template += 6;
        } else {
            text_append(&out, template ++, 1);
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

static int prepare(const struct home *home, const char *share_dir,
    const struct service_config *service, struct launch *launch, struct error *err)
{
    (void)share_dir;
    struct list plain = {0}, argv = {0}, env = {0};
    char socket[PATH_MAX], env_dir[PATH_MAX], bin[PATH_MAX + 8];
    uint16_t port = choose_port();
    int code = home_path(home, socket, "run", "own/%s.sck", service->name);
    code =
        code ? error_set(err, code, "path too long") : prepare_cwd(service, &launch->cwd, err);
    if (!code && service->env) {
        code = prepare_env_dir(home, service, env_dir, err);
        snprintf(bin, sizeof bin, "%s/bin", env_dir);
    }
    if (code) {
        return code;
    }
    unlink(socket); /* left by an incarnation that is gone */
    if (service->argv) {
        for (char **word = service->argv; *word; word++) {
            char *filled = fill(*word, socket, port, false, launch);
            list_add(&plain, "%s", filled ? filled : "");
            free(filled);
        }
    } else {
        char *filled = fill(service->command, socket, port, true, launch);
        list_add(&plain, "/bin/sh");
        list_add(&plain, "-c");
        list_add(&plain, "exec %s", filled ? filled : "false");
        free(filled);
    }
    prepare_argv(service, &plain, &argv);
    prepare_environment(service, service->env ? bin : NULL, &env);
    launch->argv = list_take(&argv);
    launch->env = list_take(&env);
    launch->url_path = strdup("/");
    launch->env_name = service->env ? strdup(service->env) : NULL;
    if (!launch->argv || !launch->env) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    return apply_ready(service, launch, err);
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
