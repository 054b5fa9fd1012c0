/* Adding a host key to a known_hosts file. */
#ifndef TUNNEL_HOSTKEY_RECORD_H
#define TUNNEL_HOSTKEY_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

/* Append one line, never half of one; the file is made with mode 0600, its folder with 0700
 * when they are missing. 0 or a negative errno with words. May block. */
int hostkey_record(const char *path, const char *name, const uint8_t *blob, size_t blob_length,
    struct error *err);

#endif
