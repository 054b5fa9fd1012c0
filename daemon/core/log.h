/* gearsd's own log: log/<host>/gearsd/, in the format of every service's log. */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include "common/home.h"
#include "daemon/core/worker.h"

/* Lines go to a thread of their own, so that a hung filesystem or syslog stops nobody; while
 * 1000 lines wait, further ones are dropped and counted. Before log_start and after a failure:
 * standard error. */
int log_start(const struct home *home, struct event_base *base);
void log_stop(void);
/* Lower case, subject first, key=value; no secrets; one line. */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same and to syslog (authpriv): start, stop and other acts of a human. */
void log_audit(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
