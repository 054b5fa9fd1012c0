/* A thread that does the blocking work (files on NFS, setup scripts) for gearsd's loop, in
 * order. */
#ifndef CORE_WORKER_H
#define CORE_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include <event2/event.h>

#include "common/error.h"

struct worker;

/* `run` is called on the worker's thread, then `done` on the loop with run's result; both get
 * `context`, which belongs to the job until `done` returns. `done` may be NULL. */
typedef int worker_run(void *context, struct error *err);
typedef void worker_done(void *context, int code, const struct error *err);

/* `name` (at most 15 bytes) is the thread's, for ps and debuggers. With `own_files` its jobs
 * have a descriptor table of their own: what they open is neither seen by the loop nor
 * inherited by the loop's children, whose exec would wait for a hung filesystem to close it.
 * NULL when out of memory or threads. */
struct worker *worker_create(struct event_base *base, const char *name, bool own_files);
/* Queue a job. 0; -EAGAIN when 4096 jobs wait already (a hung filesystem): refuse it. */
int worker_submit(struct worker *worker, worker_run *run, worker_done *done, void *context);
/* Wait at most `timeout_ms` for the queue to empty; jobs left end with the process. */
void worker_drain(struct worker *worker, int64_t timeout_ms);

#endif
