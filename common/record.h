/* Durable records: one small text file each, "key=value" lines between a magic first line and a
 * closing line that proves the file whole. Used for what gearsd wants and for what a keeper
 * saw.
 *
 *     gears-record 1
 *     service=lab
 *     exit.signal=KILL
 *     end 2
 *
 * Values are one line: backslash, newline, carriage return and NUL-free control bytes are
 * escaped
 * (\\, \n, \r, \xNN). Unknown keys are kept and ignored, so records only ever gain keys. Keys
 * may repeat (lists). At most 64 KiB, 1024 fields. */
#ifndef COMMON_RECORD_H
#define COMMON_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct record; /* opaque, heap */

struct record *record_create(void); /* NULL when out of memory */
void record_destroy(struct record *record);

/* Append a field. 0, -EINVAL (bad key), -E2BIG, -ENOMEM. Key: [a-z0-9._-]+, at most 64 bytes.
 * That a field was too much is remembered: what lacks it is never written. */
int record_add(struct record *record, const char *key, const char *value);
int record_add_integer(struct record *record, const char *key, int64_t value);

/* The `index`-th value of `key` (0 = first), or NULL. Owned by the record. */
const char *record_find(const struct record *record, const char *key, size_t index);
/* The first value, cut to `size`; "" when it is absent. */
void record_copy(const struct record *record, const char *key, char *out, size_t size);
/* The first value as an integer, or `fallback` when it is absent or not one. */
int64_t record_integer(const struct record *record, const char *key, int64_t fallback);

/* The file's text: heap, the caller frees. NULL when out of memory or a field was too much. */
char *record_format(const struct record *record, size_t *length);
/* 0, or -EBADMSG with words naming the line: half-written, foreign or damaged. */
int record_parse(const char *text, size_t length, struct record **record, struct error *err);

/* Blocking. Store replaces atomically and durably (mode 0600), or gives -E2BIG with words when
 * a field was too much; load gives -ENOENT when absent. */
int record_store(const struct record *record, const char *path, struct error *err);
int record_load(const char *path, struct record **record, struct error *err);

#endif
