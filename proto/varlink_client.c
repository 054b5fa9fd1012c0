/* gearsctl's end of the control socket. */
#include "proto/varlink_client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/text.h"
#include "common/unixsock.h"
#include "proto/varlink_depth.h"
#include "proto/varlink_framing.h"
#include "proto/varlink_service.h"

enum {
    REPLY_LIMIT = 8 << 20,
    READ_CHUNK = 16384,
    CONNECT_RETRY_MS = 5,
    SECRET_LIMIT = 256 << 10
};

struct varlink_client {
    int fd;
    struct varlink_framing in;
};

/* Looks at least once, however late it is. -EINTR: a signal came; the caller's business. */
static int wait_for(int fd, short events, int64_t deadline)
{
    for (;;) {
        int64_t left = deadline < 0 ? -1 : deadline - clock_monotonic_ms();
        left = deadline >= 0 && left < 0 ? 0 : left;
        struct pollfd item = {.fd = fd, .events = events};
        int n = poll(&item, 1, (int)(left > INT32_MAX ? INT32_MAX : left));
        if (n) {
            return n > 0 ? 0 : -errno;
        }
        if (clock_monotonic_ms() >= deadline) {
            return -ETIMEDOUT;
        }
    }
}

struct varlink_client *varlink_client_open(
    const char *path, int64_t timeout_ms, struct error *err, int *code)
{
    int64_t deadline = clock_monotonic_ms() + timeout_ms;
    int fd;
    /* A full backlog: the daemon is busy accepting others. */
    while ((fd = unix_connect(path, SOCK_STREAM, true, err)) == -EAGAIN &&
           clock_monotonic_ms() < deadline) {
        poll(NULL, 0, CONNECT_RETRY_MS);
    }
    struct varlink_client *client = fd < 0 ? NULL : calloc(1, sizeof *client);
    if (fd >= 0 && !client) {
        close(fd);
        fd = error_set(err, -ENOMEM, "out of memory");
    }
    if (code) {
        *code = fd < 0 ? fd : 0;
    }
    if (!client) {
        return NULL;
    }
    client->fd = fd;
    client->in.limit = REPLY_LIMIT;
    return client;
}

void varlink_client_close(struct varlink_client *client)
{
    if (client) {
        close(client->fd);
        varlink_framing_finish(&client->in);
        free(client);
    }
}

int varlink_client_fd(const struct varlink_client *client)
{
    return client->fd;
}

static cJSON *make_message(const char *method, cJSON *parameters, bool more)
{
    cJSON *message = cJSON_CreateObject();
    cJSON_AddStringToObject(message, "method", method);
    if (parameters) {
        cJSON_AddItemToObject(message, "parameters", parameters);
    }
    if (more) {
        cJSON_AddBoolToObject(message, "more", true);
    }
    return message;
}

static int send_text(struct varlink_client *client, const char *text, struct error *err)
{
    size_t length = strlen(text) + 1, sent = 0;
    int code = 0;
    while (!code && sent < length) {
        ssize_t n = send(client->fd, text + sent, length - sent, MSG_NOSIGNAL);
        if (n > 0) {
            sent += (size_t)n;
        } else if (errno == EAGAIN) {
            code = wait_for(client->fd, POLLOUT, clock_monotonic_ms() + 10000);
        } else if (errno != EINTR) {
            code = -errno;
        }
    }
    return code ? error_errno(err, code, "cannot send to gearsd") : 0;
}

int varlink_client_send(struct varlink_client *client, const char *method, cJSON *parameters,
    bool more, struct error *err)
{
    cJSON *message = make_message(method, parameters, more);
    char *text = cJSON_PrintUnformatted(message);
    cJSON_Delete(message);
    if (!text) {
        return error_set(err, -ENOMEM, "out of memory");
    }
    int code = send_text(client, text, err);
    free(text);
    return code;
}

void varlink_wipe(cJSON *item)
{
    cJSON *child;
    if (cJSON_IsString(item) && item->valuestring) {
        explicit_bzero(item->valuestring, strlen(item->valuestring));
    }
    cJSON_ArrayForEach(child, item)
    {
        varlink_wipe(child);
    }
}

int varlink_client_send_secret(
    struct varlink_client *client, const char *method, cJSON *parameters, struct error *err)
{
    cJSON *message = make_message(method, parameters, false);
    char *text = calloc(1, SECRET_LIMIT); /* a buffer that grew would leave copies behind */
    int code = !text ? error_set(err, -ENOMEM, "out of memory")
               : !cJSON_PrintPreallocated(message, text, SECRET_LIMIT, false)
                   ? error_set(err, -EMSGSIZE, "the answers are longer than 256 KiB")
                   : send_text(client, text, err);
    if (text) {
        explicit_bzero(text, SECRET_LIMIT);
    }
    free(text);
    varlink_wipe(message);
    cJSON_Delete(message);
    return code;
}

static int parse_reply(
    char *text, size_t length, cJSON **reply, char **error_name, bool *continues)
{
    cJSON *json = varlink_text_is_sane(text, length, VARLINK_DEPTH_LIMIT)
                      ? cJSON_ParseWithLengthOpts(text, length + 1, NULL, true)
                      : NULL;
    const cJSON *parameters = cJSON_GetObjectItemCaseSensitive(json, "parameters");
    if (!cJSON_IsObject(json) ||
        (parameters && !cJSON_IsObject(parameters) && !cJSON_IsNull(parameters))) {
        cJSON_Delete(json);
        return -EBADMSG;
    }
    const char *error = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "error"));
    *error_name = error ? strdup(error) : NULL;
    *continues = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "continues"));
    *reply = cJSON_IsObject(parameters)
                 ? cJSON_DetachItemFromObjectCaseSensitive(json, "parameters")
                 : cJSON_CreateObject();
    cJSON_Delete(json);
    return 0;
}

int varlink_client_receive(struct varlink_client *client, int64_t timeout_ms, cJSON **reply,
    char **error_name, bool *continues, struct error *err)
{
    int64_t deadline = timeout_ms < 0 ? -1 : clock_monotonic_ms() + timeout_ms;
    for (;;) {
        char *message = NULL;
        size_t length = 0;
        int code = varlink_framing_next(&client->in, &message, &length);
        if (code > 0) {
            code = parse_reply(message, length, reply, error_name, continues);
            return code ? error_set(err, code, "gearsd answered something that is not Varlink")
                        : 0;
        }
        if (code < 0) {
            return error_set(err, -EBADMSG, "gearsd's answer is longer than 8 MiB");
        }
        code = wait_for(client->fd, POLLIN, deadline);
        if (code) {
            return error_errno(err, code, "waiting for gearsd");
        }
        char *room = varlink_framing_room(&client->in, READ_CHUNK);
        if (!room) {
            return error_set(err, -ENOMEM, "out of memory");
        }
        ssize_t n = recv(client->fd, room, READ_CHUNK, 0);
        if (n == 0 || (n < 0 && errno == ECONNRESET)) {
            return error_set(err, -ECONNRESET, "gearsd closed the connection");
        }
        if (n > 0) {
            varlink_framing_add(&client->in, (size_t)n);
        } else if (errno != EAGAIN && errno != EINTR) {
            return error_errno(err, -errno, "reading from gearsd");
        }
    }
}

bool varlink_client_has_reply(const struct varlink_client *client)
{
    size_t waiting = varlink_framing_waiting(&client->in);
    return waiting && memchr(client->in.data + client->in.used, 0, waiting);
}
