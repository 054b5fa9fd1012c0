/* What the user's ssh_config says of a server, as ssh itself reads it (`ssh -G`): Gears has no
 * second reader of that language. ConnectTimeout is left to gears.conf's connect_timeout, and
 * what only ssh can do (ProxyCommand) to transport = openssh. */
#ifndef REMOTE_SSH_CONFIG_H
#define REMOTE_SSH_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/ssh_hop.h"

/* The way to `name` (a Host of ssh_config, [user@]host, or ssh://…): its jump hosts in the
 * order of connecting, the server itself last. Each is asked of `ssh_program` (looked up in
 * PATH), so that a jump host's own settings and jump hosts count. ssh runs in our environment
 * without SSH_AUTH_SOCK, with the configuration file $GEARS_SSH_CONFIG when that is set
 * (tests); what its Match exec starts is killed with it at the end of the time.
 *
 * `hops` has room for `most`; the caller destroys the *count of them. Where ssh_config leaves
 * the agent to SSH_AUTH_SOCK, agent is NULL and agent_of_caller set. A user without a file for
 * known hosts has /dev/null as the first.
 *
 * BLOCKING, at most `timeout_ms` for the whole way. 0; -EINVAL: there is something that Gears
 * cannot do, or ssh refuses it; -ELOOP: a circle, or more than `most`; -ETIMEDOUT; -EFBIG;
 * -ENOENT: no such program; -ENOMEM. On failure *count is 0. */
int ssh_config_resolve(const char *name, const char *ssh_program, int64_t timeout_ms,
    struct ssh_hop *hops[], size_t most, size_t *count, struct error *err);

/* Only the server itself, for transport = openssh: ssh finds the way and the keys, whatever
 * they are. *hop says who and where (name, host, port, user, alias) and agent_of_caller; its
 * lists are empty. Otherwise as above; the caller destroys *hop. */
int ssh_config_resolve_server(const char *name, const char *ssh_program, int64_t timeout_ms,
    struct ssh_hop **hop, struct error *err);

/* What `ssh -G -- name` printed. Pure, but for the homes of users behind ~ and variables of the
 * environment. */
struct ssh_settings {
    struct ssh_hop *hop;
    char *jump; /* ProxyJump: [user@]host[:port] or ssh://…, commas between; NULL: none */
};
/* 0, -EINVAL with words, -ENOMEM; on success the caller destroys hop and frees jump. */
int ssh_config_parse(
    const char *name, const char *text, struct ssh_settings *settings, struct error *err);
/* As ssh_config_resolve_server has it. */
int ssh_config_parse_server(
    const char *name, const char *text, struct ssh_hop **hop, struct error *err);

/* The last element of a ProxyJump list, which is connected to last: its host and, where said,
 * user and port (0: not said). The elements before it become `rest` ("": none). 0 or
 * -EINVAL with words. */
struct ssh_jump {
    char rest[1024], user[256], host[256];
    int port;
};
int ssh_config_split_jump(const char *list, struct ssh_jump *jump, struct error *err);

#endif
