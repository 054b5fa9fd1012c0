/* gearsd's side of gears-relay: keeps one running, tells it the services, reads its counters.
 */
#ifndef SERVICE_RELAY_CLIENT_H
#define SERVICE_RELAY_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

struct manager;
struct service;
struct relay_client;

/* Connect to the relay that runs, or start one. NULL only when out of memory; a relay that
 * cannot be started is logged and tried again with backoff. */
struct relay_client *relay_client_create(struct manager *manager);
/* Tell the service's present state and listeners; called after each change. */
void relay_client_put(struct relay_client *client, struct service *service);
void relay_client_forget(struct relay_client *client, struct service *service);
void relay_client_unlisten_port(
    struct relay_client *client, struct service *service, uint16_t port);
/* Whether a relay that was there before this gearsd has not told all its counters yet. */
bool relay_client_is_settling(const struct relay_client *client);
/* Counters of `service`; zeros when unknown. */
void relay_client_counters(struct relay_client *client, const struct service *service,
    uint64_t *connections, uint64_t *bytes_in, uint64_t *bytes_out);
/* Build of the connected relay, "" when none. */
const char *relay_client_build(const struct relay_client *client);
/* Let the relay drain and start a new one (upgrade), or end it (`replace` false). */
void relay_client_drain(struct relay_client *client, bool replace);

#endif
