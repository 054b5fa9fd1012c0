/* What the relay knows of each service. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/relay/relay.h"

struct service *service_find(struct relay *relay, const char *name)
{
    struct service *s = relay->services;
    while (s && strcmp(s->name, name) != 0) {
        s = s->next;
    }
    return s;
}

struct service *service_get(struct relay *relay, const char *name)
{
    struct service *service = service_find(relay, name);
    if (service) {
        return service;
    }
    int slot = 0;
    while (slot < RELAY_SLOTS && relay->slots[slot]) {
        slot++;
    }
    service = slot < RELAY_SLOTS ? calloc(1, sizeof *service) : NULL;
    if (!service) {
        return NULL;
    }
    relay->slots[slot] = true;
    memset(&relay->counters[slot], 0, sizeof relay->counters[slot]);
    service->slot = slot;
    service->relay = relay;
    service->last = &service->connections;
    service->state = LINK_SERVICE_DOWN;
    snprintf(service->name, sizeof service->name, "%s", name);
    service->next = relay->services;
    relay->services = service;
    return service;
}

void service_forget(struct service *service)
{
    struct relay *relay = service->relay;
    listener_close_all(service, true);
    connection_close_all(service);
    for (struct service **at = &relay->services; *at; at = &(*at)->next) {
        if (*at == service) {
            *at = service->next;
            break;
        }
    }
    relay->slots[service->slot] = false;
    free(service);
}
