/* gears.conf: what is understood, and what each mistake is told. */
#include "tests/unit/check.h"

#include <string.h>

#include "daemon/core/config.h"

/* The errors of a user's (and a site's) file, "" when it is good. */
static const char *errors_of(const char *site, const char *user, struct config **config)
{
    static struct text errors;
    struct home home = {.root = "/tmp"};
    text_finish(&errors);
    *config = NULL;
    config_parse(&home, "site", site, "user", user, config, &errors);
    return text_string(&errors);
}

static void check_error(const char *site, const char *user, const char *wants)
{
    struct config *config;
    const char *errors = errors_of(site, user, &config);
    CHECK(!config && strstr(errors, wants));
    if (config || !strstr(errors, wants)) {
        fprintf(stderr, "wanted \"%s\", got \"%s\"\n", wants, errors);
    }
    config_destroy(config);
}

static void check_good(void)
{
    struct config *config;
    const char *errors = errors_of("[defaults]\nstop_timeout = 3s\n",
        "[defaults]\nport = 40000\n[service:web]\ncommand = python3 -m http.server\n"
        "    --bind 127.0.0.1 {port}\nafter = lab\nlimit_nofile = 100\nrestart = always\n"
        "[service:lab]\nkind = jupyter\nstop_timeout = 1m\n",
        &config);
    CHECK(!*errors);
    const struct service_config *web = config ? config_find(config, "web") : NULL;
    CHECK(web && config->port == 40000);
    CHECK(web && !strcmp(web->command, "python3 -m http.server --bind 127.0.0.1 {port}"));
    CHECK(web && web->stop_timeout_ms == 3000 && web->restart == RESTART_ALWAYS);
    CHECK(web && web->limit_count == 1 && web->limits[0].value == 100);
    CHECK(config && config_find(config, "lab")->stop_timeout_ms == 60000);
    struct service_config *copy = web ? service_config_copy(web) : NULL;
    CHECK(copy && !strcmp(copy->after[0], "lab") && copy->limit_count == 1);
    service_config_destroy(copy);
    config_destroy(config);
    errors = errors_of(NULL, NULL, &config);
    CHECK(config && config_find(config, "lab")); /* there without any file */
    config_destroy(config);
}

int main(void)
{
    check_good();
    check_error(NULL, "[service:lab]\nstop_timout = 1s\n",
        "user:2: unknown key \"stop_timout\"; did you mean stop_timeout?");
    check_error(NULL, "[service:lab]\nstop_timeout = soon\n", "user:2: stop_timeout: \"soon\"");
    check_error(NULL,
        "[service:a]\ncommand = x\n[service:b]\ncommand = y\n[service:a]\ncwd = /\n",
        "[service:a] stands twice");
    check_error(NULL, "[service:a]\ncommand = x\ncommand = y\n",
        "user:3: the key command stands twice");
    check_error(NULL,
        "[service:a]\ncommand = x\nafter = b\n[service:b]\ncommand = y\nafter = a\n",
        "is after itself");
    check_error(NULL, "[service:a]\ncommand = x\nafter = nobody\n", "which is not defined");
    check_error(NULL, "[service:a]\nkind = zope\n", "user:2: there is no kind \"zope\"");
    check_error(NULL, "[service:a]\ncwd = /\n", "has kind command and no command");
    check_error(NULL, "[cluster:andes]\nhost = x\n", "not part of this version");
    check_error(NULL, "[service:lab]\nmemory_max = 1G\n", "user:2: memory_max");
    check_error(NULL, "[defaults]\nport = 80\n", "user:2: port: 80 is outside");
    check_error("[defaults]\nlocks = idle_cull\n", "[service:lab]\nidle_cull = 0\n",
        "user:2: the key idle_cull is locked by the site");
    check_error(NULL, "[service:lab]\nnonsense\n", "user:2: not a [section]");
    return check_failures != 0;
}
