/* Environments, secrets and folders for a start. */
#include "daemon/kinds/prepare.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/file.h"
#include "common/nonce.h"
#include "common/unixsock.h"
#include "daemon/core/log.h"
#include "daemon/kinds/setup.h"

extern char **environ;

enum { SECRET_LEAST = 32, SECRET_LIMIT = 256 };

/* gearsd lives longer than the session it was started from: nothing of that session (agent
 * sockets, displays) may reach a service, so what passes is named here. */
static bool is_allowed(const char *assignment)
{
    static const char *const names[] = {"HOME", "GEARS_HOME", "USER", "LOGNAME", "SHELL",
        "LANG", "LANGUAGE", "TZ", "TMPDIR", "XDG_RUNTIME_DIR", "MODULEPATH", "MODULESHOME",
        "BASH_ENV", "SLURM_CONF", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY",
        "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE"};
    size_t length = strcspn(assignment, "=");
    if (!strncmp(assignment, "LC_", 3) || !strncmp(assignment, "LMOD_", 5)) {
        return true;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i]) == length && !strncmp(assignment, names[i], length)) {
            return true;
        }
    }
    return false;
}

static const char *find_path(const struct list *env)
{
    for (size_t i = 0; i < env->count; i++) {
        if (!strncmp(env->items[i], "PATH=", 5)) {
            return env->items[i] + 5;
        }
    }
    return "/usr/local/bin:/usr/bin:/bin";
}

int prepare_environment(const struct service_config *service, const char *cwd, const char *bin,
    struct list *env, struct error *err)
{
    const char *path = getenv("PATH");
    for (char **item = environ; *item; item++) {
        if (is_allowed(*item)) {
            list_set(env, "%s", *item);
        }
    }
    list_set(env, "PATH=%s", path && *path ? path : find_path(&(struct list){0}));
    if (service->modules || service->setup) {
        int64_t begin = clock_monotonic_ms();
        int code = setup_run(service, cwd, SETUP_TIMEOUT_MS, env, err);
        log_line("service %s setup code=%d ms=%lld", service->name, code,
            (long long)(clock_monotonic_ms() - begin));
        if (code) {
            return code;
        }
    }
    if (bin) {
        list_set(env, "PATH=%s:%s", bin, find_path(env));
    }
    return env->failed ? error_set(err, -ENOMEM, "out of memory") : 0;
}

void prepare_assignments(const struct service_config *service, struct list *env)
{
    for (char **item = service->environment; item && *item; item++) {
        list_set(env, "%s", *item);
    }
}

int prepare_folder(const char *path, const char *key, char **out, struct error *err)
{
    struct stat st;
    if (stat(path, &st)) {
        int code = -errno;
        return error_errno(err, code, "%s: make this folder or change %s", path, key);
    }
    if (!S_ISDIR(st.st_mode)) {
        return error_set(err, -ENOTDIR, "%s is no folder; change %s", path, key);
    }
    *out = strdup(path);
    return *out ? 0 : error_set(err, -ENOMEM, "out of memory");
}

int prepare_cwd(const struct service_config *service, char **cwd, struct error *err)
{
    const char *home = getenv("HOME");
    if (service->cwd) {
        return prepare_folder(service->cwd, "cwd", cwd, err);
    }
    return service->workspace ? prepare_folder(service->workspace, "workspace", cwd, err)
                              : prepare_folder(home ? home : "/", "HOME", cwd, err);
}

static int make_secret(const char *path, size_t bytes, struct error *err)
{
    char text[2 * 64 + 1] = "";
    nonce_hex(text, bytes <= 64 ? bytes : 64);
    int code = file_write_atomic(path, text, strlen(text), 0600, err);
    explicit_bzero(text, sizeof text);
    return code;
}

int prepare_secret(const char *path, size_t bytes, char **secret, struct error *err)
{
    struct stat st;
    char *text = NULL;
    int code = lstat(path, &st) ? -errno : 0;
    if (code == -ENOENT) {
        code = make_secret(path, bytes, err);
    } else if (code) {
        return error_errno(err, code, "%s", path);
    } else if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077)) {
        return error_set(err, -EPERM, "%s is not a private file of yours; remove it", path);
    }
    code = code ? code : file_read(path, SECRET_LIMIT, &text, NULL, err);
    if (code) {
        return code;
    }
    text[strcspn(text, "\r\n")] = 0;
    if (strlen(text) < SECRET_LEAST) {
        code = error_set(err, -EINVAL, "%s is too short for a secret; remove it", path);
    }
    if (!code && secret) {
        *secret = text;
        return 0;
    }
    explicit_bzero(text, strlen(text));
    free(text);
    return code;
}

int prepare_socket(
    const struct home *home, const char *name, char out[PATH_MAX], struct error *err)
{
    struct sockaddr_un address;
    if (home_path(home, out, "run", "own/%s.sck", name)) {
        return error_set(err, -ENAMETOOLONG, "%s: path too long", home->root);
    }
    return unix_address(&address, out, err);
}

int prepare_env_dir(const struct home *home, const struct service_config *service,
    char out[PATH_MAX], struct error *err)
{
    char python[PATH_MAX + 16];
    struct utsname uts;
    const char *name = service->env ? service->env : "default";
    if (name[0] == '/') {
        snprintf(out, PATH_MAX, "%s", name);
    } else if (name[0] == '.' || strchr(name, '/')) {
        return error_set(
            err, -EINVAL, "\"%s\" is neither an environment's name nor absolute", name);
    } else {
        uname(&uts);
        for (char *c = uts.sysname; *c; c++) {
            *c = (char)tolower((unsigned char)*c);
        }
        snprintf(out, PATH_MAX, "%s/env/%s-%s/%s", home->root, uts.sysname, uts.machine, name);
    }
    snprintf(python, sizeof python, "%s/bin/python", out);
    if (access(python, X_OK)) {
        return error_set(err, -ENOENT, "there is no Python environment in %s; %s", out,
            service->env ? "make it or change env (the default one: run: gearsctl init)"
                         : "run: gearsctl init");
    }
    return 0;
}
