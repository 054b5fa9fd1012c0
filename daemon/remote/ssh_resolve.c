/* The way that a tunnel takes: ssh is asked for the server, then for its jump hosts in turn.
 * Called on a worker by connect.c; ssh_ask.c runs ssh, ssh_config.c reads what it prints. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "daemon/remote/ssh_ask.h"
#include "daemon/remote/ssh_config.h"

enum { DEPTH_LIMIT = 16 };

struct walk {
    const char *program;
    int64_t until_ms;
    struct ssh_hop **hops;
    size_t most, count, depth;
    char asked[DEPTH_LIMIT][540]; /* "user@host:port" of those that wait for their jump hosts */
};

/* What ssh says, on the heap; `jump` is NULL for the server itself. */
static int ask(const char *program, int64_t until_ms, const char *name,
    const struct ssh_jump *jump, char **text, struct error *err)
{
    char port[16];
    if (!*name || *name == '-') {
        return error_set(err, -EINVAL, "\"%s\" is not a host's name", name);
    }
    const char *file = getenv("GEARS_SSH_CONFIG");
    const char *argv[16] = {program, "-T", "-G"}; /* -T: nothing about terminals */
    size_t n = 3;
    if (file && *file) {
        argv[n++] = "-F";
        argv[n++] = file;
    }
    if (jump && jump->user[0]) {
        argv[n++] = "-l";
        argv[n++] = jump->user;
    }
    if (jump && jump->port) {
        snprintf(port, sizeof port, "%d", jump->port);
        argv[n++] = "-p";
        argv[n++] = port;
    }
    if (jump && jump->rest[0]) {
        argv[n++] = "-J";
        argv[n++] = jump->rest;
    }
    argv[n++] = "--";
    argv[n] = name;
    int code = ssh_ask((char *const *)argv, until_ms, text, err);
    if (code) {
        error_prefix(err, "%s -G %s", program, name);
    }
    return code;
}

/* Refuse to ask for what is being asked for, and more than there is room for. */
static int enter(
    struct walk *walk, const char *name, const struct ssh_jump *jump, struct error *err)
{
    if (walk->depth >= walk->most || walk->depth >= DEPTH_LIMIT) {
        return error_set(err, -ELOOP,
            "ProxyJump of ssh_config leads over more than %zu hosts; does it go in a circle?",
            walk->most);
    }
    char *words = walk->asked[walk->depth];
    snprintf(words, sizeof walk->asked[0], "%s@%s:%d", jump ? jump->user : "", name,
        jump ? jump->port : 0);
    for (size_t i = 0; i < walk->depth; i++) {
        if (!strcmp(walk->asked[i], words)) {
            return error_set(err, -ELOOP,
                "ProxyJump of ssh_config comes back to %s; give it the line ProxyJump none",
                name);
        }
    }
    walk->depth++;
    return 0;
}

static int follow(
    struct walk *walk, const char *name, const struct ssh_jump *jump, struct error *err)
{
    struct ssh_settings settings = {0};
    struct ssh_jump next;
    char *text = NULL;
    int code = enter(walk, name, jump, err);
    if (code) {
        return code;
    }
    code = ask(walk->program, walk->until_ms, name, jump, &text, err);
    if (!code && (code = ssh_config_parse(name, text, &settings, err))) {
        error_prefix(err, "%s", name);
    }
    free(text);
    if (!code && settings.jump) {
        code = ssh_config_split_jump(settings.jump, &next, err);
        code = code ? code : follow(walk, next.host, &next, err);
    }
    walk->depth--;
    if (!code && walk->count == walk->most) {
        code =
            error_set(err, -ELOOP, "the way to %s has more than %zu hosts", name, walk->most);
    }
    if (!code) {
        walk->hops[walk->count++] = settings.hop;
        settings.hop = NULL;
    }
    ssh_hop_destroy(settings.hop);
    free(settings.jump);
    return code;
}

int ssh_config_resolve(const char *name, const char *ssh_program, int64_t timeout_ms,
    struct ssh_hop *hops[], size_t most, size_t *count, struct error *err)
{
    struct walk walk = {.program = ssh_program,
        .until_ms = clock_monotonic_ms() + timeout_ms,
        .hops = hops,
        .most = most};
    int code = follow(&walk, name, NULL, err);
    for (size_t i = 0; code && i < walk.count; i++) {
        ssh_hop_destroy(hops[i]);
        hops[i] = NULL;
    }
    *count = code ? 0 : walk.count;
    return code;
}

int ssh_config_resolve_server(const char *name, const char *ssh_program, int64_t timeout_ms,
    struct ssh_hop **hop, struct error *err)
{
    char *text = NULL;
    int code = ask(ssh_program, clock_monotonic_ms() + timeout_ms, name, NULL, &text, err);
    if (!code && (code = ssh_config_parse_server(name, text, hop, err))) {
        error_prefix(err, "%s", name);
    }
    free(text);
    return code;
}
