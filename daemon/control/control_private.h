/* Shared by the files of the control layer only. */
#ifndef CONTROL_CONTROL_PRIVATE_H
#define CONTROL_CONTROL_PRIVATE_H

#include <cjson/cJSON.h>

#include "daemon/control/control.h"
#include "proto/varlink_service.h"

enum { CONNECTIONS_LIMIT = 256 };

struct client {
    struct control *control;
    struct client *next;
    struct varlink_connection *connection;
    struct event *event;
    int fd;
    int64_t used_ms; /* when it last said or was told something */
};

struct control {
    struct manager *manager;
    struct remote *remote;
    struct control_calls calls;
    struct varlink_service *service;
    struct event *accept_event;
    int listener, reserve; /* reserve: a spare descriptor for EMFILE */
    int folder_watch;      /* inotify of run/<host>, for a deleted socket file */
    struct event *folder_event;
    struct client *clients;
    size_t client_count, client_limit;
    int64_t refused, crowd_told_ms;
};

/* One Service object; `usage` adds memory and CPU. Owned by the caller. */
cJSON *view_service(struct manager *manager, struct service *service, bool usage);
/* A string, unless it is NULL or empty; `key` is not copied. */
void view_add_text(cJSON *object, const char *key, const char *value);
/* One Tunnel object, one Prompt object; owned by the caller. */
cJSON *view_tunnel(struct hop *hop);
cJSON *view_prompt(const struct hop_prompt *prompt);
/* "tunnels": the hops that are wanted or have something to tell. */
void add_tunnels(struct control *control, cJSON *object);
cJSON *view_event(struct manager *manager, const struct manager_event *event);

/* A call that waits for an act: create it (or reply and NULL), set what it answers, and give it
 * with pending_done to the act; pending_drop when the act was not begun. */
struct pending {
    struct control *control;
    struct varlink_call *call; /* NULL: the client left */
    char name[NAME_TEXT_SIZE]; /* of the service; "" for gearsd's own acts */
    bool wait, plain;          /* wait for `goal`; an empty reply */
    bool gone;                 /* the service is no more when the act is done */
    enum service_state goal;
    int64_t timeout_ms; /* −1: the service's start_timeout */
    int port;           /* reply with it; −1: with 0, it was closed; 0: no such reply */
};
struct pending *pending_create(struct control *control, struct varlink_call *call,
    const char *name, const cJSON *parameters);
void pending_done(void *pending, int code, const struct error *err);
void pending_drop(struct pending *pending);

/* Replies that several methods share; each ends the call. */
void reply_service(struct control *control, struct varlink_call *call, struct service *service);
void reply_refused(struct varlink_call *call, const char *message);
void reply_no_such(struct control *control, struct varlink_call *call, const char *name);
void reply_failed(struct varlink_call *call, const char *name, const char *message);
/* Find the service that the parameters name, or reply. */
struct service *call_service(
    struct control *control, struct varlink_call *call, const cJSON *parameters);
const char *call_string(const cJSON *parameters, const char *key); /* NULL when absent */
int64_t call_integer(const cJSON *parameters, const char *key, int64_t fallback);
bool call_bool(const cJSON *parameters, const char *key);

/* Reply when `service` reaches `goal` (or fails, or the deadline passes); with `progress`, one
 * reply at each change before. */
void wait_for_state(struct control *control, struct varlink_call *call, struct service *service,
    enum service_state goal, int64_t timeout_ms, bool progress);

/* rebind.c: bind the control socket again when its file is deleted and the lease is ours. */
void rebind_start(struct control *control);
void rebind_stop(struct control *control);

/* Whether 127.0.0.1:`port` can be bound now. */
bool forward_port_probe(int port);

/* The methods of org.gears.Manager, in methods_*.c, logs.c and streams.c. */
void method_hello(struct varlink_call *call, const cJSON *parameters, void *context);
void method_status(struct varlink_call *call, const cJSON *parameters, void *context);
void method_start(struct varlink_call *call, const cJSON *parameters, void *context);
void method_stop(struct varlink_call *call, const cJSON *parameters, void *context);
void method_restart(struct varlink_call *call, const cJSON *parameters, void *context);
void method_enable(struct varlink_call *call, const cJSON *parameters, void *context);
void method_disable(struct varlink_call *call, const cJSON *parameters, void *context);
void method_signal(struct varlink_call *call, const cJSON *parameters, void *context);
void method_reset_failed(struct varlink_call *call, const cJSON *parameters, void *context);
void method_run(struct varlink_call *call, const cJSON *parameters, void *context);
void method_remove(struct varlink_call *call, const cJSON *parameters, void *context);
void method_wait(struct varlink_call *call, const cJSON *parameters, void *context);
void method_logs(struct varlink_call *call, const cJSON *parameters, void *context);
void method_events(struct varlink_call *call, const cJSON *parameters, void *context);
void method_url(struct varlink_call *call, const cJSON *parameters, void *context);
void method_forward(struct varlink_call *call, const cJSON *parameters, void *context);
void method_login(struct varlink_call *call, const cJSON *parameters, void *context);
void method_answer_prompt(struct varlink_call *call, const cJSON *parameters, void *context);
void method_logout(struct varlink_call *call, const cJSON *parameters, void *context);
void method_takeover(struct varlink_call *call, const cJSON *parameters, void *context);
void method_cluster(struct varlink_call *call, const cJSON *parameters, void *context);
void method_config_check(struct varlink_call *call, const cJSON *parameters, void *context);
void method_config_show(struct varlink_call *call, const cJSON *parameters, void *context);
void method_reload(struct varlink_call *call, const cJSON *parameters, void *context);
void method_upgrade(struct varlink_call *call, const cJSON *parameters, void *context);
void method_shutdown(struct varlink_call *call, const cJSON *parameters, void *context);
extern const struct varlink_method control_methods[];

#endif
