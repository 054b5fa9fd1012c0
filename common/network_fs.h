/* Paths that lead through a network's file server: walking one may wait for as long as the
 * server does not answer, whatever flags a call is given. */
#ifndef COMMON_NETWORK_FS_H
#define COMMON_NETWORK_FS_H

#include <stdbool.h>

/* Whether f_type of statfs(2) is one whose names a server knows, or a process (FUSE). */
bool network_fs_is_type(long type);
/* Whether any folder on the way to `path` (absolute) is on one. What cannot be asked counts as
 * local. Blocking. */
bool network_fs_holds(const char *path);

#endif
