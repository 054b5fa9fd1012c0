/* The names on disk below GEARS_HOME, and the 108 bytes of a socket's path. */
#ifndef COMMON_HOME_H
#define COMMON_HOME_H

#include <limits.h>
#include <stddef.h>

#include "common/error.h"
#include "common/host.h"

enum { HOME_SHORT_SIZE = 32 };

/* One user's Gears folder as seen from this host. Plain values, no ownership. */
struct home {
    char root[PATH_MAX / 4]; /* $GEARS_HOME, else $HOME/gears; absolute, no trailing slash */
    char host[HOST_NAME_SIZE];
    char boot_id[BOOT_ID_SIZE];
    char run[HOME_SHORT_SIZE]; /* where the sockets are if not in run/<host>: a short folder */
};

/* Fill from the environment and the kernel. Touches no file below the root. 0 or a negative
 * errno with words (no HOME, a relative or overlong GEARS_HOME, a bad node name). */
int home_init(struct home *home, struct error *err);

/* Join: <root>/<area>/<host>/<rest>. `rest` may be "" (then no trailing slash) and is made from
 * `format`. 0 or -ENAMETOOLONG. Areas: "run", "state", "log". What is in "run" is in the short
 * folder when there is one, but for gearsd.lease, which needs a name that never changes. */
int home_path(const struct home *home, char out[PATH_MAX], const char *area, const char *format,
    ...) __attribute__((format(printf, 4, 5)));

/* Make what this host needs, private: <root> itself may be anybody-readable (it may be a
 * checkout) but must be owned by the caller; run, run/<host>, run/<host>/{own,link} and
 * state/<host> with {service,exit,secret} are made 0700 and checked. Blocking. */
int home_prepare(const struct home *home, struct error *err);
/* The same for log/<host>, which may lie on a filesystem of its own. Blocking. */
int home_prepare_log(const struct home *home, struct error *err);

/* A folder short enough for sockets: run/<host>/<name> when it has at most `limit` bytes; else
 * a randomly named 0700 folder below /tmp, remembered in the pointer file
 * state/<host>/short-<name> and checked for its owner and mode on every use (a missing or wrong
 * one is replaced). Blocking. */
int home_short_dir(const struct home *home, const char *name, size_t limit, char out[PATH_MAX],
    struct error *err);

/* The kernel allows a socket 107 bytes. Where run/<host> leaves too few for the longest name,
 * `run` is set to the short folder that state/<host>/short-run points to, if it is private to
 * us. 0: found, or none is needed; -ENOENT: gearsd has not made it. */
int home_find_run(struct home *home);
/* The same, made (with own and link in it) when missing. Under gearsd's lease only. */
int home_make_run(struct home *home, struct error *err);
/* Remove this host's short folders and their pointers: when nothing runs any more. Blocking. */
void home_drop_short(const struct home *home);

/* Remove the socket files of this host: when nothing that served them runs any more, under
 * gearsd's lease only. Blocking. */
void home_drop_sockets(const struct home *home);

/* The path by which gearsctl is run on this or another host with the same home, whichever build
 * is current: <root>/bin/gearsctl, else the one beside the running program. Blocking. */
void home_program(const struct home *home, char out[PATH_MAX]);

#endif
