/* `modules` and `setup`: run by a real login bash, with a small module command of our own. */
#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>

#include "daemon/kinds/setup.h"
#include "tests/unit/scratch.h"

static char root[PATH_MAX];

/* A home whose start-up file is as noisy as those of clusters, and knows `module load`. */
static const char profile[] =
    "echo welcome to the cluster\n"
    "export SSH_AUTH_SOCK=/tmp/agent DISPLAY=:1\n"
    "module() {\n"
    "    case $2 in\n"
    "        python/*) export PATH=/sw/$2/bin:$PATH MODULE_SEEN=\"$MODULE_SEEN $2\" ;;\n"
    "        old) echo \"ModuleCmd_Load.c(213):ERROR:105: Unable to locate 'old'\" >&2 ;;\n"
    "        *) echo \"no module $2\" >&2; return 1 ;;\n"
    "    esac\n"
    "}\n";

struct outcome {
    int code;
    struct list env;
    struct error err;
};

static void run(struct outcome *out, const char *modules, const char *setup, int64_t timeout_ms)
{
    struct service_config *service = service_config_create("x", "command");
    *out = (struct outcome){0};
    service->modules = modules ? strdup(modules) : NULL;
    service->setup = setup ? strdup(setup) : NULL;
    list_set(&out->env, "HOME=%s", root);
    list_set(&out->env, "PATH=/usr/bin:/bin");
    out->code = setup_run(service, root, timeout_ms, &out->env, &out->err);
    service_config_destroy(service);
}

static const char *find(const struct outcome *out, const char *key)
{
    size_t n = strlen(key);
    for (size_t i = 0; i < out->env.count; i++) {
        if (!strncmp(out->env.items[i], key, n) && out->env.items[i][n] == '=') {
            return out->env.items[i] + n + 1;
        }
    }
    return NULL;
}

static void test_good(void)
{
    struct outcome out;
    run(&out, "python/3.11 python/extra", "export HERE=$PWD\nexport LINES2='a\nb'\nprivate=1",
        SETUP_TIMEOUT_MS);
    CHECK_INT(out.code, 0);
    CHECK_STRING(out.err.text, "");
    CHECK_STRING(find(&out, "MODULE_SEEN"), " python/3.11 python/extra");
    CHECK(find(&out, "PATH") && !strncmp(find(&out, "PATH"), "/sw/python/extra/bin:", 21));
    CHECK_STRING(find(&out, "HERE"), root);
    CHECK_STRING(find(&out, "LINES2"), "a\nb");
    CHECK_STRING(find(&out, "HOME"), root);
    CHECK(!find(&out, "private") && !find(&out, "SSH_AUTH_SOCK") && !find(&out, "DISPLAY"));
    CHECK(!find(&out, "SHLVL") && !find(&out, "PWD") && !find(&out, "_"));
    list_free(&out.env);
}

/* The words name what failed and hold what it said; the environment stays as it was. */
static void refuse(
    const char *modules, const char *setup, const char *first, const char *second)
{
    struct outcome out;
    run(&out, modules, setup, SETUP_TIMEOUT_MS);
    CHECK_INT(out.code, -EINVAL);
    CHECK_HOLDS(out.err.text, first);
    CHECK_HOLDS(out.err.text, second);
    CHECK_INT((long long)out.env.count, 2);
    list_free(&out.env);
}

static void test_bad(void)
{
    refuse("python/3 cuda/99", NULL, "module load cuda/99 failed", "no module cuda/99");
    refuse("old", NULL, "module load old failed", "Unable to locate");
    refuse(NULL, "source /nowhere/activate", "setup ended with status 1", "/nowhere/activate");
    refuse(NULL, "exit 0", "setup ends the shell itself", "exit");
    refuse(NULL, "if then", "setup ended with status", "syntax error");
    refuse(NULL, "kill -9 $$", "setup ended with signal 9", "welcome");
}

/* Until the process named in the file has ended: an event where the kernel has pidfd. */
static void await_gone(const char *pid_file)
{
    char digits[32] = "";
    FILE *file = fopen(pid_file, "r");
    CHECK(file && fgets(digits, sizeof digits, file));
    if (file) {
        fclose(file);
    }
    int fd = (int)syscall(SYS_pidfd_open, atoi(digits), 0);
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    CHECK(fd < 0 ? errno != EINVAL : poll(&wait, 1, 10000) == 1);
    if (fd >= 0) {
        close(fd);
    }
}

/* Time is bounded, whatever was started goes with it, and a background job that keeps the pipe
 * open is not waited for. */
static void test_time(void)
{
    struct outcome out;
    char lines[PATH_MAX + 128], pid_file[PATH_MAX + 16];
    snprintf(pid_file, sizeof pid_file, "%s/pid", root);
    snprintf(lines, sizeof lines,
        "sleep 1000 &\necho $! > %s\necho waiting for a licence\nwait", pid_file);
    run(&out, NULL, lines, 1500);
    CHECK_INT(out.code, -ETIMEDOUT);
    CHECK_HOLDS(out.err.text, "waiting for a licence");
    list_free(&out.env);
    await_gone(pid_file);

    snprintf(lines, sizeof lines, "sleep 1000 &\necho $! > %s\nexport DONE=1", pid_file);
    run(&out, NULL, lines, SETUP_TIMEOUT_MS);
    CHECK_INT(out.code, 0);
    CHECK_STRING(find(&out, "DONE"), "1");
    await_gone(pid_file);
    list_free(&out.env);
}

/* Neither a flood of words nor a giant environment harms. */
static void test_floods(void)
{
    struct outcome out;
    run(&out, NULL, "head -c 3000000 /dev/zero | tr '\\0' x\necho the end\nfalse",
        SETUP_TIMEOUT_MS);
    CHECK_INT(out.code, -EINVAL);
    CHECK_HOLDS(out.err.text, "the end");
    list_free(&out.env);
    run(&out, NULL, "x=$(head -c 60000 /dev/zero | tr '\\0' x)\nexport A=$x B=$x C=$x",
        SETUP_TIMEOUT_MS);
    CHECK_INT(out.code, -E2BIG);
    CHECK_HOLDS(out.err.text, "100 KiB");
    list_free(&out.env);
}

int main(void)
{
    char path[PATH_MAX + 32];
    scratch_folder(root);
    snprintf(path, sizeof path, "%s/.bash_profile", root);
    scratch_write(path, profile, 0600);
    test_good();
    test_bad();
    test_time();
    test_floods();
    scratch_remove(root);
    return check_result();
}
