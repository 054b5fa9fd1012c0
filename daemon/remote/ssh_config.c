/* From what `ssh -G` prints to the description of a server. Called by ssh_resolve.c;
 * ssh_expand.c puts in what ssh leaves. */
#include "daemon/remote/ssh_config.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/text.h"
#include "daemon/remote/ssh_expand.h"

/* The next value of that key at or behind `text`; it ends at its line's end. NULL: none. */
static const char *find_value(const char *text, const char *key)
{
    size_t n = strlen(key);
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        if (!strncasecmp(line, key, n) && line[n] == ' ') {
            return line + n + 1;
        }
    }
    return NULL;
}

/* That key's first value on the heap, *out NULL where there is none or "none". */
static int copy_value(const char *text, const char *key, char **out)
{
    const char *value = find_value(text, key);
    size_t n = value ? strcspn(value, "\r\n") : 0;
    bool none = !n || (n == 4 && !strncasecmp(value, "none", 4));
    *out = none ? NULL : strndup(value, n);
    return none || *out ? 0 : -ENOMEM;
}

/* The first word of *at, up to a space or, quoted, to the quote's end; NULL: no more, or no
 * memory. Moves *at behind it. */
static char *take_word(const char **at)
{
    const char *start = *at + strspn(*at, " \t");
    bool quoted = *start == '"';
    start += quoted;
    size_t n = strcspn(start, quoted ? "\"" : " \t");
    *at = start + n + (quoted && start[n]);
    return n ? strndup(start, n) : NULL;
}

struct parsing {
    const char *text;
    struct ssh_hop *hop;
    struct ssh_tokens tokens;
    struct error *err;
};

static int append(
    struct parsing *parsing, char *list[SSH_HOP_LIST + 1], const char *key, const char *value)
{
    int code = ssh_hop_append(list, value);
    return code == -E2BIG ? error_set(parsing->err, -EINVAL, "%s: more than %d are not read",
                                key, SSH_HOP_LIST)
                          : code;
}

static int append_path(struct parsing *parsing, char *list[SSH_HOP_LIST + 1], const char *key,
    const char *value, bool lenient)
{
    char *path = NULL;
    if (!strcasecmp(value, "none")) {
        return 0;
    }
    int code = ssh_expand(key, value, &parsing->tokens, lenient, &path, parsing->err);
    code = code ? code : append(parsing, list, key, path);
    free(path);
    return code;
}

static int take_identities(struct parsing *parsing)
{
    static const char key[] = "identityfile";
    int code = 0;
    for (const char *value = find_value(parsing->text, key); value && !code;
         value = find_value(value + strcspn(value, "\n"), key)) {
        char *copy = strndup(value, strcspn(value, "\r\n"));
        code = copy
                   ? append_path(parsing, parsing->hop->identities, "IdentityFile", copy, false)
                   : -ENOMEM;
        free(copy);
    }
    return code;
}

/* Newer ssh has put in the tokens of the user's files; the site's have none. */
static int take_known_hosts(struct parsing *parsing, const char *key, const char *name)
{
    char *value, *word;
    int code = copy_value(parsing->text, key, &value);
    const char *at = value ? value : "";
    while (!code && (word = take_word(&at))) {
        code = append_path(parsing, parsing->hop->known_hosts, name, word, true);
        free(word);
    }
    free(value);
    return code;
}

/* With its path, or only whether it is the caller's. */
static int take_agent(struct parsing *parsing, bool path)
{
    struct ssh_hop *hop = parsing->hop;
    const char *said = find_value(parsing->text, "identityagent");
    char *value;
    int code = copy_value(parsing->text, "identityagent", &value);
    if (code || (said && !value)) {
        return code; /* "none" */
    }
    if (!value || !strcmp(value, "SSH_AUTH_SOCK") || !strcmp(value, "$SSH_AUTH_SOCK")) {
        hop->agent_of_caller = true;
    } else if (path && value[0] == '$' && value[1] != '{') { /* the name of a variable */
        const char *named = getenv(value + 1);
        code = named && *named ? ssh_hop_put(&hop->agent, named) : 0;
    } else if (path) {
        code = ssh_expand(
            "IdentityAgent", value, &parsing->tokens, true, &hop->agent, parsing->err);
    }
    free(value);
    return code;
}

static int take_port(struct parsing *parsing)
{
    char *value;
    long long port = 22;
    int code = copy_value(parsing->text, "port", &value);
    if (!code && value) {
        code = integer_parse(value, 1, 65535, &port, parsing->err);
        if (code) {
            error_prefix(parsing->err, "Port");
        }
    }
    parsing->hop->port = (int)port;
    free(value);
    return code;
}

/* Who and where: what the tokens of paths stand for. */
static int take_server(struct parsing *parsing, const char *name)
{
    struct ssh_hop *hop = parsing->hop;
    int code = ssh_hop_put(&hop->name, name);
    code = code ? code : copy_value(parsing->text, "hostname", &hop->host);
    code = code ? code : copy_value(parsing->text, "user", &hop->user);
    code = code ? code : copy_value(parsing->text, "hostkeyalias", &hop->alias);
    code = code ? code : take_port(parsing);
    if (!code && (!hop->host || !hop->user)) {
        code = error_set(parsing->err, -EINVAL, "it tells no hostname or no user");
    }
    if (code) {
        return code;
    }
    parsing->tokens = (struct ssh_tokens){.original = name,
        .host = hop->host,
        .alias = hop->alias,
        .user = hop->user,
        .port = hop->port};
    return 0;
}

static int take_files(struct parsing *parsing)
{
    struct ssh_hop *hop = parsing->hop;
    char *only = NULL;
    int code = copy_value(parsing->text, "identitiesonly", &only);
    hop->identities_only = only && !strcasecmp(only, "yes");
    free(only);
    code = code ? code : take_identities(parsing);
    code = code ? code : take_agent(parsing, true);
    code = code ? code : take_known_hosts(parsing, "userknownhostsfile", "UserKnownHostsFile");
    if (!code && !hop->known_hosts[0]) {
        /* A key that a human confirms is not for the site's file, which comes next. */
        code = append(parsing, hop->known_hosts, "UserKnownHostsFile", "/dev/null");
    }
    return code ? code
                : take_known_hosts(parsing, "globalknownhostsfile", "GlobalKnownHostsFile");
}

/* ssh is the transport and goes through whatever it is. */
static int note_proxy(struct parsing *parsing)
{
    char *jump = NULL, *command = NULL;
    int code = copy_value(parsing->text, "proxyjump", &jump);
    code = code ? code : copy_value(parsing->text, "proxycommand", &command);
    parsing->hop->proxied = jump || command;
    free(jump);
    free(command);
    return code;
}

static int take_proxy(struct parsing *parsing, char **jump)
{
    char *command = NULL;
    int code = copy_value(parsing->text, "proxyjump", jump);
    code = code ? code : copy_value(parsing->text, "proxycommand", &command);
    if (!code && command && !*jump) {
        code = error_set(parsing->err, -EINVAL,
            "ssh_config has a ProxyCommand, which only ssh can use; write ProxyJump, or set "
            "transport = openssh in gears.conf");
    }
    free(command);
    return code;
}

int ssh_config_parse(
    const char *name, const char *text, struct ssh_settings *settings, struct error *err)
{
    struct error local = {0};
    struct parsing parsing = {.text = text, .hop = ssh_hop_create(), .err = err ? err : &local};
    char *jump = NULL;
    int code = parsing.hop ? take_server(&parsing, name) : -ENOMEM;
    code = code ? code : take_proxy(&parsing, &jump);
    code = code ? code : take_files(&parsing);
    if (code) {
        free(jump);
        ssh_hop_destroy(parsing.hop);
        return code == -ENOMEM ? error_set(err, code, "out of memory") : code;
    }
    *settings = (struct ssh_settings){parsing.hop, jump};
    return 0;
}

int ssh_config_parse_server(
    const char *name, const char *text, struct ssh_hop **hop, struct error *err)
{
    struct error local = {0};
    struct parsing parsing = {.text = text, .hop = ssh_hop_create(), .err = err ? err : &local};
    int code = parsing.hop ? take_server(&parsing, name) : -ENOMEM;
    code = code ? code : take_agent(&parsing, false);
    code = code ? code : note_proxy(&parsing);
    if (code) {
        ssh_hop_destroy(parsing.hop);
        return code == -ENOMEM ? error_set(err, code, "out of memory") : code;
    }
    *hop = parsing.hop;
    return 0;
}

/* [host]:port, host:port, host, or an IPv6 address without a port. */
static int split_port(char *host, int *port, struct error *err)
{
    char *end = host[0] == '[' ? strchr(host, ']') : NULL;
    char *colon = end ? end + 1 : strchr(host, ':');
    long long number;
    *port = 0;
    if (host[0] == '[' && (!end || (*colon && *colon != ':'))) {
        return error_set(err, -EINVAL, "ProxyJump: \"%.80s\" is no address", host);
    }
    if (colon && *colon && (end || !strchr(colon + 1, ':'))) {
        if (integer_parse(colon + 1, 1, 65535, &number, err)) {
            error_prefix(err, "ProxyJump: the port");
            return -EINVAL;
        }
        *port = (int)number;
        *colon = 0;
    }
    if (end) {
        *end = 0;
        memmove(host, host + 1, strlen(host));
    }
    return 0;
}

int ssh_config_split_jump(const char *list, struct ssh_jump *jump, struct error *err)
{
    const char *comma = strrchr(list, ','), *last = comma ? comma + 1 : list;
    size_t rest = comma ? (size_t)(comma - list) : 0;
    if (!strncasecmp(last, "ssh://", 6)) {
        last += 6;
    }
    const char *at = strrchr(last, '@'), *host = at ? at + 1 : last;
    size_t user = at ? (size_t)(at - last) : 0, n = strcspn(host, "/");
    if (rest >= sizeof jump->rest || user >= sizeof jump->user || n >= sizeof jump->host) {
        return error_set(err, -EINVAL, "ProxyJump is too long");
    }
    memset(jump, 0, sizeof *jump);
    memcpy(jump->rest, list, rest);
    memcpy(jump->user, last, user);
    memcpy(jump->host, host, n);
    int code = split_port(jump->host, &jump->port, err);
    if (!code && (!jump->host[0] || jump->host[0] == '-' || (at && !user))) {
        code = error_set(err, -EINVAL, "ProxyJump: \"%.200s\" names no host", list);
    }
    return code;
}
