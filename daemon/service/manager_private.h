/* Between the files of this folder: what carries out the acts of manager.h. All on the loop but
 * for what is called blocking. */
#ifndef SERVICE_MANAGER_PRIVATE_H
#define SERVICE_MANAGER_PRIVATE_H

#include "daemon/service/manager.h"

/* manager.c: one more service, idle. Takes `config`. NULL when out of memory or when there are
 * SERVICES_LIMIT already. */
struct service *manager_add(struct manager *manager, struct service_config *config);
/* Forget it: who waits for its acts is answered, the service is freed. */
void manager_drop(struct manager *manager, struct service *service);

/* store.c: write what is wanted of the service, as it is now, to its record. `done` (NULL:
 * nobody) is called once: later from the loop, or at once where it could not be asked for. */
void store_submit(struct service *service, manager_done *done, void *context);
/* What an earlier gearsd recorded; what cannot be read is logged and left. Blocking. */
void store_load_all(struct manager *manager);

/* adopt.c: attach to the keepers that listen in run/<host>/link, and settle what nobody answers
 * for. Blocking. */
void adopt_all(struct manager *manager);
/* Attach to the keeper that listens at `path`; false when none does. */
bool adopt_keeper(struct manager *manager, const char *name, const char *path);
/* Launch what is wanted and was never launched: the wish is on disk already. */
void adopt_launch(struct service *service);

/* exit.c: what the keeper of the incarnation `nonce` wrote when it ended; EXIT_NONE when
 * nothing is there or it tells of another incarnation. True when the record says that the whole
 * tree is gone. Blocking. */
bool exit_load(
    const struct home *home, const char *name, const char *nonce, struct service_exit *end);

enum bury_how {
    BURY_ADOPT, /* a former gearsd's: perhaps it never ran */
    BURY_LOST,  /* its keeper closed the connection: it died, or dropped a gearsd that stood */
    BURY_KILL,  /* its keeper takes no orders: kill it with all it started */
};
/* bury.c: nobody answers for the incarnation. Unless it is to be killed its keeper is sought,
 * for as long as it lives; else what is left is cleared and how it ended is learnt. */
void bury(struct service *service, enum bury_how how);

/* instance_start.c: begin a new incarnation: prepare, record the intent, spawn. */
void instance_launch(struct service *service);
/* A start did not come about: retried by the policy when the host lacked something for a
 * moment. */
void instance_fail(struct service *service, int code, const char *words);

/* instance_stop.c: have it end, by its kind's own way first. Nothing while it is launching, has
 * no keeper or was told already. */
void instance_kill(struct service *service);

/* instance.c: its keeper remembers since when it is ready. */
void instance_ready(struct service *service);
/* `fd` is a connection to its keeper; taken. False when out of memory. */
bool instance_attach(struct service *service, int fd);
/* The keeper that listens at `path` tells everything again; false when it cannot be reached. */
bool instance_reconnect(struct service *service, const char *path);
/* Drop probe, timer and the connection to its keeper. */
void instance_forget(struct service *service);

/* health.c: after the spawn or the adoption, find out when it is ready. */
void health_watch_start(struct service *service);
/* Something happened at its socket's place. */
void health_socket_changed(struct service *service);
/* Its keeper heard READY=1, or a line of output matched. */
void health_program_ready(struct service *service);
/* What status says; `message` may be NULL. Watchers are told of a change. */
void health_set(struct service *service, const char *layer, bool ok, const char *message);
/* service->timer calls `call` with the service in `ms`, in the place of what it was for. */
void service_timer(struct service *service, int64_t ms, event_callback_fn call);

/* activity.c: "last_activity" of a JSON answer, UTC in microseconds; 0: none. */
int64_t activity_parse(const char *body);

#endif
