/* The SSH agent's protocol, as far as a login needs it: which keys, and a signature. Each wait
 * has the patience of the step. */
#ifndef TUNNEL_AGENT_H
#define TUNNEL_AGENT_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/tunnel/transport.h"

enum { AGENT_MESSAGE_MOST = 256 * 1024 };

/* Flags of a signature with an RSA key. */
enum { AGENT_RSA_SHA2_256 = 2, AGENT_RSA_SHA2_512 = 4 };

/* A connected, non-blocking socket, or a negative errno. */
int agent_connect(const char *path);

/* The keys as the agent lists them, on the heap: walk them with agent_next. 0 or a negative
 * errno. */
struct agent_keys {
    uint8_t *message;
    size_t at, length;
    uint32_t left;
};
int agent_list(int fd, const struct patience *patience, struct agent_keys *keys);
/* False at the end. What it gives stays in `keys`. */
bool agent_next(struct agent_keys *keys, const uint8_t **blob, size_t *blob_length,
    const char **comment, size_t *comment_length);
void agent_finish(struct agent_keys *keys);

/* Sign `data`: *signature is the bare one, without its algorithm's name, on the heap. 0;
 * -EACCES: the agent will not; another negative errno. */
int agent_sign(int fd, const struct patience *patience, const uint8_t *blob, size_t blob_length,
    const uint8_t *data, size_t length, uint32_t flags, uint8_t **signature,
    size_t *signature_length);

#endif
