/* gearsctl: what its commands share. One command is one descriptor in commands.c. */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "client/watch.h"
#include "common/home.h"
#include "common/text.h"
#include "proto/varlink_client.h"

enum { NAME_MOST = 128, FULL_NAME_MOST = 300 };

enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NOT_RUNNING = 3,
    EXIT_NO_SUCH = 4,
    EXIT_UNREACHABLE = 5,
    EXIT_INCOMPATIBLE = 6,
    EXIT_HUMAN = 7,
    EXIT_TIMED_OUT = 124,
    EXIT_INTERRUPTED = 130
};

struct cli {
    struct home home;
    bool json, autostart, colour, terminal; /* terminal: stdout is one */
    struct varlink_client *client;
    bool raw;            /* a call typed by hand: what is refused is not a matter of versions */
    bool answered;       /* gearsd has answered on this connection */
    const char *subject; /* what errors about a cluster begin with: "lab@andes", "login" */
    /* The cluster (reply of Cluster) whose gearsd `client` leads to, else NULL. */
    cJSON *remote;
};

struct command {
    const char *name;
    const char *usage;   /* after "gearsctl " */
    const char *summary; /* one line; NULL: not listed */
    const char *details; /* options and what else --help says; lines, may be "" */
    const char *example;
    int (*run)(struct cli *cli, int argc, char **argv); /* argv[0] is the command */
};
extern const struct command commands[];
const struct command *command_find(const char *name);
/* Print the command's usage on stderr; returns EXIT_USAGE. */
int command_misuse(const char *name, const char *why);
int command_unknown_option(const char *name, const char *option);

/* connect.c: the daemon, started if need be. 0 or an exit code, the words already said. */
int cli_connect(struct cli *cli);
/* The folder of this executable. */
void cli_program_dir(char out[PATH_MAX]);

/* call.c: one call and one reply; errors are said and turned into exit codes. Takes
 * `parameters`. *reply may be NULL-ed by the callee on failure; the caller deletes. */
int cli_call(struct cli *cli, const char *method, cJSON *parameters, cJSON **reply);
/* A call with more: `each` for every reply until the last; it returns 0 to go on. */
int cli_stream(struct cli *cli, const char *method, cJSON *parameters, int64_t timeout_ms,
    int (*each)(struct cli *cli, const cJSON *reply, void *context), void *context);
/* Whether `name` is a cluster of this host's gearsd, called already; says nothing. */
bool cli_is_cluster(struct cli *cli, const char *name);
/* The line on stderr about a gearsd (its Hello) of another build. */
void cli_hint_builds(const cJSON *hello);
/* The same about the gearsd on `host` (NULL: this one). */
void cli_hint_build(const char *host, const char *build);
/* A call with more whose replies the caller takes one by one: the first, and each further one.
 * 0 or an exit code, the words already said; the caller deletes *reply. */
int cli_begin(struct cli *cli, const char *method, cJSON *parameters, int64_t timeout_ms,
    cJSON **reply, bool *continues);
int cli_next(
    struct cli *cli, const char *method, int64_t timeout_ms, cJSON **reply, bool *continues);
/* Another connection to the gearsd of this host, for a call beside the one under way; closed by
 * cli_fork_end. */
struct cli cli_fork(const struct cli *cli, const char *subject);
void cli_fork_end(struct cli *fork);

/* output.c */
/* One line on stderr behind "gearsctl: ". */
void cli_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Flush stdout: 0, or EXIT_FAILED after a line, without one when its reader has left. */
int cli_flush(void);
/* One object on stdout, on one line or indented; as cli_flush. */
int cli_print_json(const cJSON *object, bool lines);
cJSON *cli_name(const char *name); /* {"name": name} */
/* A service as its user calls it: NAME, or NAME@CLUSTER. Returns `out`. */
const char *cli_full_name(const cJSON *service, char out[FULL_NAME_MOST]);
const char *json_text(const cJSON *object, const char *key);
double json_number(const cJSON *object, const char *key);
/* Microseconds → ISO UTC string item, or null. */
cJSON *json_time(const cJSON *object, const char *key);
cJSON *json_copy(const cJSON *object, const char *key); /* null when it is absent */
bool json_bool(const cJSON *object, const char *key);
/* The promised shape of a service in --json. */
cJSON *json_service(const cJSON *service);

/* Start NAME@CLUSTER or NAME as `gearsctl start` does, and wait until it is ready. may_login:
 * somebody has just asked for it, and can log in where that is needed. */
int service_start(struct cli *cli, const char *argument, bool may_login);

int cmd_service(struct cli *cli, int argc, char **argv);
int cmd_status(struct cli *cli, int argc, char **argv);
int cmd_logs(struct cli *cli, int argc, char **argv);
int cmd_events(struct cli *cli, int argc, char **argv);
int cmd_url(struct cli *cli, int argc, char **argv);
int cmd_wait(struct cli *cli, int argc, char **argv);
int cmd_run(struct cli *cli, int argc, char **argv);
int cmd_signal(struct cli *cli, int argc, char **argv);
int cmd_forward(struct cli *cli, int argc, char **argv);
int cmd_daemon(struct cli *cli, int argc, char **argv);
int cmd_config(struct cli *cli, int argc, char **argv);
int cmd_call(struct cli *cli, int argc, char **argv);
int cmd_init(struct cli *cli, int argc, char **argv);
int cmd_password(struct cli *cli, int argc, char **argv);
int cmd_ssh_config(struct cli *cli, int argc, char **argv);
int cmd_version(struct cli *cli, int argc, char **argv);
int cmd_doctor(struct cli *cli, int argc, char **argv);
int cmd_uninstall(struct cli *cli, int argc, char **argv);
int cmd_completion(struct cli *cli, int argc, char **argv);
int cmd_complete(struct cli *cli, int argc, char **argv);
int cmd_login(struct cli *cli, int argc, char **argv);
int cmd_logout(struct cli *cli, int argc, char **argv);
int cmd_takeover(struct cli *cli, int argc, char **argv);
int cmd_attach(struct cli *cli, int argc, char **argv);
int cmd_later(struct cli *cli, int argc, char **argv);

#endif
