/* Numbers of the internal protocol. Additive only: never renumber, never reuse. What each
 * message carries stands beside it; "→" is gearsd to helper, "←" the reverse. */
#ifndef COMMON_LINK_MESSAGES_H
#define COMMON_LINK_MESSAGES_H

/* SERVICE as the relay has it: "SERVICE@CLUSTER", each at most 32 bytes, and room. */
enum { RELAY_NAME_SIZE = 72 };

enum link_type {
    LINK_UNSUPPORTED = 1, /* either way, answers an unknown type: TYPE */
    LINK_HELLO = 2,       /* → asks who it is */
    LINK_ERROR = 3,       /* ← ERRNO, TEXT: the request was refused */

    /* Keeper. gearsd hands a socketpair as descriptor 3 and sends one START; later gearsds
     * connect to LINK_PATH and say HELLO. Who said it last is the controller; the one before is
     * closed. */
    LINK_KEEPER_START = 16,   /* → SERVICE NONCE LINK_PATH LOG_DIR LOG_BUDGET LOG_SEGMENT
                                   LOG_TOTAL?
                                   EXIT_RECORD ARG… ENV… CWD? RLIMIT… READY_LOG? NOTIFY_PATH?
                                   KERNELS_PATH? */
    LINK_KEEPER_STARTED = 17, /* ← as STATUS */
    LINK_KEEPER_FAILED = 18,  /* ← ERRNO TEXT: could not spawn; the keeper then exits */
    LINK_KEEPER_STATUS = 19, /* ← answers HELLO: SERVICE NONCE BUILD KEEPER_PID PID START_TIME
                                  STARTED_AT KEEPER_STATE READY PAUSED READY_AT LOG_DROPPED
                                LOG_STALLED and, when exited, EXIT_CODE|EXIT_SIGNAL EXIT_AT */
    LINK_KEEPER_SIGNAL = 20, /* → SIGNAL to the main process */
    LINK_KEEPER_STOP = 21, /* → SIGNAL TIMEOUT_MS: signal, wait, KILL, until the tree is gone;
                                again with other values while stopping: the sooner counts */
    LINK_KEEPER_EXITED = 22, /* ← the main process ended: EXIT_CODE|EXIT_SIGNAL EXIT_AT
                                  LOG_DROPPED; the keeper goes on clearing the tree */
    LINK_KEEPER_GONE = 23, /* ← the whole tree is gone and the exit is on disk (or TEXT says why
                                not): as EXITED, SURVIVORS? (names what even KILL left) */
    LINK_KEEPER_RELEASE = 24, /* → after GONE: the keeper may exit; it also does so by itself
                                 when nobody is connected and the exit record is on disk */
    LINK_KEEPER_READY = 25,   /* ← the program said READY=1 or a line matched READY_LOG */
    /* ← LOG_STALLED (0|1) LOG_DROPPED: the log's writer stands or goes */
    LINK_KEEPER_LOG_STALL = 26,
    LINK_KEEPER_LOG_ROTATED = 27, /* ← a segment was closed; total budgets may be enforced */
    /* ← PAUSED (0|1): a signal stopped the main process, or it goes on */
    LINK_KEEPER_PAUSED = 28,
    LINK_KEEPER_SINCE = 29, /* → READY_AT: kept, and told to later gearsds */

    /* Relay. Same start: descriptor 3, RELAY_START; later gearsds say HELLO at LINK_PATH. */
    LINK_RELAY_START = 48, /* → RUN_DIR LINK_PATH NONCE BUILD */
    LINK_RELAY_STATUS = 49, /* ← answers HELLO and START: NONCE BUILD PID DRAINING FEEDS; beside
                               it one descriptor: the counters' memory (relay_counters.h) */
    /* → create or change: SERVICE, TARGET_PATH|TARGET_PORT, SERVICE_STATE, TEXT? (cause) SINCE
       COMMAND? (what helps) WAIT_MS; ← OK SLOT SERVICE */
    LINK_RELAY_SERVICE = 50,
    LINK_RELAY_FORGET = 51, /* → SERVICE: drop it, its listeners and connections; ← OK */
    LINK_RELAY_LISTEN = 52, /* → SERVICE LISTEN_PATH | LISTEN_PORT (0..65535; loopback, 0 = any)
                                 ; ← OK PORT?, or ERROR. Again for what is there: OK */
    LINK_RELAY_UNLISTEN = 53, /* → SERVICE LISTEN_PATH | LISTEN_PORT; ← OK */
    LINK_RELAY_DRAIN = 54, /* → close all listeners, serve what is connected, then exit; ← OK */
    LINK_RELAY_OK = 55,      /* ← */
    LINK_RELAY_TROUBLE = 56, /* ← SERVICE ERRNO TEXT: a connect to the service failed */
    LINK_RELAY_REBOUND = 57, /* ← SERVICE LISTEN_PATH: the socket file had been deleted */
    LINK_RELAY_LOG = 58,     /* ← TEXT: one line for gearsd's log */
    LINK_RELAY_DEMAND = 59,  /* ← SERVICE: a connection waits for the service to be ready */
    /* LINK_RELAY_SERVICE with FEED_PATH: clients are not connected to TARGET_PATH but handed,
     * one TUNNEL_OPEN each, to the tunnel that listens at FEED_PATH. */

    /* Tunnel. Same start: descriptor 3, one TUNNEL_START; later gearsds say HELLO at LINK_PATH.
     * It is one SSH connection: it logs in, serves, ends with it, and never connects again. */
    LINK_TUNNEL_START = 80, /* → CLUSTER NONCE BUILD LINK_PATH FEED_PATH EXIT_RECORD TRANSPORT
                                 UNATTENDED STEP_MS KEEPALIVE_MS KEEPALIVE_COUNT DEAD_AFTER_MS
                                 SSH_HOP… (first jump host first, the server itself last) */
    LINK_TUNNEL_STATUS = 81, /* ← answers HELLO and START: as STATE, and NONCE BUILD PID
                                CLUSTER; beside it one descriptor: one struct relay_counters */
    LINK_TUNNEL_STATE = 82,  /* ← at each change: TUNNEL_STATE CAUSE TEXT SINCE HUMAN
                                  AUTHENTICATED_AT? ADDRESS? RTT_US? AUTH_METHOD? */
    LINK_TUNNEL_PROMPT = 83, /* ← PROMPT_ID NAME INSTRUCTION and, in order, PROMPT_TEXT
                                  PROMPT_ECHO pairs; text is the server's own, made visible.
                                Told again to a new controller while it waits */
    LINK_TUNNEL_ANSWER = 84, /* → PROMPT_ID ANSWER…; ← OK or ERROR (no such prompt any more) */
    LINK_TUNNEL_CLOSE = 85, /* → end the connection, or the login under way, and exit;
                                 CAUSE TEXT: what the end is to be recorded as */
    LINK_TUNNEL_RUN = 86, /* → COMMAND TIMEOUT_MS: run it in the one session channel; one at a
                               time. ← RAN */
    LINK_TUNNEL_RAN = 87, /* ← REPORT (what stood behind the magic word), or ERRNO TEXT (what
                               it printed last) EXIT_CODE? */
    LINK_TUNNEL_PROBE = 88, /* → ask the server for a sign of life now; a STATE follows */
    LINK_TUNNEL_OPEN = 89,  /* at FEED_PATH: TARGET_PATH SERVICE and one descriptor, a client's:
                                 bytes go to and from that socket of the server */
    LINK_TUNNEL_TROUBLE = 90, /* ← TARGET_PATH ERRNO TEXT: the server did not open a channel */
    LINK_TUNNEL_LOG = 91, /* ← TEXT: one line for gearsd's log; never what a human typed */
    LINK_TUNNEL_OK = 92,  /* ← */
};

enum link_tag {
    LINK_TAG_TYPE = 1,
    LINK_TAG_ERRNO = 2, /* positive errno, u64 */
    LINK_TAG_TEXT = 3,
    LINK_TAG_SERVICE = 4,
    LINK_TAG_NONCE = 5,
    LINK_TAG_BUILD = 6,
    LINK_TAG_PID = 7,
    LINK_TAG_KEEPER_PID = 8,
    LINK_TAG_START_TIME = 9,  /* of PID, clock ticks after boot */
    LINK_TAG_STARTED_AT = 10, /* UTC microseconds */
    LINK_TAG_LINK_PATH = 11,
    LINK_TAG_LOG_DIR = 12,
    LINK_TAG_LOG_BUDGET = 13,  /* bytes for the service's segments together */
    LINK_TAG_LOG_SEGMENT = 14, /* bytes of one segment */
    LINK_TAG_EXIT_RECORD = 15, /* path */
    LINK_TAG_ARG = 16,         /* argv, in order */
    LINK_TAG_ENV = 17,         /* KEY=value, the whole environment */
    LINK_TAG_CWD = 18,
    LINK_TAG_RLIMIT = 19,    /* "NUMBER SOFT HARD", decimal, RLIMIT_* number; "-" = unlimited */
    LINK_TAG_READY_LOG = 20, /* POSIX extended regular expression over one output line */
    LINK_TAG_NOTIFY_PATH = 21,  /* bind a datagram socket here and export NOTIFY_SOCKET */
    LINK_TAG_KEEPER_STATE = 22, /* enum link_keeper_state */
    LINK_TAG_READY = 23,
    LINK_TAG_LOG_DROPPED = 24, /* bytes of output lost since the start */
    LINK_TAG_LOG_STALLED = 25,
    LINK_TAG_EXIT_CODE = 26,
    LINK_TAG_EXIT_SIGNAL = 27,
    LINK_TAG_EXIT_AT = 28, /* UTC microseconds */
    LINK_TAG_SIGNAL = 29,
    LINK_TAG_TIMEOUT_MS = 30,
    LINK_TAG_SURVIVORS = 31,
    LINK_TAG_KERNELS_PATH = 32, /* file whose text (≤ 4 KiB) is copied into the exit record as
                                   "lost" when the main process ends: names of live kernels */
    LINK_TAG_LOST = 33,
    LINK_TAG_LOG_TOTAL = 34, /* bytes for the segments of all services of the host together */
    LINK_TAG_PAUSED = 35,
    LINK_TAG_READY_AT = 36, /* UTC microseconds; 0: not yet */

    LINK_TAG_RUN_DIR = 64,
    LINK_TAG_DRAINING = 65,
    LINK_TAG_TARGET_PATH = 66,
    LINK_TAG_TARGET_PORT = 67,
    LINK_TAG_SERVICE_STATE = 68, /* enum link_service_state */
    LINK_TAG_SINCE = 69,         /* UTC microseconds */
    LINK_TAG_COMMAND = 70,
    LINK_TAG_WAIT_MS = 71,
    LINK_TAG_LISTEN_PATH = 72,
    LINK_TAG_LISTEN_PORT = 73,
    LINK_TAG_PORT = 74,
    LINK_TAG_SLOT = 75,  /* index into the counters' memory */
    LINK_TAG_FEEDS = 76, /* 1: this build knows FEED_PATH; absent: it does not */

    LINK_TAG_FEED_PATH = 96,
    LINK_TAG_CLUSTER = 97,
    LINK_TAG_TRANSPORT = 98,  /* "libssh2" or "openssh" */
    LINK_TAG_UNATTENDED = 99, /* 1: nobody is there to answer; keys without a human only */
    LINK_TAG_STEP_MS = 100,   /* bound of each step of connecting, but for a human's answer */
    LINK_TAG_KEEPALIVE_MS = 101,
    LINK_TAG_KEEPALIVE_COUNT = 102,
    LINK_TAG_DEAD_AFTER_MS = 103,    /* of silence while degraded; 0: never */
    LINK_TAG_SSH_HOP = 104,          /* a record, see common/ssh_hop.h */
    LINK_TAG_TUNNEL_STATE = 105,     /* enum link_tunnel_state */
    LINK_TAG_CAUSE = 106,            /* enum link_tunnel_cause */
    LINK_TAG_HUMAN = 107,            /* 1: this login needed a human's answer */
    LINK_TAG_AUTHENTICATED_AT = 108, /* UTC microseconds */
    LINK_TAG_ADDRESS = 109,          /* of the last server, as connected to: "10.0.0.3" */
    LINK_TAG_RTT_US = 110,
    LINK_TAG_AUTH_METHOD = 111, /* "publickey", "keyboard-interactive", "password", "none" */
    LINK_TAG_PROMPT_ID = 112,
    LINK_TAG_NAME = 113,
    LINK_TAG_INSTRUCTION = 114,
    LINK_TAG_PROMPT_TEXT = 115,
    LINK_TAG_PROMPT_ECHO = 116,
    LINK_TAG_ANSWER = 117,
    LINK_TAG_REPORT = 118,
};

enum link_keeper_state {
    LINK_KEEPER_RUNNING = 1,
    /* told to stop, or the main process ended and the tree is cleared */
    LINK_KEEPER_STOPPING = 2,
    LINK_KEEPER_EMPTY = 3, /* the tree is gone */
};

enum link_tunnel_state {
    LINK_TUNNEL_CONNECTING = 1,
    LINK_TUNNEL_PROMPTING = 2, /* a human is asked */
    LINK_TUNNEL_UP = 3,
    LINK_TUNNEL_DEGRADED = 4, /* silent, but not given up */
    LINK_TUNNEL_DOWN = 5,     /* the end: the process exits */
};

/* Why it is not up. */
enum link_tunnel_cause {
    LINK_CAUSE_NONE = 0,
    LINK_CAUSE_NETWORK_DOWN = 1, /* no route, no answer, connection lost */
    LINK_CAUSE_REFUSED = 2,      /* the server, or its host, refuses connections */
    LINK_CAUSE_NO_COMMON_ALGORITHM = 3,
    LINK_CAUSE_HOST_KEY_CHANGED = 4, /* or revoked */
    LINK_CAUSE_HOST_KEY_UNKNOWN = 5,
    LINK_CAUSE_AUTH_NEEDED = 6, /* a human must answer, and none is there */
    LINK_CAUSE_AUTH_FAILED = 7,
    LINK_CAUSE_POLICY = 8,    /* the site's age limit */
    LINK_CAUSE_CANCELLED = 9, /* by whoever started it */
    LINK_CAUSE_FAILED = 10,   /* anything else; the text says what */
};

enum link_service_state {
    LINK_SERVICE_UP = 1,       /* connect at once */
    LINK_SERVICE_STARTING = 2, /* new connections wait up to WAIT_MS */
    LINK_SERVICE_DOWN = 3,     /* 503 for HTTP, close for others */
};

#endif
