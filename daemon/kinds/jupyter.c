/* Kind jupyter: JupyterLab on a Unix socket only, its kernels on ipc, its secrets in private
 * files. */
#include "daemon/kinds/kinds.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "daemon/kinds/prepare.h"

/* An ipc socket's path is this folder and about 50 bytes; 107 is the kernel's limit. */
enum { RUNTIME_LIMIT = 56, TOKEN_BYTES = 24, COOKIE_BYTES = 32 };

struct paths {
    char env[PATH_MAX], runtime[PATH_MAX], token[PATH_MAX], cookie[PATH_MAX], socket[PATH_MAX];
    char config[PATH_MAX];
};

static int find_paths(const struct home *home, const struct service_config *service,
    struct paths *paths, struct error *err)
{
    char name[64];
    snprintf(name, sizeof name, "j-%s", service->name);
    int code = prepare_env_dir(home, service, paths->env, err);
    code = code ? code : home_short_dir(home, name, RUNTIME_LIMIT, paths->runtime, err);
    if (code) {
        return code;
    }
    if (home_path(home, paths->token, "state", "secret/%s.token", service->name) ||
        home_path(home, paths->cookie, "state", "secret/%s.cookie", service->name) ||
        home_path(home, paths->socket, "run", "own/%s.sck", service->name)) {
        return error_set(err, -ENAMETOOLONG, "%s: path too long", home->root);
    }
    snprintf(paths->config, sizeof paths->config, "%s/etc/jupyter", home->root);
    code = dir_ensure_tree(paths->config, err);
    code = code ? code : prepare_secret(paths->cookie, COOKIE_BYTES, NULL, err);
    return code;
}

static void add_environment(const struct home *home, const struct service_config *service,
    const struct paths *paths, struct list *env)
{
    char bin[PATH_MAX + 8];
    const char *user_home = getenv("HOME"), *user = getenv("USER");
    snprintf(bin, sizeof bin, "%s/bin", paths->env);
    prepare_environment(service, bin, env);
    list_add(env, "JUPYTER_RUNTIME_DIR=%s", paths->runtime);
    list_add(env, "JUPYTER_CONFIG_DIR=%s", paths->config);
    list_add(env, "JUPYTER_TOKEN_FILE=%s", paths->token);
    if (user_home) { /* the user's themes and layouts, whatever the server's configuration says
                      */
        list_add(env, "JUPYTERLAB_SETTINGS_DIR=%s/.jupyter/lab/user-settings", user_home);
        list_add(env, "JUPYTERLAB_WORKSPACES_DIR=%s/.jupyter/lab/workspaces", user_home);
    }
    list_add(env, "GEARS_COOKIE_NAME=gears-%s-%s-%s", user ? user : "user", home->host,
        service->name);
    list_add(env, "GEARS_IDLE_CULL=%lld", (long long)(service->idle_cull_ms / 1000));
}

static int prepare(const struct home *home, const char *share_dir,
    const struct service_config *service, struct launch *launch, struct error *err)
{
    struct paths paths;
    struct list plain = {0}, argv = {0}, env = {0};
    char python[PATH_MAX + 16];
    int code = find_paths(home, service, &paths, err);
    code = code ? code : prepare_secret(paths.token, TOKEN_BYTES, &launch->token, err);
    code = code ? code : prepare_cwd(service, &launch->cwd, err);
    if (code) {
        return code;
    }
    snprintf(python, sizeof python, "%s/bin/python", paths.env);
    list_add(&plain, "%s%s", python, access(python, X_OK) ? "3" : "");
    list_add(&plain, "%s/python/gears/lab.py", share_dir);
    list_add(&plain, "--no-browser");
    list_add(&plain, "--ServerApp.sock=%s", paths.socket);
    list_add(&plain, "--ServerApp.cookie_secret_file=%s", paths.cookie);
    list_add(&plain, "--ServerApp.root_dir=%s",
        service->workspace ? service->workspace : launch->cwd);
    prepare_argv(service, &plain, &argv);
    add_environment(home, service, &paths, &env);
    launch->argv = list_take(&argv);
    launch->env = list_take(&env);
    launch->socket = strdup(paths.socket);
    launch->ready = READY_HTTP;
    launch->http_path = strdup("/api");
    launch->url_path = strdup("/lab");
    launch->shutdown_path = strdup("/api/shutdown");
    launch->env_name = strdup(service->env ? service->env : "default");
    if (asprintf(&launch->kernels_path, "%s/kernels.txt", paths.runtime) < 0) {
        launch->kernels_path = NULL;
    } else {
        unlink(launch->kernels_path); /* of an earlier incarnation */
    }
    return launch->argv && launch->env && launch->socket && launch->http_path
               ? 0
               : error_set(err, -ENOMEM, "out of memory");
}

const struct kind kind_jupyter = {"jupyter", prepare};
