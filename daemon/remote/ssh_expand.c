/* Paths of ssh_config: homes, variables and tokens put in. Called by ssh_config.c. */
#include "daemon/remote/ssh_expand.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/text.h"

enum { PASSWD_LIMIT = 16384, PATH_LIMIT = 4096 };

/* A user's name and home; NULL name: our own. False: there is no such user. */
static bool find_user(const char *name, struct passwd *user, char buffer[PASSWD_LIMIT])
{
    struct passwd *found = NULL;
    int code = name ? getpwnam_r(name, user, buffer, PASSWD_LIMIT, &found)
                    : getpwuid_r(geteuid(), user, buffer, PASSWD_LIMIT, &found);
    return !code && found;
}

/* ~ or ~user at the front of `value`; *rest is what follows. */
static int expand_home(
    const char *key, const char *value, const char **rest, struct text *out, struct error *err)
{
    char buffer[PASSWD_LIMIT], name[256];
    struct passwd user;
    *rest = value;
    if (*value != '~') {
        return 0;
    }
    size_t n = strcspn(value + 1, "/");
    snprintf(
        name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), value + 1);
    if (!find_user(n ? name : NULL, &user, buffer)) {
        return error_set(err, -EINVAL, "%s %s: there is no user %s here", key, value,
            n ? name : "of our uid");
    }
    text_printf(out, "%s", user.pw_dir);
    *rest = value + 1 + n;
    return 0;
}

/* ${NAME}; *at stands on its $, then behind it. */
static int expand_variable(
    const char *key, const char **at, struct text *out, struct error *err)
{
    char name[128];
    size_t n = strcspn(*at + 2, "}");
    snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), *at + 2);
    const char *value = (*at)[2 + n] == '}' ? getenv(name) : NULL;
    if (!value) {
        return error_set(err, -EINVAL,
            "%s: the variable %s is not set where gearsd runs; write the path itself", key,
            name);
    }
    text_printf(out, "%s", value);
    *at += n + 3;
    return 0;
}

static void put_local_host(struct text *out, bool first_label)
{
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    text_printf(out, "%.*s", first_label ? (int)strcspn(host, ".") : (int)strlen(host), host);
}

/* False: not a token that Gears knows. */
static bool put_token(char letter, const struct ssh_tokens *tokens, struct text *out)
{
    char buffer[PASSWD_LIMIT];
    struct passwd self = {0};
    switch (letter) {
    case '%':
        text_printf(out, "%%");
        return true;
    case 'h':
        text_printf(out, "%s", tokens->host);
        return true;
    case 'n':
        text_printf(out, "%s", tokens->original);
        return true;
    case 'k':
        text_printf(out, "%s", tokens->alias ? tokens->alias : tokens->original);
        return true;
    case 'r':
        text_printf(out, "%s", tokens->user);
        return true;
    case 'p':
        text_printf(out, "%d", tokens->port);
        return true;
    case 'i':
        text_printf(out, "%u", (unsigned)geteuid());
        return true;
    case 'd':
    case 'u':
        if (find_user(NULL, &self, buffer)) {
            text_printf(out, "%s", letter == 'd' ? self.pw_dir : self.pw_name);
        }
        return true;
    case 'l':
    case 'L':
        put_local_host(out, letter == 'L');
        return true;
    default:
        return false;
    }
}

static int expand_rest(const char *key, const char *at, const struct ssh_tokens *tokens,
    bool lenient, struct text *out, struct error *err)
{
    int code = 0;
    while (*at && !code) {
        if (at[0] == '$' && at[1] == '{') {
            code = expand_variable(key, &at, out, err);
        } else if (at[0] == '%' && at[1] && put_token(at[1], tokens, out)) {
            at += 2;
        } else if (at[0] == '%' && !lenient) {
            code = error_set(err, -EINVAL,
                "%s: Gears does not know %%%.1s; write the path itself, or set transport = "
                "openssh in gears.conf",
                key, at + 1);
        } else {
            text_append(out, at++, 1);
        }
    }
    return code;
}

int ssh_expand(const char *name, const char *value, const struct ssh_tokens *tokens,
    bool lenient, char **out, struct error *err)
{
    struct text text = {0};
    const char *rest;
    int code = expand_home(name, value, &rest, &text, err);
    code = code ? code : expand_rest(name, rest, tokens, lenient, &text, err);
    if (!code && text.failed) {
        code = error_set(err, -ENOMEM, "out of memory");
    } else if (!code && text.length > PATH_LIMIT) {
        code = error_set(err, -EINVAL, "%s: the path is too long", name);
    } else if (!code && text_string(&text)[0] != '/') {
        code = error_set(err, -EINVAL,
            "%s \"%.200s\" is no absolute path (spaces are not understood there); write it "
            "with ~/",
            name, value);
    }
    if (!code) {
        *out = text_take(&text);
    }
    text_finish(&text);
    return code;
}
