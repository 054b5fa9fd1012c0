/* What gearsd's record of a service, state/<host>/service/<name>.rec, tells a reader of another
 * host with the same home. Written by daemon/service/store.c, the end by the keeper. */
#ifndef COMMON_SERVICE_RECORD_H
#define COMMON_SERVICE_RECORD_H

#include <stdbool.h>

#include "common/home.h"

/* Whether the service of this record (`file`: its name in the folder) is wanted on the host
 * that `there` names, and no end of its incarnation is recorded. With `boot_id`: in that boot
 * of it. Blocking. */
bool service_record_is_wanted(const struct home *there, const char *file, const char *boot_id);

#endif
