/* Shared by the server's files only. */
#ifndef PROTO_VARLINK_PRIVATE_H
#define PROTO_VARLINK_PRIVATE_H

#include "common/text.h"
#include "proto/varlink_framing.h"
#include "proto/varlink_idl.h"
#include "proto/varlink_service.h"

struct registered {
    struct registered *next;
    struct idl_interface *interface;
    const struct varlink_method *methods;
    void *context;
};

struct varlink_service {
    char *vendor, *product, *version, *url;
    struct registered *interfaces;
};

struct varlink_call {
    struct varlink_connection *connection;
    const struct registered *registered; /* NULL for org.varlink.service */
    const struct varlink_method *method;
    bool more, oneway, upgrade;
    void (*closed)(struct varlink_call *, void *);
    void *closed_context;
};

struct varlink_connection {
    struct varlink_service *service;
    int fd;
    struct varlink_framing in;
    struct text out;
    size_t sent;
    int64_t deadline;
    struct varlink_call *call; /* the one being served */
    bool processing, ending, peer_done;
    void (*changed)(void *);
    void *changed_context;
};

/* Serve the message; may leave connection->call set. -EBADMSG: not a varlink call: end. */
int varlink_serve(struct varlink_connection *connection, char *message, size_t length);
/* Serve nothing more; what is queued may still be read until the deadline. */
void varlink_connection_end(struct varlink_connection *connection);
/* Queue one message whatever the queue holds; the connection ends when there is no memory. */
void varlink_connection_put(struct varlink_connection *connection, cJSON *message);
void varlink_call_destroy(struct varlink_call *call);
extern const char varlink_service_description[];

#endif
