/* gears-keeper: the direct parent and subreaper of one service. One thread runs a poll loop; a
 * second writes the log and a third, at the end, the exit record, so that no hung filesystem
 * stops the loop. */
#ifndef KEEPER_KEEPER_H
#define KEEPER_KEEPER_H

#include <limits.h>
#include <pthread.h>
#include <regex.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"
#include "common/link.h"
#include "common/link_door.h"
#include "common/unixsock.h"

enum { LINE_LIMIT = 16384, RING_SIZE = 512 * 1024, STALL_MS = 1000, CLEAR_MS = 3000 };

/* The orders of LINK_KEEPER_START; strings on the heap for the keeper's life. */
struct orders {
    char *service, *nonce, *link_path, *log_dir, *exit_record, *cwd, *ready_log, *notify_path;
    char *kernels_path;
    char **argv, **env, **limits;
    uint64_t log_budget, log_segment, log_total; /* log_total 0: no limit over services */
};

/* One output stream: the line being gathered. */
struct stream {
    int fd;     /* −1: ended */
    char name;  /* o, e */
    char *line; /* LINE_LIMIT bytes */
    size_t length;
    int64_t stamp_us; /* of the line's first byte */
    size_t rest;      /* while draining: bytes still to be read */
};

/* The ring between the loop and the writer: whole formatted lines. All but the descriptor is
 * read and written under the lock. */
struct ring {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    size_t head, used; /* head: next to write out */
    uint64_t written;  /* bytes the writer has finished: progress */
    bool closing, done;
    int event_fd; /* the writer tells the loop: room, rotation, done */
    bool rotated, want_room;
    char bytes[RING_SIZE];
};

/* In the order of an end. DRAINING: the tree is gone, what it printed last is taken. */
enum keeper_phase { PHASE_RUNNING, PHASE_ASKED, PHASE_KILLING, PHASE_DRAINING, PHASE_EMPTY };

/* What the record's thread is given and what it found; while it runs, it alone touches this. */
struct record_job {
    bool last, exited, stop_asked;
    int status;
    int64_t exit_at_us;
    uint64_t dropped;
    char survivors[256];
    char lost[4096]; /* names of the kernels; "" until they are read */
    bool failed;
    char trouble[300]; /* why */
};

/* What is used at all times comes first and fits a page or two; a quiet service's keeper never
 * touches the rest. */
struct keeper {
    struct orders orders;
    struct stream streams[2];
    int signal_fd, controller, notify_fd;
    struct link_door door;
    struct unix_file bound, notify_bound; /* the files of the door and of notify_fd */
    bool paused;                          /* a signal stopped the main process */
    pid_t pid;
    uint64_t start_time;
    int64_t started_at_us, ready_at_us; /* ready_at_us: as gearsd said */
    bool ready, regex_set;
    regex_t regex;

    enum keeper_phase phase;
    int64_t deadline_ms; /* of the phase; 0: none */
    bool stop_asked, exited;
    int status; /* of waitpid, once exited */
    int64_t exit_at_us;

    struct stream *input_of; /* whose bytes were read and wait for room in the ring; or NULL */
    size_t input_at, input_end;
    uint64_t dropped, dropped_told;
    bool stalled, had_data;
    uint64_t progress_seen;
    int64_t progress_ms, stall_told_ms;

    bool record_waits; /* the tree is gone for STALL_MS, the record is not written yet */
    bool record_running, record_durable, gone_told, released;
    int record_event_fd;

    struct ring ring; /* its bytes last */
    char lines[2][LINE_LIMIT];
    char lost[4096]; /* as the record's thread found it */
    char survivors[256];
    char record_trouble[300];
    struct record_job job;
};

/* spawn.c */
/* Copy what `message` orders to the heap; never freed, as it serves the keeper's whole life. 0,
 * or -EINVAL with words when a field is missing. */
int orders_parse(const struct link_message *message, struct orders *orders, struct error *err);
/* Start the program as ordered: keeper->pid and the streams are set. Returns once it runs; else
 * a negative errno with words that say at which step it failed. */
int keeper_spawn(struct keeper *keeper, struct error *err);

/* output.c */
/* The stream is readable: take what is there, as far as the ring has room; or it has ended. */
void output_read(struct keeper *keeper, struct stream *stream);
/* Whether there is room in the ring for what was read, and for more; or it is dropped. False:
 * the writer tells when there is. */
bool output_may_read(struct keeper *keeper);
/* After each round: whether the writer stands or goes again, which gearsd is told. */
void output_check_stall(struct keeper *keeper);
/* The tree is gone: take what is in the pipes now and no more, whoever else holds them. */
void output_drain(struct keeper *keeper);
bool output_drained(struct keeper *keeper); /* ask again whenever something happened */

/* writer.c; the ring's functions take its lock. */
/* Start the thread that writes the ring out; it ends once `closing` is set and all is written.
 * 0, or -EAGAIN: no thread or descriptor is left. */
int writer_start(struct keeper *keeper);
/* Append whole lines. False: there is no room, and nothing was taken. */
bool ring_put(struct ring *ring, const char *line, size_t length);
size_t ring_room(struct ring *ring);  /* bytes */
bool ring_rotated(struct ring *ring); /* since it was asked last */
bool ring_done(struct ring *ring);    /* the writer has ended */

/* record.c */
/* Have a thread write the exit record as things are now; while one runs, its end starts the
 * next that is due. Where no thread can be made it is tried again. */
void record_exit_start(struct keeper *keeper);
void record_exit_read(struct keeper *keeper); /* its thread ended */

/* tree.c */
/* SIGCHLD: bury what has ended. The end of the main process begins the clearing of the tree. */
void tree_reap(struct keeper *keeper);
/* Send `signal` (0: none) to the main process; what is left of the tree after `timeout_ms` is
 * killed. Asked again, the sooner counts. */
void tree_stop(struct keeper *keeper, int signal, int64_t timeout_ms);
void tree_step(struct keeper *keeper); /* a deadline passed or a process ended */

/* control.c */
/* Bind the door at link_path, again if its file was deleted. 0 or a negative errno; `err` may
 * be NULL. */
int control_listen(struct keeper *keeper, struct error *err);
/* Close the door and remove its file, if that is still ours. */
void control_unlisten(struct keeper *keeper);
/* Somebody is at the door: who said HELLO is the controller, and is told the status. */
void control_accept(struct keeper *keeper);
/* The controller's connection is readable: do what it orders, or it is gone. */
void control_read(struct keeper *keeper);
/* Tell the controller, if there is one; one that reads nothing is dropped and asks again. */
void control_tell(struct keeper *keeper, enum link_type type);

#endif
