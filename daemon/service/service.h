/* One service of this host as gearsd holds it. Fields are written in daemon/service only; the
 * control layer reads them. Everything happens on the loop. */
#ifndef SERVICE_SERVICE_H
#define SERVICE_SERVICE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <event2/event.h>

#include "common/nonce.h"
#include "daemon/core/link_peer.h"
#include "daemon/core/probe.h"
#include "daemon/service/kind.h"
#include "daemon/service/machine.h"

struct manager;

/* In a keeper's environment, before its nonce; what the keeper runs has GEARS_KEEPER=. */
#define KEEPER_MARK "GEARS_KEEPER_FOR="

/* How the last incarnation ended; never a guess. */
struct service_exit {
    enum { EXIT_NONE, EXIT_CODE, EXIT_SIGNAL, EXIT_UNKNOWN } how;
    int value;      /* code or signal number */
    int64_t at_us;  /* 0: not known */
    char lost[512]; /* kernels that died with it; "" none known */
    char note[256]; /* "the host rebooted …", survivors; "" */
};

struct service_health {
    /* "process", "socket", "http": the first that fails, else the last checked. */
    const char *layer;
    bool ok;
    char message[200];
    int64_t since_us;
};

struct service {
    struct manager *manager;
    struct service *next;
    struct service_config *config; /* owned copy, as of the last start for a running service */
    bool adhoc;                    /* made by `run`: lives in its record, not in gears.conf */
    bool orphaned;                 /* gone from gears.conf while running */
    int enabled;                   /* −1: as configured; else by enable/disable */
    uint16_t forward_port;         /* wanted loopback port; 0: none */
    /* What the record says or is about to say; the machine follows once it is durable. */
    struct {
        bool wanted;
        bool fresh; /* a start that was asked for and not launched yet */
        bool again; /* a restart, likewise */
    } wish;
    struct act *acts; /* asked for, and not durable yet */
    unsigned stores;  /* records asked for */
    bool recorded;    /* one was */
    bool settled;     /* the record says that it ended and stays so */
    bool removing;    /* the record is being removed */
    struct machine machine;
    int64_t since_us;
    char cause[200]; /* why failed or backoff, in words; "" */

    /* The incarnation. */
    char nonce[NONCE_TEXT_SIZE]; /* "" before the first launch */
    bool launching;              /* prepare, intent record or spawn under way */
    struct launch launch;
    struct link_peer *keeper;
    pid_t pid, keeper_pid;
    uint64_t start_time;
    int64_t started_at_us, ready_at_us; /* ready_at_us 0: not yet */
    char build[48];                     /* of the keeper */
    bool stop_sent, program_ready, port_checked;
    bool paused;  /* a signal stopped the main process */
    bool heard;   /* the keeper has spoken on this connection */
    bool adopted; /* found running: its times are older than this gearsd */
    uint64_t log_dropped;
    bool log_stalled; /* its filesystem takes no writes */
    struct service_exit exit;
    bool exit_told; /* by the keeper of this incarnation */

    struct service_health health;
    struct probe *probe;
    struct event *timer; /* backoff, readiness retry or stop escalation: one at a time */
    int tries, port_tries;
    int64_t probed_ms, keeper_checked_ms;
    int64_t last_activity_us;

    bool relay_waits;           /* its newest state is still to be told to the relay */
    int relay_slot;             /* −1: the relay does not know it yet */
    uint64_t base_in, base_out; /* counters of relays that ended */
};

/* Whether the service has a socket that the relay serves. */
bool service_is_served(const struct service *service);
/* "since" and events follow. The only place that changes a state: logs both names. */
void service_apply(struct service *service, enum service_event event);

#endif
