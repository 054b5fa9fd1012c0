/* The server side of Varlink, free of any event loop: a service knows interfaces and their
 * methods, a connection turns bytes into calls and replies into bytes.
 *
 * Bounds: a message is at most 1 MiB and 32 levels deep and must be complete 10 s after its
 * first byte, else the connection ends with an error that says so; at most 4 MiB wait for a
 * slow reader. Calls of one connection are served in order, one at a time. Nothing is freed
 * inside a call that its owner is making. */
#ifndef PROTO_VARLINK_SERVICE_H
#define PROTO_VARLINK_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "common/error.h"

enum {
    VARLINK_MESSAGE_LIMIT = 1 << 20,
    VARLINK_QUEUE_LIMIT = 4 << 20,
    VARLINK_DEPTH_LIMIT = 32,
    VARLINK_MESSAGE_MS = 10000
};

struct varlink_call;
struct varlink_service;
struct varlink_connection;

/* Tables end with {0}. `parameters` (an object, perhaps NULL) is valid until the method
 * returns, also after its reply; it has been checked against the description. */
struct varlink_method {
    const char *name;
    void (*call)(struct varlink_call *call, const cJSON *parameters, void *context);
};

struct varlink_service *varlink_service_create(
    const char *vendor, const char *product, const char *version, const char *url);
void varlink_service_destroy(struct varlink_service *service);
/* Add an interface by its description. -EINVAL with words when the text is bad, a method is
 * missing in the table or unknown to the description. */
int varlink_service_add(struct varlink_service *service, const char *description,
    const struct varlink_method *methods, void *context, struct error *err);

/* Takes the non-blocking `fd`, also on failure (NULL). */
struct varlink_connection *varlink_connection_create(struct varlink_service *service, int fd);
/* POLLIN, POLLOUT, POLLRDHUP as wanted now. */
short varlink_connection_events(const struct varlink_connection *connection);
/* Read, serve, write. 0: go on; 1: over, destroy it. */
int varlink_connection_process(struct varlink_connection *connection, short revents);
/* Nothing is being said, served or told: ending it loses nothing. */
bool varlink_connection_is_idle(const struct varlink_connection *connection);
/* `changed` is called when the wanted events changed outside of process. */
void varlink_connection_on_change(
    struct varlink_connection *connection, void (*changed)(void *), void *context);
/* Monotonic milliseconds by which the message begun must be complete, or the last replies of an
 * ending connection read. −1: neither. May change wherever events may. */
int64_t varlink_connection_deadline(const struct varlink_connection *connection);
/* Call it when the deadline may have come. 0: go on; 1: over, destroy it. */
int varlink_connection_expire(struct varlink_connection *connection, int64_t now_ms);
/* Tell the peer why and end: nothing more is read, what is queued may still be. */
void varlink_connection_refuse(struct varlink_connection *connection, const char *words);
/* Ends calls under way through their on_close. */
void varlink_connection_destroy(struct varlink_connection *connection);

/* Replies take `parameters` (NULL: none). A call ends with its final reply or error, or with
 * the connection; it must not be touched after that. */
bool varlink_call_more(const struct varlink_call *call);
bool varlink_call_oneway(const struct varlink_call *call); /* replies go nowhere */
int varlink_call_reply(struct varlink_call *call, cJSON *parameters);
int varlink_call_error(struct varlink_call *call, const char *error, cJSON *parameters);
/* One of several replies. 0; -ENOBUFS: the reader is too slow, the call ended with the
 * interface's error SlowReader and the connection ends (on_close has run). */
int varlink_call_continue(struct varlink_call *call, cJSON *parameters);
/* For replies: adds an integer exactly, where cJSON's own doubles end at 2^53, and in a tenth
 * of the time. `key` is not copied. */
void varlink_add_integer(cJSON *object, const char *key, int64_t value);
/* Called once if the connection ends before the final reply. NULL takes it back. */
void varlink_call_on_close(
    struct varlink_call *call, void (*closed)(struct varlink_call *, void *), void *context);

#endif
