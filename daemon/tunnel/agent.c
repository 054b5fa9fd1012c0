/* Speaks with the user's agent: requests are a length, a byte and strings; so are answers. Used
 * by auth_agent.c; libssh2's own client would wait for a stuck agent for ever. */
#include "daemon/tunnel/agent.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/text.h"
#include "daemon/tunnel/wire.h"

/* Of draft-ietf-sshm-ssh-agent. */
enum {
    REQUEST_IDENTITIES = 11,
    IDENTITIES_ANSWER = 12,
    SIGN_REQUEST = 13,
    SIGN_RESPONSE = 14,
    FAILURE = 5
};

int agent_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        return -ENAMETOOLONG;
    }
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    /* A full backlog says EAGAIN at once: an agent that does not accept is none. */
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
        int code = -errno;
        close(fd);
        return code;
    }
    return fd;
}

static int send_all(
    int fd, const struct patience *patience, const uint8_t *bytes, size_t length)
{
    while (length) {
        ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return -errno;
        }
        int code = n < 0 ? patience_wait(patience, fd, POLLOUT) : 0;
        if (code) {
            return code;
        }
        bytes += n > 0 ? n : 0;
        length -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int receive_all(int fd, const struct patience *patience, uint8_t *bytes, size_t length)
{
    while (length) {
        ssize_t n = recv(fd, bytes, length, 0);
        if (!n) {
            return -EPIPE;
        }
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return -errno;
        }
        int code = n < 0 ? patience_wait(patience, fd, POLLIN) : 0;
        if (code) {
            return code;
        }
        bytes += n > 0 ? n : 0;
        length -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* Send a request without its length; the answer is on the heap. */
static int transact(int fd, const struct patience *patience, const struct text *request,
    uint8_t **answer, size_t *length)
{
    uint8_t head[4] = {(uint8_t)(request->length >> 24), (uint8_t)(request->length >> 16),
        (uint8_t)(request->length >> 8), (uint8_t)request->length};
    int code = request->failed ? -ENOMEM : send_all(fd, patience, head, sizeof head);
    if (!code) {
        code = send_all(fd, patience, (const uint8_t *)request->data, request->length);
    }
    code = code ? code : receive_all(fd, patience, head, sizeof head);
    if (code) {
        return code;
    }
    struct wire wire = {head, sizeof head, false};
    *length = wire_u32(&wire);
    if (!*length || *length > AGENT_MESSAGE_MOST) {
        return -EBADMSG;
    }
    *answer = malloc(*length);
    code = *answer ? receive_all(fd, patience, *answer, *length) : -ENOMEM;
    if (code) {
        free(*answer);
        *answer = NULL;
    }
    return code;
}

static void put_u32(struct text *text, size_t value)
{
    uint8_t bytes[4] = {
        (uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
    text_append(text, bytes, sizeof bytes);
}

static void put_string(struct text *text, const uint8_t *bytes, size_t length)
{
    put_u32(text, length);
    text_append(text, bytes, length);
}

int agent_list(int fd, const struct patience *patience, struct agent_keys *keys)
{
    struct text request = {0};
    const uint8_t type = REQUEST_IDENTITIES;
    *keys = (struct agent_keys){0};
    text_append(&request, &type, 1);
    int code = transact(fd, patience, &request, &keys->message, &keys->length);
    text_finish(&request);
    if (code) {
        return code;
    }
    struct wire wire = {keys->message, keys->length, false};
    uint8_t answer = wire_byte(&wire);
    keys->left = wire_u32(&wire);
    keys->at = keys->length - wire.left;
    if (answer != IDENTITIES_ANSWER || wire.bad) {
        agent_finish(keys);
        return answer == FAILURE ? -EACCES : -EBADMSG;
    }
    return 0;
}

bool agent_next(struct agent_keys *keys, const uint8_t **blob, size_t *blob_length,
    const char **comment, size_t *comment_length)
{
    struct wire wire = {keys->message + keys->at, keys->length - keys->at, false};
    if (!keys->left) {
        return false;
    }
    *blob = wire_string(&wire, blob_length);
    *comment = (const char *)wire_string(&wire, comment_length);
    keys->at = keys->length - wire.left;
    keys->left = wire.bad ? 0 : keys->left - 1;
    return !wire.bad;
}

void agent_finish(struct agent_keys *keys)
{
    free(keys->message);
    *keys = (struct agent_keys){0};
}

int agent_sign(int fd, const struct patience *patience, const uint8_t *blob, size_t blob_length,
    const uint8_t *data, size_t length, uint32_t flags, uint8_t **signature,
    size_t *signature_length)
{
    struct text request = {0};
    const uint8_t type = SIGN_REQUEST;
    uint8_t *answer = NULL;
    size_t answer_length = 0, outer_length = 0, name_length = 0;
    text_append(&request, &type, 1);
    put_string(&request, blob, blob_length);
    put_string(&request, data, length);
    put_u32(&request, flags);
    int code = transact(fd, patience, &request, &answer, &answer_length);
    text_finish(&request);
    if (code) {
        return code;
    }
    struct wire wire = {answer, answer_length, false};
    uint8_t answer_type = wire_byte(&wire);
    const uint8_t *outer = wire_string(&wire, &outer_length);
    struct wire inner = {outer, outer_length, false};
    const uint8_t *bare = NULL;
    if (answer_type == SIGN_RESPONSE && outer && wire_string(&inner, &name_length)) {
        bare = wire_string(&inner, signature_length);
    }
    *signature = bare ? malloc(*signature_length + 1) : NULL;
    if (*signature) {
        memcpy(*signature, bare, *signature_length);
    }
    code = *signature ? 0 : bare ? -ENOMEM : answer_type == FAILURE ? -EACCES : -EBADMSG;
    free(answer);
    return code;
}
