/* Kinds: what is launched, with which environment and secrets, and what is refused in words. */
#include <arpa/inet.h>
#include <errno.h>

#include "common/file.h"
#include "common/home.h"
#include "common/text.h"
#include "daemon/service/kind.h"
#include "tests/unit/scratch.h"

static char root[PATH_MAX];
static struct home home;

static const char *env_find(char *const *env, const char *key)
{
    size_t n = strlen(key);
    const char *found = NULL;
    for (; *env; env++) {
        if (!strncmp(*env, key, n) && (*env)[n] == '=') {
            CHECK(!found); /* a key twice: programs differ in which one counts */
            found = *env + n + 1;
        }
    }
    return found;
}

static char **words(const char *const *from)
{
    char **list = calloc(8, sizeof *list);
    for (size_t i = 0; from[i]; i++) {
        list[i] = strdup(from[i]);
    }
    return list;
}

static int prepare(struct service_config *service, struct launch *launch, struct error *err)
{
    *launch = (struct launch){0};
    *err = (struct error){0};
    return kind_find(service->kind)->prepare(&home, "/share", service, launch, err);
}

/* The words of the refusal. */
static void refuse(struct service_config *service, const char *expected)
{
    struct launch launch;
    struct error err;
    CHECK(prepare(service, &launch, &err) < 0);
    CHECK_HOLDS(err.text, expected);
    launch_finish(&launch);
}

static struct service_config *command(const char *line)
{
    struct service_config *service = service_config_create("tb", "command");
    service->command = strdup(line);
    return service;
}

/* How sh reads a command line with the socket in all kinds of quotes, the socket's path with a
 * quote in it. */
static void test_quoting(void)
{
    struct service_config *service =
        command("printf '%s|' {socket} \"{socket}\" '{socket}' \"it's {socket}\" \\'{socket}");
    struct launch launch;
    struct error err;
    char folder[sizeof home.root], *line = NULL, *output = NULL;
    size_t size = 0;
    memcpy(folder, home.root, sizeof folder);
    snprintf(home.root, sizeof home.root, "%s/it's $a", root);
    CHECK_INT(prepare(service, &launch, &err), 0);
    CHECK_STRING(launch.argv[0], "/bin/sh");
    CHECK_STRING(launch.argv[1], "-c");
    CHECK(!launch.argv[3] && !strncmp(launch.argv[2], "exec printf ", 12));
    FILE *pipe = popen(launch.argv[2], "r");
    CHECK(pipe && getline(&output, &size, pipe) > 0);
    CHECK_INT(pclose(pipe), 0);
    CHECK(asprintf(&line, "%s|%s|%s|it's %s|'%s|", launch.socket, launch.socket, launch.socket,
              launch.socket, launch.socket) > 0);
    CHECK_STRING(output, line);
    memcpy(home.root, folder, sizeof folder);
    free(line);
    free(output);
    launch_finish(&launch);
    service_config_destroy(service);
}

static void test_command(void)
{
    struct service_config *service = service_config_create("tb", "command");
    struct launch launch;
    struct error err;
    char path[PATH_MAX], both[32];
    service->argv = words((const char *const[]){
        "prog", "--port={port}", "{port}:{port}", "", "a b", "$HOME", NULL});
    CHECK_INT(prepare(service, &launch, &err), 0);
    CHECK(launch.port >= 1024 && !launch.socket);
    snprintf(both, sizeof both, "%u:%u", (unsigned)launch.port, (unsigned)launch.port);
    CHECK_STRING(launch.argv[0], "prog");
    CHECK_STRING(launch.argv[2], both);
    CHECK_STRING(launch.argv[3], "");
    CHECK_STRING(launch.argv[4], "a b");
    CHECK_STRING(launch.argv[5], "$HOME");
    CHECK(!launch.argv[6]);
    CHECK_INT(launch.ready, READY_SOCKET);
    CHECK_STRING(launch.url_path, "/");
    CHECK_STRING(launch.cwd, root);
    CHECK(!launch.token && !launch.env_name && !launch.kernels_path && !launch.shutdown_path);
    launch_finish(&launch);
    service_config_destroy(service);

    service = command("serve {socket}");
    CHECK_INT(home_path(&home, path, "run", "own/tb.sck"), 0);
    /* What a dead incarnation left is in the way of most programs. */
    scratch_write(path, "", 0600);
    CHECK_INT(prepare(service, &launch, &err), 0);
    CHECK_STRING(launch.socket, path);
    CHECK(access(path, F_OK) && !launch.port);
    launch_finish(&launch);
    service_config_destroy(service);
}

static void check_ready(const char *line, const char *rule, enum ready_rule expected)
{
    struct service_config *service = command(line);
    struct launch launch;
    struct error err;
    service->ready = rule ? strdup(rule) : NULL;
    CHECK_INT(prepare(service, &launch, &err), 0);
    CHECK_INT(launch.ready, expected);
    CHECK_STRING(launch.ready_log, expected == READY_LOG ? "up: [0-9]+" : NULL);
    CHECK_STRING(launch.http_path, expected == READY_HTTP ? "/healthz" : NULL);
    launch_finish(&launch);
    service_config_destroy(service);
}

static void test_ready(void)
{
    check_ready("sleep 1", NULL, READY_STARTED);
    check_ready("sleep 1", "started", READY_STARTED);
    check_ready("x {port}", NULL, READY_SOCKET);
    check_ready("x {port}", "socket", READY_SOCKET);
    check_ready("x {port}", "started", READY_STARTED);
    check_ready("x {socket}", "http:/healthz", READY_HTTP);
    check_ready("x", "log:up: [0-9]+", READY_LOG);
    check_ready("x", "notify", READY_NOTIFY);
    struct service_config *service = command("sleep 1");
    service->ready = strdup("http:/x");
    refuse(service, "ready = http:/x: write");
    service_config_destroy(service);
}

/* Nothing of the session gearsd was started from; the service's own lines last. */
static void test_environment(void)
{
    struct service_config *service = command("true");
    struct launch launch;
    struct error err;
    setenv("SSH_AUTH_SOCK", "/tmp/agent", 1);
    setenv("SSH_CONNECTION", "1 2 3 4", 1);
    setenv("DISPLAY", ":0", 1);
    setenv("SECRET", "x", 1);
    setenv("PYTHONPATH", "/x", 1);
    setenv("LC_TIME", "de_DE.UTF-8", 1);
    setenv("LMOD_SYSTEM_NAME", "andes", 1);
    setenv("LC_PAPER", "", 1);
    setenv("TZ", "UTC", 1);
    setenv("https_proxy", "http://proxy:3128", 1);
    service->environment = words((const char *const[]){"TZ=CET", "MINE=a b=c", NULL});
    CHECK_INT(prepare(service, &launch, &err), 0);
    CHECK(!env_find(launch.env, "SSH_AUTH_SOCK") && !env_find(launch.env, "SSH_CONNECTION"));
    CHECK(!env_find(launch.env, "DISPLAY") && !env_find(launch.env, "SECRET"));
    CHECK(!env_find(launch.env, "PYTHONPATH"));
    CHECK_STRING(env_find(launch.env, "LC_TIME"), "de_DE.UTF-8");
    CHECK_STRING(env_find(launch.env, "LC_PAPER"), "");
    CHECK_STRING(env_find(launch.env, "LMOD_SYSTEM_NAME"), "andes");
    CHECK_STRING(env_find(launch.env, "https_proxy"), "http://proxy:3128");
    CHECK_STRING(env_find(launch.env, "HOME"), root);
    CHECK_STRING(env_find(launch.env, "PATH"), "/usr/bin:/bin");
    CHECK_STRING(env_find(launch.env, "TZ"), "CET");
    CHECK_STRING(env_find(launch.env, "MINE"), "a b=c");
    launch_finish(&launch);
    service_config_destroy(service);
}

static void test_jupyter_refusals(void)
{
    struct service_config *service = service_config_create("lab", "jupyter");
    char folder[PATH_MAX + 32];
    refuse(service, "run: gearsctl init");
    service->env = strdup("nowhere");
    refuse(service, "env/");
    free(service->env);
    service->env = strdup("../../etc");
    refuse(service, "neither an environment's name nor absolute");
    free(service->env);
    snprintf(folder, sizeof folder, "%s/venv", root);
    service->env = strdup(folder);
    snprintf(folder, sizeof folder, "%s/missing", root);
    service->workspace = strdup(folder);
    refuse(service, "missing: make this folder or change workspace");
    service_config_destroy(service);
}

static void check_lab(const struct launch *launch)
{
    char expected[PATH_MAX + 64];
    snprintf(expected, sizeof expected, "%s/venv/bin/python", root);
    CHECK_STRING(launch->argv[0], expected);
    CHECK_STRING(launch->argv[1], "/share/python/gears/lab.py");
    CHECK_STRING(launch->argv[2], "--no-browser");
    snprintf(
        expected, sizeof expected, "--ServerApp.sock=%s/run/%s/own/lab.sck", root, home.host);
    CHECK_STRING(launch->argv[3], expected);
    snprintf(expected, sizeof expected, "--ServerApp.root_dir=%s", root);
    CHECK_STRING(launch->argv[5], expected);
    CHECK(!launch->argv[6]);
    CHECK_INT(launch->ready, READY_HTTP);
    CHECK_STRING(launch->http_path, "/api");
    CHECK_STRING(launch->url_path, "/lab");
    CHECK_STRING(launch->shutdown_path, "/api/shutdown");
    CHECK(strlen(env_find(launch->env, "JUPYTER_RUNTIME_DIR")) <= 56);
    snprintf(expected, sizeof expected, "%s/kernels.txt",
        env_find(launch->env, "JUPYTER_RUNTIME_DIR"));
    CHECK_STRING(launch->kernels_path, expected);
    CHECK(access(expected, F_OK)); /* an earlier incarnation's is gone */
    snprintf(expected, sizeof expected, "%s/venv/bin:/usr/bin:/bin", root);
    CHECK_STRING(env_find(launch->env, "PATH"), expected);
    CHECK_STRING(env_find(launch->env, "GEARS_IDLE_CULL"), "90");
    snprintf(expected, sizeof expected, "gears-me-%s-lab", home.host);
    CHECK_STRING(env_find(launch->env, "GEARS_COOKIE_NAME"), expected);
    CHECK_INT((long long)strlen(launch->token), 48);
    CHECK_INT((long long)strspn(launch->token, "0123456789abcdef"), 48);
    for (char **word = launch->argv; *word; word++) {
        CHECK(!strstr(*word, launch->token));
    }
    for (char **word = launch->env; *word; word++) {
        CHECK(!strstr(*word, launch->token));
    }
}

/* The token's file is exact, private and stays; a damaged or open one is refused. */
static void test_jupyter(void)
{
    struct service_config *service = service_config_create("lab", "jupyter");
    struct launch first, second;
    struct error err;
    struct stat st;
    char path[PATH_MAX + 32], *text = NULL;
    snprintf(path, sizeof path, "%s/venv", root);
    service->env = strdup(path);
    service->idle_cull_ms = 90000;
    service->environment = words(
        (const char *const[]){"JUPYTER_TOKEN_FILE=/x", "JUPYTERLAB_SETTINGS_DIR=/mine", NULL});
    CHECK_INT(prepare(service, &first, &err), 0);
    CHECK_STRING(err.text, "");
    check_lab(&first);
    scratch_write(first.kernels_path, "old", 0600);
    CHECK_INT(prepare(service, &second, &err), 0);
    check_lab(&second);
    CHECK_STRING(second.token, first.token);
    CHECK_STRING(env_find(first.env, "JUPYTERLAB_SETTINGS_DIR"), "/mine");
    home_path(&home, path, "state", "secret/lab.token");
    CHECK_STRING(env_find(first.env, "JUPYTER_TOKEN_FILE"), path);
    CHECK(!stat(path, &st) && (st.st_mode & 07777) == 0600 && st.st_size == 48);
    CHECK_INT(file_read(path, 100, &text, NULL, NULL), 0);
    CHECK_STRING(text, first.token);
    chmod(path, 0640);
    refuse(service, "lab.token is not a private file of yours; remove it");
    scratch_write(path, "short", 0600);
    refuse(service, "lab.token is too short for a secret; remove it");
    home_path(&home, path, "state", "secret/lab.cookie");
    CHECK(!stat(path, &st) && (st.st_mode & 07777) == 0600 && st.st_size == 64);
    free(text);
    launch_finish(&first);
    CHECK(!first.token && !first.argv);
    launch_finish(&second);
    service_config_destroy(service);
}

/* A socket's address has 107 bytes: said before the program fails over it. */
static void test_long_path(void)
{
    struct service_config *service = command("serve {socket}");
    char folder[sizeof home.root];
    memcpy(folder, home.root, sizeof folder);
    size_t used = strlen(home.root);
    memset(home.root + used, 'x', 120);
    home.root[used] = '/';
    home.root[used + 120] = 0;
    refuse(service, "107");
    memcpy(home.root, folder, sizeof folder);
    service_config_destroy(service);
}

int main(void)
{
    struct error err;
    char path[PATH_MAX + 32];
    scratch_folder(root);
    setenv("HOME", root, 1);
    setenv("USER", "me", 1);
    setenv("GEARS_HOME", root, 1);
    setenv("PATH", "/usr/bin:/bin", 1);
    CHECK_INT(home_init(&home, &err), 0);
    CHECK_INT(home_prepare(&home, &err), 0);
    snprintf(path, sizeof path, "%s/venv/bin", root);
    CHECK_INT(dir_ensure_tree(path, &err), 0);
    strcat(path, "/python");
    scratch_write(path, "#!/bin/sh\n", 0755);
    CHECK(kind_find("jupyter") && kind_find("command") && !kind_find("dask"));
    test_quoting();
    test_command();
    test_ready();
    test_environment();
    test_jupyter_refusals();
    test_jupyter();
    test_long_path();
    scratch_remove(root);
    return check_result();
}
