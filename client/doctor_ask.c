/* What doctor's checks share: who listens, what gearsd says without being started, whose folder
 * a name is. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/doctor.h"
#include "common/proc.h"
#include "common/unixsock.h"

enum { ANSWER_MS = 1500, ENDING_TRIES = 50, ENDING_PAUSE_MS = 20 };

static pid_t listener_once(const char *path, int type)
{
    struct ucred peer = {0};
    int fd = unix_connect(path, type, true, NULL);
    if (fd < 0) {
        return fd;
    }
    int code = unix_peer(fd, &peer);
    close(fd);
    return code ? code : peer.pid;
}

char doctor_state_of(pid_t pid)
{
    struct proc_stat stat;
    return proc_stat_read(pid, &stat) ? 0 : stat.state;
}

/* A killed process is a zombie while one of its threads is still on its way out, and that
   thread holds the socket open: it is waited for. */
pid_t doctor_listener(const char *path, int type)
{
    pid_t pid = listener_once(path, type);
    for (int i = 0; i < ENDING_TRIES && pid > 0 && doctor_state_of(pid) == 'Z'; i++) {
        poll(NULL, 0, ENDING_PAUSE_MS);
        pid = listener_once(path, type);
    }
    return pid;
}

cJSON *doctor_ask(struct doctor *doctor, const char *method, cJSON *parameters)
{
    char path[PATH_MAX], full[80], *error = NULL;
    bool continues;
    cJSON *reply = NULL;
    struct varlink_client *client = home_path(&doctor->cli->home, path, "run", "gearsd.sck")
                                        ? NULL
                                        : varlink_client_open(path, ANSWER_MS, NULL, NULL);
    snprintf(full, sizeof full, "org.gears.Manager.%s", method);
    if (!client) {
        cJSON_Delete(parameters);
        return NULL;
    }
    if (!varlink_client_send(client, full, parameters, false, NULL) &&
        !varlink_client_receive(client, ANSWER_MS, &reply, &error, &continues, NULL) && error) {
        cJSON_Delete(reply);
        reply = NULL;
    }
    free(error);
    varlink_client_close(client);
    return reply;
}

bool doctor_daemon_runs(struct doctor *doctor)
{
    char path[PATH_MAX];
    return !home_path(&doctor->cli->home, path, "run", "gearsd.sck") &&
           doctor_listener(path, SOCK_STREAM) > 0;
}

bool doctor_is_host(const char *name)
{
    return name[0] != '.' && name[0] != '@' && strlen(name) < HOST_NAME_SIZE;
}
