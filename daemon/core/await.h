/* Running the loop while a new gearsd waits for what it found to say how it is. */
#ifndef CORE_AWAIT_H
#define CORE_AWAIT_H

#include <stdbool.h>
#include <stdint.h>

#include <event2/event.h>

enum { AWAIT_FOUND_MS = 250 }; /* for who was stopped by a signal, and does not answer */

/* Run the loop until `waits` is false, or for `ms` at most. Start-up only: not from within an
 * event. */
void await_while(struct event_base *base, int64_t ms, bool (*waits)(const void *context),
    const void *context);

#endif
