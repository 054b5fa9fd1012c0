/* Who listens on a loopback port that a {port} program was told to take. */
#ifndef SERVICE_PORT_OWNER_H
#define SERVICE_PORT_OWNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Whether the socket listening on `port` (loopback or any address) is held by a descendant of
 * `keeper`. False with words when it belongs to somebody else. */
bool port_owner_is_tree(uint16_t port, pid_t keeper, char *words, size_t size);

#endif
