/* The blocking client against a peer that answers well, badly, in pieces, or not at all. */
#include "proto/varlink_client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
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
    close(listener);
    unlink(path);
    rmdir(folder);
    return check_result();
}
