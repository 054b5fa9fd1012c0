/* The certification's methods as one table: what a step must be given and what it answers. A
 * client that leaves the order or sends anything else learns what was wanted, and End tells it
 * the sum. */
#include "tests/proto/certification.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLIENTS = 64, STEPS = 11 };

/* How a step must be called. */
enum manner { ONCE, MORE, ONEWAY };

struct step {
    const char *wants, *gives;
    enum manner manner;
};

#define FOUR                                                                                   \
    "\"bool\":false,\"int\":2,\"float\":3.141592653589793,\"string\":\"a lot of string\""
#define MAP "{\"foo\":\"Foo\",\"bar\":\"Bar\"}"
#define SET "{\"one\":{},\"two\":{},\"three\":{}}"
#define TEN                                                                                    \
    "\"Reply number 1\",\"Reply number 2\",\"Reply number 3\",\"Reply number 4\","             \
    "\"Reply number 5\",\"Reply number 6\",\"Reply number 7\",\"Reply number 8\","             \
    "\"Reply number 9\",\"Reply number 10\""
#define MYTYPE                                                                                 \
    "{\"object\":{\"method\":\"org.varlink.certification.Test09\","                            \
    "\"parameters\":{\"map\":" MAP "}},"                                                       \
    "\"enum\":\"two\",\"struct\":{\"first\":1,\"second\":\"2\"},"                              \
    "\"array\":[\"one\",\"two\",\"three\"],\"dictionary\":" MAP ",\"stringset\":" SET ","      \
    "\"interface\":{\"foo\":[null,{\"Foo\":\"foo\",\"Bar\":\"bar\"},null,"                     \
    "{\"one\":\"foo\",\"two\":\"bar\"}],\"anon\":{\"foo\":true,\"bar\":false}}}"

/* Test01 … Test11 */
static const struct step steps[STEPS] = {{"{}", "{\"bool\":true}", ONCE},
    {"{\"bool\":true}", "{\"int\":1}", ONCE}, {"{\"int\":1}", "{\"float\":1.0}", ONCE},
    {"{\"float\":1.0}", "{\"string\":\"ping\"}", ONCE},
    {"{\"string\":\"ping\"}", "{" FOUR "}", ONCE},
    {"{" FOUR "}", "{\"struct\":{" FOUR "}}", ONCE},
    {"{\"struct\":{" FOUR "}}", "{\"map\":" MAP "}", ONCE},
    {"{\"map\":" MAP "}", "{\"set\":" SET "}", ONCE},
    {"{\"set\":" SET "}", "{\"mytype\":" MYTYPE "}", ONCE},
    {"{\"mytype\":" MYTYPE "}", "[" TEN "]", MORE},
    {"{\"last_more_replies\":[" TEN "]}", "{}", ONEWAY}};

/* done: steps passed in order; −1: one failed. */
static struct {
    char id[32];
    int done;
} clients[CLIENTS];
static unsigned started;

static int find_client(const cJSON *parameters)
{
    const char *id =
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(parameters, "client_id"));
    for (int i = 0; id && i < CLIENTS; i++) {
        if (clients[i].id[0] && !strcmp(clients[i].id, id)) {
            return i;
        }
    }
    return -1;
}

/* An absent nullable field and a null one mean the same. */
static void strip_nulls(cJSON *value)
{
    for (cJSON *item = value->child, *next; item; item = next) {
        next = item->next;
        if (cJSON_IsNull(item) && cJSON_IsObject(value)) {
            cJSON_Delete(cJSON_DetachItemViaPointer(value, item));
        } else {
            strip_nulls(item);
        }
    }
}

static void reply_ten(struct varlink_call *call, const cJSON *texts)
{
    for (const cJSON *text = texts->child; text; text = text->next) {
        cJSON *reply = cJSON_CreateObject();
        cJSON_AddStringToObject(reply, "string", text->valuestring);
        if (!text->next) {
            varlink_call_reply(call, reply);
        } else if (varlink_call_continue(call, reply)) {
            return;
        }
    }
}

static void serve_step(struct varlink_call *call, const cJSON *parameters, int index)
{
    const struct step *step = &steps[index];
    int client = find_client(parameters);
    if (client < 0) {
        varlink_call_error(call, "org.varlink.certification.ClientIdError", NULL);
        return;
    }
    cJSON *wants = cJSON_Parse(step->wants), *got = cJSON_Duplicate(parameters, true);
    cJSON_DeleteItemFromObjectCaseSensitive(got, "client_id");
    strip_nulls(got);
    enum manner manner = varlink_call_more(call)     ? MORE
                         : varlink_call_oneway(call) ? ONEWAY
                                                     : ONCE;
    bool fits = clients[client].done == index && manner == step->manner &&
                cJSON_Compare(wants, got, true);
    clients[client].done = fits ? index + 1 : -1;
    if (!fits) {
        cJSON *words = cJSON_CreateObject();
        cJSON_AddItemToObject(words, "wants", wants);
        cJSON_AddItemToObject(words, "got", got);
        varlink_call_error(call, "org.varlink.certification.CertificationError", words);
        return;
    }
    cJSON_Delete(wants);
    cJSON_Delete(got);
    cJSON *gives = cJSON_Parse(step->gives);
    if (step->manner == MORE) {
        reply_ten(call, gives);
        cJSON_Delete(gives);
    } else {
        varlink_call_reply(call, gives);
    }
}

static void start(struct varlink_call *call, const cJSON *parameters, void *context)
{
    (void)parameters;
    (void)context;
    unsigned slot = started++ % CLIENTS; /* the oldest gives way */
    snprintf(clients[slot].id, sizeof clients[slot].id, "client-%u", started);
    clients[slot].done = 0;
    cJSON *reply = cJSON_CreateObject();
    cJSON_AddStringToObject(reply, "client_id", clients[slot].id);
    varlink_call_reply(call, reply);
}

static void end(struct varlink_call *call, const cJSON *parameters, void *context)
{
    (void)context;
    int client = find_client(parameters);
    if (client < 0) {
        varlink_call_error(call, "org.varlink.certification.ClientIdError", NULL);
        return;
    }
    clients[client].id[0] = 0;
    cJSON *reply = cJSON_CreateObject();
    cJSON_AddBoolToObject(reply, "all_ok", clients[client].done == STEPS);
    varlink_call_reply(call, reply);
}

#define STEP(number)                                                                           \
    static void test##number(                                                                  \
        struct varlink_call *call, const cJSON *parameters, void *context)                     \
    {                                                                                          \
        (void)context;                                                                         \
        serve_step(call, parameters, 1##number - 101);                                         \
    }
STEP(01)
STEP(02)
STEP(03)
STEP(04)
STEP(05)
STEP(06)
STEP(07)
STEP(08)
STEP(09)
STEP(10)
STEP(11)

static const struct varlink_method methods[] = {{"Start", start}, {"Test01", test01},
    {"Test02", test02}, {"Test03", test03}, {"Test04", test04}, {"Test05", test05},
    {"Test06", test06}, {"Test07", test07}, {"Test08", test08}, {"Test09", test09},
    {"Test10", test10}, {"Test11", test11}, {"End", end}, {0}};

struct varlink_service *certification_create(void)
{
    struct error err = {""};
    struct varlink_service *service =
        varlink_service_create("Gears", "certification", "1", "https://varlink.org");
    if (service &&
        varlink_service_add(service, varlink_certification_interface, methods, NULL, &err)) {
        fprintf(stderr, "certification: %s\n", err.text);
        varlink_service_destroy(service);
        return NULL;
    }
    return service;
}
