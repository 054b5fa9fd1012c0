/* Log segments: the files <UTC microseconds>.log of one folder, the last of which is being
 * written. Names sort by age. All of these block on a slow filesystem. */
#ifndef COMMON_SEGMENTS_H
#define COMMON_SEGMENTS_H

#include <stddef.h>
#include <stdint.h>

enum { SEGMENT_NAME_SIZE = 24, SEGMENTS_LIMIT = 1024 };

/* One segment's name, "0001764000000000.log". */
typedef char segment_name[SEGMENT_NAME_SIZE];

/* The folder's segments, oldest first, in a heap array that the caller frees; NULL when there
 * is none. At most SEGMENTS_LIMIT are looked at. */
segment_name *segments_list(const char *folder, size_t *count);

/* Make the folder (0700) where it is missing and open a new, empty segment for appending. A
 * descriptor or a negative errno. */
int segment_open(const char *folder);

/* Remove the oldest segments until `room` more bytes fit into `budget`. Nobody may be writing
 * into this folder. */
void segments_prune(const char *folder, uint64_t budget, uint64_t room);

/* The same over every folder of `parent`, the oldest first whosever it is; the newest segment
 * of each folder stays, for it may be open. Several processes may do this at once. */
void segments_prune_all(const char *parent, uint64_t budget, uint64_t room);

#endif
