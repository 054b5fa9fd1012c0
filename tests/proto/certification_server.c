/* Serves org.varlink.certification on a Unix socket with the protocol code of gearsd, for
 * others' certification clients. Usage: certification-server SOCKET; prints "ready". */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/unixsock.h"
#include "proto/varlink_service.h"

enum { CONNECTIONS = 16 };

static const char description[] =
    "interface org.varlink.certification\n"
    "type Interface (foo: ?[]?[string](foo, bar, baz), anon: (foo: bool, bar: bool))\n"
    "type MyType (object: object, enum: (one, two, three),\n"
    "  struct: (first: int, second: string), array: []string, dictionary: [string]string,\n"
    "  stringset: [string](), nullable: ?string,\n"
    "  nullable_array_struct: ?[](first: int, second: string), interface: Interface)\n"
    "method Start() -> (client_id: string)\n"
    "method Test01(client_id: string) -> (bool: bool)\n"
    "method Test02(client_id: string, bool: bool) -> (int: int)\n"
    "method Test03(client_id: string, int: int) -> (float: float)\n"
    "method Test04(client_id: string, float: float) -> (string: string)\n"
    "method Test05(client_id: string, string: string) ->\n"
    "  (bool: bool, int: int, float: float, string: string)\n"
    "method Test06(client_id: string, bool: bool, int: int, float: float, string: string) ->\n"
    "  (struct: (bool: bool, int: int, float: float, string: string))\n"
    "method Test07(client_id: string,\n"
    "  struct: (bool: bool, int: int, float: float, string: string)) -> (map: [string]string)\n"
    "method Test08(client_id: string, map: [string]string) -> (set: [string]())\n"
    "method Test09(client_id: string, set: [string]()) -> (mytype: MyType)\n"
    "# returns more than one reply with \"continues\"\n"
    "method Test10(client_id: string, mytype: MyType) -> (string: string)\n"
    "method Test11(client_id: string, last_more_replies: []string) -> ()\n"
    "method End(client_id: string) -> (all_ok: bool)\n"
    "error ClientIdError ()\n"
    "error CertificationError (wants: object, got: object)\n";

/* What each method answers; the next one must be given exactly that. */
static const char *const answers[] = {"{\"bool\":true}", "{\"int\":1}", "{\"float\":1.5}",
    "{\"string\":\"ping\"}", "{\"bool\":false,\"int\":2,\"float\":3.25,\"string\":\"a lot\"}",
    "{\"struct\":{\"bool\":false,\"int\":2,\"float\":3.25,\"string\":\"a lot\"}}",
    "{\"map\":{\"bar\":\"Bar\",\"foo\":\"Foo\"}}",
    "{\"set\":{\"one\":{},\"three\":{},\"two\":{}}}",
    "{\"mytype\":{\"object\":{\"method\":\"x\",\"parameters\":{\"a\":[1,2]}},\"enum\":\"two\","
    "\"struct\":{\"first\":1,\"second\":\"2\"},\"array\":[\"one\",\"two\"],"
    "\"dictionary\":{\"foo\":\"Foo\"},\"stringset\":{\"one\":{}},\"nullable\":null,"
    "\"nullable_array_struct\":null,\"interface\":{\"foo\":[null,{\"foo\":\"foo\"},null],"
    "\"anon\":{\"foo\":true,\"bar\":false}}}}"};

static int wrong;

/* The parameters less the client's id must equal `wants`; nulls and absent fields are the same.
 */
static bool given(struct varlink_call *call, const cJSON *parameters, const char *wants)
{
    cJSON *got = cJSON_Duplicate(parameters, true), *want = cJSON_Parse(wants);
    const char *id = cJSON_GetStringValue(cJSON_GetObjectItem(got, "client_id"));
    bool known = id && !strcmp(id, "client-1");
    cJSON_DeleteItemFromObject(got, "client_id");
    cJSON *types[] = {cJSON_GetObjectItem(got, "mytype"), cJSON_GetObjectItem(want, "mytype")};
    for (int i = 0; i < 2 && types[0]; i++) {
        cJSON_DeleteItemFromObject(types[i], "nullable");
        cJSON_DeleteItemFromObject(types[i], "nullable_array_struct");
    }
    bool same = cJSON_Compare(got, want, true);
    if (!known || !same) {
        cJSON *error = known ? cJSON_CreateObject() : NULL;
        wrong++;
        if (known) {
            cJSON_AddItemToObject(error, "wants", cJSON_Duplicate(want, true));
            cJSON_AddItemToObject(error, "got", cJSON_Duplicate(got, true));
        }
        varlink_call_error(call,
            known ? "org.varlink.certification.CertificationError"
                  : "org.varlink.certification.ClientIdError",
            error);
    }
    cJSON_Delete(got);
    cJSON_Delete(want);
    return known && same;
}

static void start(struct varlink_call *call, const cJSON *parameters, void *context)
{
    (void)parameters;
    (void)context;
    wrong = 0;
    varlink_call_reply(call, cJSON_Parse("{\"client_id\":\"client-1\"}"));
}

static void answer(struct varlink_call *call, const cJSON *parameters, int number)
{
    if (given(call, parameters, number == 1 ? "{}" : answers[number - 2])) {
        varlink_call_reply(call, cJSON_Parse(answers[number - 1]));
    }
}

#define TEST(number)                                                                           \
    static void test##number(                                                                  \
        struct varlink_call *call, const cJSON *parameters, void *context)                     \
    {                                                                                          \
        (void)context;                                                                         \
        answer(call, parameters, number);                                                      \
    }
TEST(1)
TEST(2)
TEST(3)
TEST(4)
TEST(5)
TEST(6)
TEST(7)
TEST(8)
TEST(9)

static void test10(struct varlink_call *call, const cJSON *parameters, void *context)
{
    (void)context;
    if (!varlink_call_more(call)) {
        wrong++;
        varlink_call_error(call, "org.varlink.service.ExpectedMore", NULL);
        return;
    }
    if (!given(call, parameters, answers[8])) {
        return;
    }
    for (int i = 1; i <= 10; i++) {
        cJSON *reply = cJSON_CreateObject();
        char text[32];
        snprintf(text, sizeof text, "Reply number %d", i);
        cJSON_AddStringToObject(reply, "string", text);
        if (i < 10) {
            varlink_call_continue(call, reply);
        } else {
            varlink_call_reply(call, reply);
        }
    }
}

static void test11(struct varlink_call *call, const cJSON *parameters, void *context)
{
    (void)context;
    if (given(call, parameters,
            "{\"last_more_replies\":[\"Reply number 1\",\"Reply number 2\",\"Reply number 3\","
            "\"Reply number 4\",\"Reply number 5\",\"Reply number 6\",\"Reply number 7\","
            "\"Reply number 8\",\"Reply number 9\",\"Reply number 10\"]}")) {
        varlink_call_reply(call, NULL);
    }
}

static void end(struct varlink_call *call, const cJSON *parameters, void *context)
{
    (void)context;
    if (given(call, parameters, "{}")) {
        varlink_call_reply(
            call, cJSON_Parse(wrong ? "{\"all_ok\":false}" : "{\"all_ok\":true}"));
    }
}

static const struct varlink_method methods[] = {{"Start", start}, {"Test01", test1},
    {"Test02", test2}, {"Test03", test3}, {"Test04", test4}, {"Test05", test5},
    {"Test06", test6}, {"Test07", test7}, {"Test08", test8}, {"Test09", test9},
    {"Test10", test10}, {"Test11", test11}, {"End", end}, {0}};

static void serve(struct varlink_service *service, int listener)
{
    struct varlink_connection *connections[CONNECTIONS] = {0};
    int fds[CONNECTIONS];
    for (;;) {
        struct pollfd items[CONNECTIONS + 1] = {{.fd = listener, .events = POLLIN}};
        for (int i = 0; i < CONNECTIONS; i++) {
            items[i + 1].fd = connections[i] ? fds[i] : -1;
            items[i + 1].events =
                connections[i] ? varlink_connection_events(connections[i]) : 0;
        }
        poll(items, CONNECTIONS + 1, -1);
        for (int i = 0; i < CONNECTIONS; i++) {
            if (connections[i] && items[i + 1].revents &&
                varlink_connection_process(connections[i], items[i + 1].revents)) {
                varlink_connection_destroy(connections[i]);
                connections[i] = NULL;
            }
        }
        for (int i = 0; items[0].revents && i < CONNECTIONS; i++) {
            if (!connections[i] && (fds[i] = unix_accept_same_uid(listener, NULL)) >= 0) {
                connections[i] = varlink_connection_create(service, fds[i]);
            }
        }
    }
}

int main(int argc, char **argv)
{
    struct error err = {0};
    struct varlink_service *service =
        varlink_service_create("Gears", "certification", "1", "https://varlink.org");
    int listener = argc == 2 ? unix_listen(argv[1], SOCK_STREAM, 16, &err) : -1;
    if (!service || listener < 0 ||
        varlink_service_add(service, description, methods, NULL, &err)) {
        fprintf(stderr, "certification-server: %s\n", err.text);
        return 1;
    }
    puts("ready");
    fflush(stdout);
    serve(service, listener);
    return 0;
}
