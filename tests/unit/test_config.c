/* gears.conf: what good files give, the site's file and its locks, files on disk. */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#include "daemon/core/config.h"
#include "tests/unit/scratch.h"

/* Parse, expecting no error. The caller destroys; exits when there is nothing to go on with. */
static struct config *parse_all(
    const struct config_file *packs, size_t pack_count, const char *site, const char *user)
{
    const struct config_files files = {packs, pack_count, {"site", site}, {"user", user}};
    struct config *config = NULL;
    struct text errors = {0};
    int code = config_parse(&files, &config, &errors);
    CHECK_INT(code, 0);
    CHECK_STRING(text_string(&errors), "");
    text_finish(&errors);
    if (!config) {
        exit(check_result());
    }
    return config;
}

static struct config *parse(const char *site, const char *user)
{
    return parse_all(NULL, 0, site, user);
}

static void test_nothing(void)
{
    struct config *config = parse(NULL, NULL);
    CHECK_INT((long long)config->service_count, 1);
    CHECK_INT(config->port, 38888);
    CHECK_INT((long long)config->log_total, 512LL << 20);
    const struct service_config *lab = config_find(config, "lab");
    CHECK_STRING(lab->kind, "jupyter");
    CHECK_INT(lab->stop_signal, SIGTERM);
    CHECK_INT(lab->stop_timeout_ms, 10000);
    CHECK_INT(lab->start_timeout_ms, 90000);
    CHECK_INT(lab->restart, RESTART_ON_FAILURE);
    CHECK_INT((long long)lab->log_budget, 64LL << 20);
    CHECK_INT(lab->idle_cull_ms, 0);
    CHECK(!lab->enabled && !config->disabled && !config_find(config, "other"));
    config_destroy(config);
}

static const char everything[] = "\xef\xbb\xbf; a comment\n"
                                 "[defaults]\r\n"
                                 "port: 40000 ; its own\n"
                                 "log_total = 1G\n"
                                 "stop_timeout = 5s\n"
                                 "restart = always\n"
                                 "[service:tb]\n"
                                 "kind = command\n"
                                 "command = tensorboard --port {port}\n"
                                 "    --logdir 'a b'\n"
                                 "env = /opt/venv\n"
                                 "cwd = $HOME/runs\n"
                                 "workspace = ~\n"
                                 "modules = gcc\n"
                                 "\tpython/3.11\n"
                                 "setup = export A=1; B=2\n"
                                 "  # said in between\n"
                                 "  export B\n"
                                 "environment = ONE=1 TWO=\"t w o\"\n"
                                 "  THREE='a\"b' FOUR=a,b\n"
                                 "after = lab\n"
                                 "ready = http:/healthz\n"
                                 "restart = no\n"
                                 "stop_signal = SIGINT\n"
                                 "enabled = yes\n"
                                 "idle_cull = 12h\n"
                                 "log_budget = 1M\n"
                                 "limit_nofile = 4096\n"
                                 "limit_core = unlimited\n";

static void check_everything(const struct config *config)
{
    const struct service_config *tb = config_find(config, "tb");
    CHECK_INT(config->port, 40000);
    CHECK_INT((long long)config->log_total, 1LL << 30);
    CHECK_STRING(tb->command, "tensorboard --port {port} --logdir 'a b'");
    CHECK_STRING(tb->env, "/opt/venv");
    CHECK_STRING(tb->cwd, "/home/me/runs");
    CHECK_STRING(tb->workspace, "/home/me");
    CHECK_STRING(tb->modules, "gcc python/3.11");
    CHECK_STRING(tb->setup, "export A=1; B=2\nexport B");
    CHECK_STRING(tb->environment[0], "ONE=1");
    CHECK_STRING(tb->environment[1], "TWO=t w o");
    CHECK_STRING(tb->environment[2], "THREE=a\"b");
    CHECK_STRING(tb->environment[3], "FOUR=a,b");
    CHECK(!tb->environment[4]);
    CHECK_STRING(tb->after[0], "lab");
    CHECK_STRING(tb->ready, "http:/healthz");
    CHECK_INT(tb->restart, RESTART_NO);
    CHECK_INT(tb->stop_signal, SIGINT);
    CHECK_INT(tb->stop_timeout_ms, 5000);
    CHECK(tb->enabled);
    CHECK_INT(tb->idle_cull_ms, 12 * 3600 * 1000);
    CHECK_INT((long long)tb->log_budget, 1 << 20);
    CHECK_INT((long long)tb->limit_count, 2);
    CHECK_INT(tb->limits[0].resource, RLIMIT_NOFILE);
    CHECK_INT((long long)tb->limits[0].value, 4096);
    CHECK(tb->limits[1].resource == RLIMIT_CORE && tb->limits[1].value == RLIM_INFINITY);
    CHECK_INT(config_find(config, "lab")->restart, RESTART_ALWAYS);
}

/* What `config show` prints is a file that says the same. */
static void check_shown(const char *user, void (*check)(const struct config *))
{
    struct config *config = parse(NULL, user);
    struct text shown = {0}, again = {0};
    check(config);
    config_format(config, &shown);
    struct config *second = parse(NULL, text_string(&shown));
    check(second);
    config_format(second, &again);
    CHECK_STRING(text_string(&again), text_string(&shown));
    text_finish(&shown);
    text_finish(&again);
    config_destroy(config);
    config_destroy(second);
}

static void check_odd(const struct config *config)
{
    const struct service_config *x = config_find(config, "x");
    CHECK_INT((long long)strlen(x->command), 2 * 170 + 3 + strlen("a  b env = c"));
    CHECK_STRING(x->command + 2 * 170 + 3, "a  b env = c");
    CHECK_STRING(x->modules, ";gcc");
    CHECK_INT((long long)strlen(x->cwd), strlen("/home/me/") + 180);
    static const char *const words[] = {"A=1", "B=2", "C=3", "D=a ;b", "E=\"'", "F=\v", NULL};
    for (size_t i = 0; words[i] || x->environment[i]; i++) {
        if (!CHECK_STRING(x->environment[i], words[i])) {
            break;
        }
    }
}

/* Lines near the limit that get longer when written out, and characters that end words. */
static void test_odd_values(void)
{
    struct text user = {0};
    text_printf(&user, "[service:x]\ncommand=");
    for (int i = 0; i < 2 * 85; i++) {
        text_printf(&user, i == 85 ? "\n y" : i ? " y" : "y");
    }
    text_printf(&user, "\n yy a  b env = c\nmodules=;gcc\ncwd=~/");
    for (int i = 0; i < 180; i++) {
        text_printf(&user, "d");
    }
    text_printf(&user, "\nenvironment = A=1\vB=2\rC=3\f'D=a '';b' E=\\\"\\' F='\v'\n");
    check_shown(text_string(&user), check_odd);
    text_finish(&user);
}

static void test_copy(void)
{
    struct config *config = parse(NULL, everything);
    struct service_config *tb = service_config_copy(config_find(config, "tb"));
    config_destroy(config);
    CHECK_STRING(tb->environment[1], "TWO=t w o");
    CHECK_STRING(tb->setup, "export A=1; B=2\nexport B");
    CHECK_INT((long long)tb->limits[0].value, 4096);
    CHECK_INT(tb->stop_timeout_ms, 5000);
    CHECK(tb->enabled && !tb->argv);
    service_config_destroy(tb);
    struct service_config *adhoc = service_config_create("x", "command");
    adhoc->argv = calloc(3, sizeof(char *));
    adhoc->argv[0] = strdup("a b");
    adhoc->argv[1] = strdup("");
    struct service_config *copy = service_config_copy(adhoc);
    CHECK_STRING(copy->argv[0], "a b");
    CHECK_STRING(copy->argv[1], "");
    CHECK(!copy->argv[2]);
    service_config_destroy(adhoc);
    service_config_destroy(copy);
}

/* The user's file replaces what the site's says, key by key, lists as a whole. */
static void test_site(void)
{
    struct config *config = parse(
        "[defaults]\nidle_cull = 2h\nlocks = idle_cull, limit_as\n"
        "[service:lab]\nlimit_nofile = 100\nenvironment = A=1\n[service:db]\ncommand = db\n",
        "[service:lab]\nlimit_nofile = 200\nenvironment = B=2\nlog_budget = 1M\n"
        "[service:db]\nstop_timeout = 1m\n");
    const struct service_config *lab = config_find(config, "lab");
    CHECK_INT(lab->idle_cull_ms, 7200 * 1000);
    CHECK_INT((long long)lab->limit_count, 1);
    CHECK_INT((long long)lab->limits[0].value, 200);
    CHECK_STRING(lab->environment[0], "B=2");
    CHECK(!lab->environment[1]);
    CHECK_STRING(config_find(config, "db")->command, "db");
    CHECK_INT(config_find(config, "db")->stop_timeout_ms, 60000);
    config_destroy(config);
}

/* 199 bytes are read whole; a last line needs no newline. */
static void test_longest_line(void)
{
    char text[400];
    int n = snprintf(text, sizeof text, "[service:x]\n");
    memset(text + n, 'x', 199);
    memcpy(text + n, "command = ", 10);
    text[n + 199] = 0;
    struct config *config = parse(NULL, text);
    CHECK_INT((long long)strlen(config_find(config, "x")->command), 189);
    config_destroy(config);
}

static void test_files(void)
{
    char root[PATH_MAX], path[PATH_MAX + 32];
    struct home here;
    struct config *config = NULL;
    struct text errors = {0};
    scratch_folder(root);
    snprintf(here.root, sizeof here.root, "%s", root);
    snprintf(path, sizeof path, "%s/etc", root);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/site.conf", root);
    setenv("GEARS_SITE_CONFIG", path, 1);
    CHECK_INT(config_load(&here, root, &config, &errors), 0); /* neither file is there */
    config_destroy(config);

    scratch_write(path, "[defaults]\nport = 39000\n", 0644);
    snprintf(path, sizeof path, "%s/etc/gears.conf", root);
    scratch_write(path, "[service:x]\ncommand = sleep 1\n", 0644);
    CHECK_INT(config_load(&here, root, &config, &errors), 0);
    CHECK_INT(config->port, 39000);
    CHECK(config_find(config, "x") && !config->disabled);
    config_destroy(config);

    snprintf(path, sizeof path, "%s/disabled", root);
    scratch_write(path, "maintenance until Friday\n", 0644);
    CHECK_INT(config_load(&here, root, &config, &errors), 0);
    CHECK_STRING(config->disabled, "maintenance until Friday");
    config_destroy(config);

    snprintf(path, sizeof path, "%s/etc/gears.conf", root);
    scratch_write(path, "[service:x]\ncommand =\n", 0644);
    CHECK_INT(config_load(&here, root, &config, &errors), -EINVAL);
    strcat(path, ":2: command has no value");
    CHECK_HOLDS(text_string(&errors), path);
    text_finish(&errors);
    scratch_remove(root);
}

int main(void)
{
    setenv("HOME", "/home/me", 1);
    test_nothing();
    check_shown(everything, check_everything);
    test_odd_values();
    test_copy();
    test_site();
    test_longest_line();
    test_files();
    return check_result();
}
