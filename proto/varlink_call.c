/* One call: its replies, and what happens when its client leaves. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/varlink_private.h"

bool varlink_call_more(const struct varlink_call *call)
{
    return call->more;
}

bool varlink_call_oneway(const struct varlink_call *call)
{
    return call->oneway;
}

void varlink_call_on_close(
    struct varlink_call *call, void (*closed)(struct varlink_call *, void *), void *context)
{
    call->closed = closed;
    call->closed_context = context;
}

void varlink_call_destroy(struct varlink_call *call)
{
    if (call->connection && call->connection->call == call) {
        call->connection->call = NULL;
    }
    free(call);
}

static void changed(struct varlink_connection *connection)
{
    if (connection->changed && !connection->processing) {
        connection->changed(connection->changed_context);
    }
}

/* Queue one message; takes `parameters`. -ENOBUFS when the reader is too far behind. */
static int queue(
    struct varlink_connection *connection, const char *error, cJSON *parameters, bool continues)
{
    cJSON *message = cJSON_CreateObject();
    if (error) {
        cJSON_AddStringToObject(message, "error", error);
    }
    cJSON_AddItemToObject(
        message, "parameters", parameters ? parameters : cJSON_CreateObject());
    if (continues) {
        cJSON_AddBoolToObject(message, "continues", true);
    }
    char *text = cJSON_PrintUnformatted(message);
    cJSON_Delete(message);
    if (!text) {
        varlink_connection_end(connection);
        return -ENOMEM;
    }
    size_t length = strlen(text) + 1, waiting = connection->out.length - connection->sent;
    int code = waiting + length > VARLINK_QUEUE_LIMIT ? -ENOBUFS : 0;
    if (!code) {
        text_append(&connection->out, text, length);
        if (connection->out.failed) {
            varlink_connection_end(connection);
        }
    }
    free(text);
    return code;
}

static void check_reply(const struct varlink_call *call, const cJSON *parameters)
{
#ifndef NDEBUG
    char parameter[128] = "";
    if (call->registered) {
        cJSON *empty = parameters ? NULL : cJSON_CreateObject();
        int code = idl_check_reply(call->registered->interface, call->method->name,
            parameters ? parameters : empty, parameter, sizeof parameter);
        cJSON_Delete(empty);
        if (code) {
            fprintf(stderr, "reply of %s: parameter %s\n", call->method->name, parameter);
        }
        assert(!code);
    }
#else
    (void)call;
    (void)parameters;
#endif
}

void varlink_add_integer(cJSON *object, const char *key, int64_t value)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%lld", (long long)value);
    cJSON_AddItemToObjectCS(object, key, cJSON_CreateRaw(digits));
}

static int finish(struct varlink_call *call, const char *error, cJSON *parameters)
{
    struct varlink_connection *connection = call->connection;
    int code = 0;
    if (call->oneway) {
        cJSON_Delete(parameters);
    } else {
        code = queue(connection, error, parameters, false);
        if (code) {
            /* It reads nothing: a reply cut off helps nobody. */
            varlink_connection_end(connection);
        }
    }
    varlink_call_destroy(call);
    changed(connection);
    return code;
}

int varlink_call_reply(struct varlink_call *call, cJSON *parameters)
{
    check_reply(call, parameters);
    return finish(call, NULL, parameters);
}

int varlink_call_error(struct varlink_call *call, const char *error, cJSON *parameters)
{
    return finish(call, error, parameters);
}

int varlink_call_continue(struct varlink_call *call, cJSON *parameters)
{
    check_reply(call, parameters);
    if (call->oneway || !call->more) {
        cJSON_Delete(parameters);
        return 0;
    }
    struct varlink_connection *connection = call->connection;
    int code = queue(connection, NULL, parameters, true);
    if (code) {
        char name[160];
        snprintf(name, sizeof name, "%s.SlowReader", idl_name(call->registered->interface));
        cJSON *words = cJSON_CreateObject();
        cJSON_AddStringToObject(
            words, "message", "the reader is too slow; replies were dropped, call again");
        void (*closed)(struct varlink_call *, void *) = call->closed;
        if (closed) {
            closed(call, call->closed_context);
        }
        cJSON *message = cJSON_CreateObject();
        cJSON_AddStringToObject(message, "error", name);
        cJSON_AddItemToObject(message, "parameters", words);
        varlink_connection_put(connection, message);
        varlink_connection_end(connection);
        varlink_call_destroy(call);
    }
    changed(connection);
    return code;
}
