/* The second way to a cluster: the system's own ssh as a child of the tunnel, for sites that
 * need GSSAPI, FIDO keys, certificates or ciphers that libssh2 lacks. ssh connects, checks the
 * host key and logs in as its own configuration says; its questions arrive by askpass.c. From
 * then on it is a master whose private control socket only this process uses, and speaks
 * itself: where no ssh is run as a client, none can open another connection. */
#ifndef TUNNEL_OPENSSH_H
#define TUNNEL_OPENSSH_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct openssh;
struct tunnel;

/* Run ssh; tunnel_set_state tells how it goes, tunnel_end why it ends. NULL with words. */
struct openssh *openssh_start(struct tunnel *tunnel, struct error *err);
/* End ssh and everything of it, clients too; waits a moment for its goodbye. May be NULL. */
void openssh_destroy(struct openssh *openssh);
/* As login_answer: 0, -ESTALE, -EINVAL. */
int openssh_answer(
    struct openssh *openssh, const char *id, const char *const answers[], size_t count);
/* As session_add: takes a client's socket, or a negative errno and it stays the caller's. */
int openssh_add(struct openssh *openssh, int fd, const char *target, const char *service);
/* As run_start: `command` is taken; 0 or -EBUSY. */
int openssh_run(struct openssh *openssh, uint32_t request, char *command, int64_t timeout_ms);
/* Ask for a sign of life; a STATE answers `request`. */
void openssh_probe(struct openssh *openssh, uint32_t request);

#endif
