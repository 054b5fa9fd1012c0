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
    snprintf(name, sizeof name, "jr-%s", service->name);
    int code = prepare_env_dir(home, service, paths->env, err);
    code = code ? code : home_short_dir(home, name, RUNTIME_LIMIT, paths->runtime, err);
    if (code) {
        return code;
    }
    if (home_path(home, paths->token, "state", "secret/%s.token", service->name) ||
        home_path(home, paths->cookie, "state", "secret/%s.cookie", service->name)) {
        return error_set(err, -ENAMETOOLONG, "%s: path too long", home->root);
    }
    code = prepare_socket(home, service->name, paths->socket, err);
    if (code) {
        return code;
    }
    snprintf(paths->config, sizeof paths->config, "%s/etc/jupyter", home->root);
    code = dir_ensure_tree(paths->config, err);
    code = code ? code : prepare_secret(paths->cookie, COOKIE_BYTES, NULL, err);
    return code;
}

static int fill_environment(const struct home *home, const struct service_config *service,
    const struct paths *paths, struct launch *launch, struct error *err)
{
    struct list env = {0};
    char bin[PATH_MAX + 8];
    const char *user_home = getenv("HOME"), *user = getenv("USER");
    snprintf(bin, sizeof bin, "%s/bin", paths->env);
    int code = prepare_environment(service, launch->cwd, bin, &env, err);
    if (code) {
        list_free(&env);
        return code;
    }
    /* The user's themes and layouts, whatever the server's configuration says. */
    if (user_home) {
        list_set(&env, "JUPYTERLAB_SETTINGS_DIR=%s/.jupyter/lab/user-settings", user_home);
        list_set(&env, "JUPYTERLAB_WORKSPACES_DIR=%s/.jupyter/lab/workspaces", user_home);
    }
    prepare_assignments(service, &env);
    /* What the service needs to be found and private: no line of a file changes it. */
    list_set(&env, "JUPYTER_RUNTIME_DIR=%s", paths->runtime);
    list_set(&env, "JUPYTER_CONFIG_DIR=%s", paths->config);
    list_set(&env, "JUPYTER_TOKEN_FILE=%s", paths->token);
    list_set(&env, "GEARS_COOKIE_NAME=gears-%s-%s-%s", user ? user : "user", home->host,
        service->name);
    list_set(&env, "GEARS_IDLE_CULL=%lld", (long long)(service->idle_cull_ms + 999) / 1000);
    launch->env = list_take(&env);
    return launch->env ? 0 : error_set(err, -ENOMEM, "out of memory");
}

static int fill_argv(const struct service_config *service, const char *share_dir,
    const struct paths *paths, struct launch *launch, struct error *err)
{
    struct list argv = {0};
    const char *home = getenv("HOME");
    char *root = NULL;
    int code = service->workspace ? prepare_folder(service->workspace, "workspace", &root, err)
                                  : prepare_folder(home ? home : "/", "HOME", &root, err);
    if (code) {
        return code;
    }
    list_add(&argv, "%s/bin/python", paths->env);
    list_add(&argv, "%s/python/gears/lab.py", share_dir);
    list_add(&argv, "--no-browser");
    list_add(&argv, "--ServerApp.sock=%s", paths->socket);
    list_add(&argv, "--ServerApp.cookie_secret_file=%s", paths->cookie);
    list_add(&argv, "--ServerApp.root_dir=%s", root);
    free(root);
    launch->argv = list_take(&argv);
    return launch->argv ? 0 : error_set(err, -ENOMEM, "out of memory");
}

static int prepare(const struct home *home, const char *share_dir,
    const struct service_config *service, struct launch *launch, struct error *err)
{
    struct paths paths;
    int code = find_paths(home, service, &paths, err);
    code = code ? code : prepare_secret(paths.token, TOKEN_BYTES, &launch->token, err);
    code = code ? code : prepare_cwd(service, &launch->cwd, err);
    code = code ? code : fill_argv(service, share_dir, &paths, launch, err);
    code = code ? code : fill_environment(home, service, &paths, launch, err);
    if (code) {
        return code;
    }
    launch->socket = strdup(paths.socket);
    launch->ready = READY_HTTP;
    launch->http_path = strdup("/api");
    launch->url_path = strdup("/lab");
    launch->activity_path = strdup("/api/status");
    launch->shutdown_path = strdup("/api/shutdown");
    launch->env_name = strdup(service->env ? service->env : "default");
    if (asprintf(&launch->kernels_path, "%s/kernels.txt", paths.runtime) < 0) {
        launch->kernels_path = NULL;
        return error_set(err, -ENOMEM, "out of memory");
    }
    unlink(launch->kernels_path); /* of an earlier incarnation */
    return launch->socket && launch->http_path && launch->url_path && launch->activity_path &&
                   launch->shutdown_path
               ? 0
               : error_set(err, -ENOMEM, "out of memory");
}

const struct kind kind_jupyter = {"jupyter", prepare};
