/* Which host and which boot of it this is. */
#ifndef COMMON_HOST_H
#define COMMON_HOST_H

#include "common/error.h"

enum { HOST_NAME_SIZE = 65, BOOT_ID_SIZE = 37 };

/* The name that tells hosts of one home apart: the first two labels of the node name; where the
 * node name has no dot, of its canonical name in /etc/hosts, else the node name itself. Never a
 * DNS query: the answer must not change with the weather, and must not block. Lower case.
 * 0, or -EINVAL when the node name holds characters that cannot be a folder's name. */
int host_name(char out[HOST_NAME_SIZE], struct error *err);

/* The kernel's boot id (/proc/sys/kernel/random/boot_id). 0 or a negative errno. */
int host_boot_id(char out[BOOT_ID_SIZE], struct error *err);

/* As host_name, from a node name and the text of a hosts(5) file; pure, for tests. */
int host_name_from(
    const char *node, const char *hosts, char out[HOST_NAME_SIZE], struct error *err);

#endif
