/* The client side of Varlink, blocking with deadlines, for gearsctl. */
#ifndef PROTO_VARLINK_CLIENT_H
#define PROTO_VARLINK_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "common/error.h"

struct varlink_client;

/* Connect to a Unix socket. NULL with words, and the negative errno in *code (may be NULL). */
struct varlink_client *varlink_client_open(
    const char *path, int64_t timeout_ms, struct error *err, int *code);
void varlink_client_close(struct varlink_client *client); /* NULL is allowed */
int varlink_client_fd(const struct varlink_client *client);

/* Send one call; takes `parameters` (NULL: none). 0 or a negative errno. */
int varlink_client_send(struct varlink_client *client, const char *method, cJSON *parameters,
    bool more, struct error *err);

/* The same for parameters that hold secrets: at most 256 KiB as text, and wiped with every copy
 * that was made of them, whatever the outcome. */
int varlink_client_send_secret(
    struct varlink_client *client, const char *method, cJSON *parameters, struct error *err);
/* Zero every string below `item`, which is still to be deleted. NULL is allowed. */
void varlink_wipe(cJSON *item);

/* One reply: *reply are its parameters (the caller deletes), *error_name the error's full name
 * on the heap or NULL, *continues whether more follow. timeout_ms < 0: for ever. 0; -ETIMEDOUT;
 * -ECONNRESET: the server closed; -EBADMSG: not Varlink. */
int varlink_client_receive(struct varlink_client *client, int64_t timeout_ms, cJSON **reply,
    char **error_name, bool *continues, struct error *err);

/* Whether a whole reply has been read already: no descriptor tells of it any more. */
bool varlink_client_has_reply(const struct varlink_client *client);

#endif
