/* An act: what a user asks of a service, from the request until its record is durable or
 * refused. Only then does any of it take effect. Shared by act.c, acts.c and store.c. */
#ifndef SERVICE_ACT_H
#define SERVICE_ACT_H

#include "daemon/service/manager.h"

/* What a user has settled for a service, beside whether it runs. */
struct service_terms {
    const struct service_config *config; /* borrowed */
    int enabled;                         /* −1: as configured */
    uint16_t forward_port;               /* 0: none */
};

struct act {
    struct service *service; /* NULL: dropped meanwhile */
    struct act *next;        /* of the service, oldest first */
    bool has_event, has_enabled, has_port;
    enum service_event event;
    int enabled;
    uint16_t port;
    struct service_config *config; /* owned; NULL: as it is */
    bool is_run, applied;
    unsigned stores;    /* of the service, with this act's */
    struct event *slow; /* fires when the record takes long */
    manager_done *done;
    void *context;
};

/* NULL, and `done` called with words, when out of memory or while the service is being removed.
 * The caller fills in what is asked and submits it. */
struct act *act_create(struct service *service, manager_done *done, void *context);
/* Record it, then do it, then call its `done`, now or later. Frees the act. */
void act_submit(struct act *act);
/* Take back what was not submitted: `done` is called with `code` and `err`. */
void act_refuse(struct act *act, int code, const struct error *err);
/* What the next record says: as it is, and as every act under way would have it. */
void act_terms(const struct service *service, struct service_terms *terms);
/* The service goes; acts under way are answered and change nothing. */
void act_forget(struct service *service);
/* Neither runs nor is about to by itself. */
bool service_is_idle(const struct service *service);
/* The relay and gearsd forget it. */
void service_drop(struct service *service);

#endif
