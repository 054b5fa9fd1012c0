/* The inside of openssh.h, shared by the openssh*.c only. */
#ifndef TUNNEL_OPENSSH_PRIVATE_H
#define TUNNEL_OPENSSH_PRIVATE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <event2/event.h>

#include "common/nonce.h"
#include "common/unixsock.h"
#include "daemon/tunnel/openssh.h"
#include "daemon/tunnel/openssh_mux.h"
#include "daemon/tunnel/openssh_words.h"
#include "daemon/tunnel/report.h"
#include "daemon/tunnel/rtt.h"
#include "daemon/tunnel/silence.h"
#include "daemon/tunnel/stream.h"
#include "daemon/tunnel/tunnel.h"

enum { ASKERS_MOST = 4, TARGETS_MOST = 32, REPLIES_MOST = 4 };

/* An askpass process that ssh runs. */
struct asker {
    struct openssh *openssh;
    enum { ASKER_NONE, ASKER_NEW, ASKER_WAITS, ASKER_TOLD, ASKER_NOTICE } state;
    int fd;
    struct event *event;
    bool host_key;
    char *prompt; /* as ssh gave it */
};

/* A socket on the server and the socket of ssh here that leads to it. */
struct target {
    enum { TARGET_FREE, TARGET_ASKED, TARGET_READY } state;
    char path[UNIX_PATH_SIZE], name[16]; /* the name is that of the socket here, */
    char listen[UNIX_PATH_SIZE];         /* which ssh knows by this one */
    uint32_t request;
    int64_t used_ms;
};

/* The one session channel, spoken by us: for a command, and to ask for signs of life, to which
 * a server must say no. */
struct openssh_channel {
    struct mux *mux; /* in proxy mode */
    enum { CHAN_JOINING, CHAN_NONE, CHAN_OPENING, CHAN_OPEN, CHAN_ENDING } state;
    bool opened;                 /* the server has opened one before */
    bool refused;                /* the server opens no session: there is nobody to ask */
    bool wanted;                 /* it is to be opened again, in a moment */
    bool used;                   /* a command was run in it */
    uint32_t id, remote, unread; /* unread: bytes taken that the server's window lacks */
    enum { REPLY_LIFE, REPLY_EXEC } replies[REPLIES_MOST]; /* awaited, in order */
    size_t reply_count;
    struct rtt rtt;
    struct event *leave;  /* a command that has reported ends by itself, or else */
    struct event *reopen; /* not at once: the server must have noticed the close */
    int tries;            /* of opening since the last close */
    int refusals;         /* of all opens */
};

struct openssh_run {
    bool asked; /* somebody waits for the answer */
    bool begun; /* the command was sent, and its end did not come yet */
    uint32_t request;
    char *command;
    int exit; /* −1: not told */
    char signal[32];
    struct report report;
    struct event *timer;
};

struct openssh {
    struct tunnel *tunnel;
    enum openssh_phase { OPENSSH_LOGIN, OPENSSH_JOINING, OPENSSH_UP, OPENSSH_ENDED } phase;
    pid_t pid; /* leads a session and a group of its own; 0: ended and reaped */
    char folder[PATH_MAX];
    int folder_fd, words_fd;
    bool remade; /* the folder: ssh's working directory is the one before */
    struct event *words_event, *child, *appears, *late, *next; /* next: of the questions */
    struct openssh_words words;
    bool human; /* somebody answered, or touched a key */

    int ask_fd;
    struct event *ask_event;
    char ask_nonce[NONCE_TEXT_SIZE], prompt_id[NONCE_TEXT_SIZE];
    struct asker askers[ASKERS_MOST];

    struct mux *forwards;
    bool forwards_ready;
    struct target targets[TARGETS_MOST];
    uint32_t requests, names;

    struct openssh_channel channel;
    struct openssh_run run;

    int clients; /* epoll: both ends of the streams */
    struct event *clients_event, *clients_again;
    struct stream *streams, *last_stream; /* the oldest first */
    size_t stream_count;

    struct silence silence;
};

/* openssh.c */
/* It is over, ssh too. The first counts. */
void openssh_end(struct openssh *openssh, enum link_tunnel_cause cause, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Read what ssh has printed by now. */
void openssh_hear_words(struct openssh *openssh);
/* While logging in: how long until something must have happened. */
void openssh_allow(struct openssh *openssh, int64_t ms);
void openssh_allow_human(struct openssh *openssh);
/* As long as ssh may take for the next server on its way, the last or a jump host: it is
 * connected to and then logged in to, and its verdict on what a human typed may take longer. */
void openssh_allow_rest(struct openssh *openssh);
/* A part of the control socket's connections is ready; up when all are. */
void openssh_joined(struct openssh *openssh);
/* Connect to ssh's control socket: 0 or a negative errno. */
int openssh_join_control(
    struct openssh *openssh, const struct mux_calls *calls, struct mux **mux);
/* Such a connection was closed: it is destroyed. While ssh lives it closes none; of its end
 * on_child tells why. */
void openssh_control_closed(struct openssh *openssh, struct mux **mux, const char *what);
const char *openssh_name(const struct openssh *openssh); /* of the server, for people */

/* openssh_end.c: ssh has ended, with the status of waitpid: tell why. */
void openssh_explain_end(struct openssh *openssh, int status);

/* openssh_folder.c: <link>/x-<cluster>.<6 hex>, with all sockets of ssh and of askpass. */
int openssh_folder_make(struct openssh *openssh, struct error *err);
void openssh_folder_remove(struct openssh *openssh);
/* Make it again if somebody deleted or moved it. 0 or a negative errno. */
int openssh_folder_keep(struct openssh *openssh, struct error *err);
/* The path of a socket in it, short whatever its own is. */
void openssh_folder_path(const struct openssh *openssh, const char *name, char out[64]);

/* openssh_config.c: writes OPENSSH_CONFIG into the folder, which must be new. */
#define OPENSSH_CONFIG "config"
int openssh_config_write(const struct openssh *openssh, struct error *err);

/* openssh_spawn.c */
int openssh_spawn(struct openssh *openssh, struct error *err);

/* openssh_socket.c */
void openssh_sockets_set_up(const struct openssh *openssh);

/* openssh_ask.c */
int openssh_ask_start(struct openssh *openssh, struct error *err);
void openssh_ask_finish(struct openssh *openssh);
/* An event: tell a question that waits, when none is told. */
void openssh_ask_next(evutil_socket_t fd, short what, void *argument);
/* A human is to touch a key, or to do what else ssh says. */
void openssh_ask_notice(struct openssh *openssh, const char *words);

/* openssh_forward.c */
int openssh_forward_start(struct openssh *openssh);
/* The place of a target: READY, or openssh_clients_target_ready / _failed will be called for
 * all that wait for it. NULL: there is none, *err says why. */
struct target *openssh_forward_get(
    struct openssh *openssh, const char *path, struct error *err);
void openssh_forward_forget(struct openssh *openssh, struct target *target);

/* openssh_clients.c */
int openssh_clients_start(struct openssh *openssh);
void openssh_clients_stop(struct openssh *openssh);
/* A refusal that none of them waits for is of one who left. */
void openssh_clients_limit_refused(struct openssh *openssh);
void openssh_clients_target_ready(struct openssh *openssh, struct target *target);
void openssh_clients_target_failed(
    struct openssh *openssh, struct target *target, const char *why);

/* openssh_channel.c */
int openssh_channel_start(struct openssh *openssh);
void openssh_channel_stop(struct openssh *openssh);
int openssh_life_start(struct openssh *openssh); /* asking for signs of life, by need */
void openssh_life_heard(struct openssh *openssh);
/* Begin the command that waits, as soon as a session is there. */
void openssh_channel_want_run(struct openssh *openssh);

/* openssh_run.c */
int openssh_run_prepare(struct openssh *openssh);
void openssh_run_stop(struct openssh *openssh);
void openssh_run_began(struct openssh *openssh, bool taken);
void openssh_run_heard(struct openssh *openssh, const uint8_t *bytes, size_t length);
void openssh_run_ended(struct openssh *openssh);
void openssh_run_no_session(struct openssh *openssh, const char *why, bool busy);

#endif
