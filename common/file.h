/* Whole files: bounded reading, atomic and durable writing, private folders. All of these may
 * block on a slow filesystem: never on an event loop for anything below GEARS_HOME. */
#ifndef COMMON_FILE_H
#define COMMON_FILE_H

#include <stddef.h>
#include <sys/types.h>

#include "common/error.h"

/* Read a whole regular file of at most `limit` bytes into a fresh NUL-terminated heap buffer,
 * which the caller frees. `length` may be NULL. 0; -EFBIG over the limit; another negative
 * errno. */
int file_read(const char *path, size_t limit, char **data, size_t *length, struct error *err);

/* Replace `path` so that a crash at any moment leaves the old or the new content: a temporary
 * file beside it, write, fsync, rename, fsync of the folder. `mode` is the file's exact mode.
 * On any failure (ENOSPC, EDQUOT …) the old content stays and the temporary file is removed. */
int file_write_atomic(
    const char *path, const void *data, size_t length, mode_t mode, struct error *err);

/* fsync the folder that holds `path`. */
int file_sync_parent(const char *path, struct error *err);

/* Make the folder `path` (its parent must exist) with mode 0700, or check one that is there: it
 * must be a real folder (no symbolic link), owned by the caller, closed to group and others.
 * -EPERM with words when it is not: Gears refuses rather than repairs. */
int dir_ensure_private(const char *path, struct error *err);

/* mkdir -p of `path` with mode 0700 for what is missing; then as dir_ensure_private on the
 * last. */
int dir_ensure_tree(const char *path, struct error *err);

/* Check only, as dir_ensure_private does, without making anything. */
int dir_check_private(const char *path, struct error *err);

#endif
