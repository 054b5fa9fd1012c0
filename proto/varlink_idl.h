/* Varlink interface descriptions: parsed once, then used to check every message. The .varlink
 * text is the single description of the protocol. See https://varlink.org for the language. */
#ifndef PROTO_VARLINK_IDL_H
#define PROTO_VARLINK_IDL_H

#include <stddef.h>

#include <cjson/cJSON.h>

#include "common/error.h"

struct idl_interface;

/* Parse one interface. 0, or -EINVAL with "line N: words"; -ENOMEM. The caller destroys. */
int idl_parse(const char *text, struct idl_interface **interface, struct error *err);
void idl_destroy(struct idl_interface *interface);

/* "org.gears.Manager"; owned by the interface. */
const char *idl_name(const struct idl_interface *interface);
/* The text it was parsed from. */
const char *idl_text(const struct idl_interface *interface);
/* Whether the interface has this method; the `index`-th method's name or NULL. */
int idl_has_method(const struct idl_interface *interface, const char *method);
const char *idl_method(const struct idl_interface *interface, size_t index);

/* Check a call's parameters (an object, or NULL for none). 0, or -EINVAL with the name of the
 * first wrong parameter in `parameter` (as org.varlink.service.InvalidParameter wants it). */
int idl_check_call(const struct idl_interface *interface, const char *method,
    const cJSON *parameters, char *parameter, size_t size);
/* The same for a reply. */
int idl_check_reply(const struct idl_interface *interface, const char *method,
    const cJSON *parameters, char *parameter, size_t size);

#endif
