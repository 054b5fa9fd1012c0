/* Services of this home that another host holds: what its records say. Only that host can tell
 * whether they still run, so nothing here presumes them dead. */
#ifndef CLIENT_ELSEWHERE_H
#define CLIENT_ELSEWHERE_H

#include <cjson/cJSON.h>

#include "common/home.h"

struct elsewhere; /* heap */

/* Begin to look for service `name` (NULL: for all), beside whatever else the caller does: the
 * records lie on a shared home that may hang. NULL when there is no process to do it. */
struct elsewhere *elsewhere_begin(const struct home *home, const char *name);
/* End it: waits a little for what is not known yet, then says one line for each host that holds
 * something, or fills `list` with {name, host} when it is not NULL. Takes `elsewhere`. How many
 * services were found. */
int elsewhere_finish(struct elsewhere *elsewhere, cJSON *list);
/* What `host` holds was said already. NULL is allowed. */
void elsewhere_skip(struct elsewhere *elsewhere, const char *host);
/* End it without a word. NULL is allowed. */
void elsewhere_drop(struct elsewhere *elsewhere);
/* Both at once: a line if another host holds `name`. */
int elsewhere_say(const struct home *home, const char *name);

#endif
