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
#include <sys/stat.h>
#include <sys/types.h>

#include "common/error.h"
#include "common/link.h"
#include "common/link_door.h"

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
};

/* The ring between the loop and the writer: whole formatted lines. */
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

enum keeper_phase { PHASE_RUNNING, PHASE_ASKED, PHASE_KILLING, PHASE_EMPTY };

/* What is used at all times comes first and fits a page or two; a quiet service's keeper never
 * touches the rest. */
struct keeper {
    struct orders orders;
    struct stream streams[2];
    int signal_fd, controller, notify_fd;
    struct link_door door;
    struct stat bound; /* the door's file: a successor may put its own in its place */
    bool paused;       /* a signal stopped the main process */
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

    uint64_t dropped, dropped_told;
    bool stalled;
    uint64_t progress_seen;
    int64_t progress_ms, stall_told_ms;

    bool record_waits; /* the tree is gone for STALL_MS, the record is not written yet */
    bool record_running, record_durable, gone_told, released;
    int record_event_fd;

    struct ring ring; /* its bytes last */
    char lines[2][LINE_LIMIT];
    char lost[4096];
    char survivors[256];
    char record_trouble[300];
};

/* spawn.c */
int orders_parse(const struct link_message *message, struct orders *orders, struct error *err);
int keeper_spawn(struct keeper *keeper, struct error *err);
/* output.c */
void output_read(struct keeper *keeper, struct stream *stream);
bool output_may_read(struct keeper *keeper); /* room in the ring, or dropping */
void output_note(struct keeper *keeper, const char *text);
void output_check_stall(struct keeper *keeper);
void output_end(struct keeper *keeper); /* partial lines out */
/* writer.c */
int writer_start(struct keeper *keeper);
bool ring_put(struct ring *ring, const char *line, size_t length);
/* record.c */
void record_exit_start(struct keeper *keeper);
/* tree.c */
void tree_reap(struct keeper *keeper);
void tree_stop(struct keeper *keeper, int signal, int64_t timeout_ms);
void tree_step(struct keeper *keeper); /* a deadline passed or a process ended */
/* control.c */
int control_listen(struct keeper *keeper, struct error *err); /* again: the file was deleted */
void control_unlisten(struct keeper *keeper);
void control_accept(struct keeper *keeper); /* somebody is at the door */
void control_read(struct keeper *keeper);
void control_tell(struct keeper *keeper, enum link_type type);
void control_drop(struct keeper *keeper);

#endif
