/* The control socket: accepts clients, serves org.gears.Manager on gearsd's loop. */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include "daemon/remote/hop.h"
#include "daemon/service/manager.h"

struct control;

enum { CONTROL_BACKLOG = 512 };

/* What main does for the protocol: reload, exec another gearsd, end. `done` is called once,
 * later or now; an upgrade is then checked and follows the reply. */
struct control_calls {
    void (*reload)(void *context, manager_done *done, void *done_context);
    void (*upgrade)(void *context, const char *path, manager_done *done, void *done_context);
    void (*shutdown)(void *context, bool services);
    bool (*holds)(void *context); /* whether this gearsd's lease is still its own */
    void *context;
};

/* Serve `listener` (taken). NULL with words. */
struct control *control_create(struct manager *manager, struct remote *remote, int listener,
    const struct control_calls *calls, struct error *err);
/* Close every connection and the listener's event; the listener's descriptor stays open. */
void control_destroy(struct control *control);

#endif
