/* The blocking client against a peer that answers well, badly, in pieces, or not at all. */
#include "proto/varlink_client.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/unixsock.h"
#include "tests/proto/peer.h"
#include "tests/unit/check.h"

enum { SHORT_MS = 50, LONG_MS = 20000 };

static char folder[] = "/tmp/gears-test-XXXXXX", path[64];
static int listener;
static struct varlink_client *client;

static int meet(void)
{
    struct error err = {""};
    int code = -1;
    client = varlink_client_open(path, LONG_MS, &err, &code);
    CHECK_INT(code, 0);
    int fd = client ? unix_accept_same_uid(listener, NULL) : -1;
    if (fd < 0) {
        fprintf(stderr, "cannot meet: %s\n", err.text);
        exit(2);
    }
    return fd;
}

static void part(int fd)
{
    varlink_client_close(client);
    client = NULL;
    if (fd >= 0) {
        close(fd);
    }
}

/* What receive gives, with the reply's text in `text`. */
static int receive(int64_t timeout_ms, char *text, size_t size, char *error, bool *continues)
{
    cJSON *reply = NULL;
    char *name = NULL;
    struct error err = {""};
    int code = varlink_client_receive(client, timeout_ms, &reply, &name, continues, &err);
    CHECK(!code == !err.text[0]);
    char *printed = code ? NULL : cJSON_PrintUnformatted(reply);
    snprintf(text, size, "%s", printed ? printed : "");
    snprintf(error, 64, "%s", !code && name ? name : "");
    if (!code) {
        cJSON_Delete(reply);
        free(name);
    }
    free(printed);
    return code;
}

static void says(int fd, const char *bytes, size_t length)
{
    CHECK_INT(send(fd, bytes, length, MSG_NOSIGNAL), (long long)length);
}

static void reads_replies(void)
{
    int fd = meet();
    char text[128], error[64];
    bool continues = false;
    static const char three[] = "{\"parameters\":{\"n\":1},\"continues\":true}\0{}\0"
                                "{\"error\":\"a.b.C\",\"parameters\":{\"x\":\"y\"}}\0{\"par";
    says(fd, three, sizeof three - 1);
    CHECK_INT(receive(LONG_MS, text, sizeof text, error, &continues), 0);
    CHECK_STRING(text, "{\"n\":1}");
    CHECK(continues);
    CHECK_INT(receive(0, text, sizeof text, error, &continues), 0);
    CHECK_STRING(text, "{}");
    CHECK(!continues);
    CHECK_INT(receive(0, text, sizeof text, error, &continues), 0);
    CHECK_STRING(text, "{\"x\":\"y\"}");
    CHECK_STRING(error, "a.b.C");
    CHECK_INT(receive(SHORT_MS, text, sizeof text, error, &continues), -ETIMEDOUT);
    says(fd, "ameters\":null}", 15); /* the rest, after a deadline that passed */
    CHECK_INT(receive(0, text, sizeof text, error, &continues), 0);
    CHECK_STRING(text, "{}");
    says(fd, "{\"parameters\":{", 15);
    close(fd);
    CHECK_INT(receive(-1, text, sizeof text, error, &continues), -ECONNRESET);
    part(-1);
}

static void refuses_what_is_not_varlink(void)
{
    static const char *const bad[] = {"", "x", "[]", "1", "{} {}", "{}x", "{\"parameters\":1}",
        "{\"parameters\":[]}", "{\"a\":\"\xff\"}", "{\"parameters\":{}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int fd = meet();
        char text[128], error[64];
        bool continues;
        says(fd, bad[i], strlen(bad[i]) + 1);
        if (!CHECK_INT(receive(LONG_MS, text, sizeof text, error, &continues), -EBADMSG)) {
            fprintf(stderr, "    %s\n", bad[i]);
        }
        part(fd);
    }
}

/* Nothing to connect to, and the server gone before the call is sent. */
static void names_what_fails(void)
{
    struct error err = {""};
    int code = 0;
    char absent[80];
    snprintf(absent, sizeof absent, "%s.absent", path);
    CHECK(!varlink_client_open(absent, LONG_MS, &err, &code));
    CHECK_INT(code, -ENOENT);
    CHECK(strstr(err.text, absent) != NULL);
    int fd = meet();
    close(fd);
    err.text[0] = 0;
    CHECK_INT(varlink_client_send(client, "a.b.C", cJSON_CreateObject(), false, &err), -EPIPE);
    CHECK(err.text[0]);
    part(-1);
}

static void speaks_with_our_server(void)
{
    struct peer peer = {0};
    peer_start(&peer);
    int fd = meet();
    struct varlink_connection *server = varlink_connection_create(peer.service, fd);
    char text[128], error[64];
    bool continues;
    cJSON *parameters = cJSON_CreateObject();
    cJSON_AddNumberToObject(parameters, "a", 40);
    cJSON_AddNumberToObject(parameters, "b", 2);
    CHECK_INT(varlink_client_send(client, "org.gears.test.Add", parameters, false, NULL), 0);
    CHECK_INT(varlink_client_send(client, "org.gears.test.Absent", NULL, true, NULL), 0);
    CHECK_INT(varlink_connection_process(server, POLLIN | POLLOUT), 0);
    CHECK_INT(receive(0, text, sizeof text, error, &continues), 0);
    CHECK_STRING(text, "{\"sum\":42}");
    CHECK_INT(receive(0, text, sizeof text, error, &continues), 0);
    CHECK_STRING(error, "org.varlink.service.MethodNotFound");
    CHECK(varlink_client_fd(client) >= 0);
    varlink_connection_destroy(server);
    part(-1);
    peer_finish(&peer);
}

static const char secret[] = "s3cr3t-PASSCODE";
static int leaks;

/* Nothing that is given back holds the secret. */
static void check_free(void *block)
{
    if (block && memmem(block, malloc_usable_size(block), secret, strlen(secret))) {
        leaks++;
    }
    free(block);
}

static cJSON *make_answers(const char *answer)
{
    cJSON *parameters = cJSON_CreateObject();
    cJSON_AddItemToArray(
        cJSON_AddArrayToObject(parameters, "answers"), cJSON_CreateString(answer));
    return parameters;
}

static void wipes_secrets(void)
{
    static char longest[300 << 10];
    struct error err = {""};
    char text[256];
    cJSON_Hooks hooks = {malloc, check_free};
    int fd = meet();
    cJSON_InitHooks(&hooks);
    CHECK_INT(
        varlink_client_send_secret(client, "org.gears.test.A", make_answers(secret), &err), 0);
    ssize_t n = recv(fd, text, sizeof text, 0);
    CHECK_STRING(n > 0 ? text : "", "{\"method\":\"org.gears.test.A\",\"parameters\":{"
                                    "\"answers\":[\"s3cr3t-PASSCODE\"]}}");
    memset(longest, 'x', sizeof longest - 1);
    memcpy(longest, secret, strlen(secret));
    CHECK_INT(
        varlink_client_send_secret(client, "org.gears.test.A", make_answers(longest), &err),
        -EMSGSIZE);
    CHECK(err.text[0]);
    cJSON *parameters = make_answers(secret);
    varlink_wipe(parameters);
    varlink_wipe(NULL);
    cJSON_Delete(parameters);
    cJSON_InitHooks(NULL);
    CHECK_INT(leaks, 0);
    part(fd);
}

/* Replies that came in one read are told of by no descriptor. */
static void tells_of_what_is_read(void)
{
    static const char both[] = "{\"parameters\":{\"a\":1},\"continues\":true}\0{}";
    char text[256], error[64];
    bool continues;
    int fd = meet();
    CHECK(!varlink_client_has_reply(client));
    CHECK_INT(write(fd, both, sizeof both), sizeof both);
    CHECK_INT(receive(LONG_MS, text, sizeof text, error, &continues), 0);
    CHECK(varlink_client_has_reply(client));
    CHECK_INT(receive(0, text, sizeof text, error, &continues), 0);
    CHECK(!varlink_client_has_reply(client));
    part(fd);
}

int main(void)
{
    struct error err = {""};
    if (!mkdtemp(folder)) {
        return 2;
    }
    snprintf(path, sizeof path, "%s/s", folder);
    listener = unix_listen(path, SOCK_STREAM, 16, &err);
    CHECK(listener >= 0);
    reads_replies();
    refuses_what_is_not_varlink();
    names_what_fails();
    speaks_with_our_server();
    wipes_secrets();
    tells_of_what_is_read();
    close(listener);
    unlink(path);
    rmdir(folder);
    return check_result();
}
