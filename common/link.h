/* The internal protocol between gearsd and its helpers (keeper, relay, later tunnels): one
 * frame is one SOCK_SEQPACKET datagram of at most LINK_FRAME_LIMIT bytes, little-endian:
 *
 *     'G' | version u8 = 1 | type u16 | request u32 | fields…
 *     field: tag u16 | zero u16 | length u32 | bytes
 *
 * An old keeper outlives many upgrades, so the protocol is additive only: numbers in
 * link_messages.h are never reused, receivers skip tags they do not know and answer
 * LINK_UNSUPPORTED to types they do not know. Descriptors travel beside a frame (SCM_RIGHTS),
 * at most LINK_FD_LIMIT. Needs nothing but libc. */
#ifndef COMMON_LINK_H
#define COMMON_LINK_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/link_messages.h"

enum { LINK_FRAME_LIMIT = 128 * 1024, LINK_FD_LIMIT = 4, LINK_VERSION = 1 };
enum { LINK_WORDS_MOST = 400 };

struct link_message;

/* A frame being written; zero-initialise with link_frame_start; finish with link_frame_finish.
 * Overflow and out of memory are remembered and reported by link_send. */
struct link_frame {
    uint8_t *data;
    size_t length, capacity;
    int fds[LINK_FD_LIMIT]; /* borrowed: sending does not close them */
    size_t fd_count;
    int failed;  /* 0 or a negative errno */
    bool secret; /* wiped when finished */
};

void link_frame_start(struct link_frame *frame, enum link_type type, uint32_t request);
void link_frame_bytes(
    struct link_frame *frame, enum link_tag tag, const void *bytes, size_t length);
/* `string` may be NULL: no field then. */
void link_frame_string(struct link_frame *frame, enum link_tag tag, const char *string);
void link_frame_u64(struct link_frame *frame, enum link_tag tag, uint64_t value);
/* It holds what a human typed: its memory is wiped when it is finished. Call it first. */
void link_frame_secret(struct link_frame *frame);
void link_frame_fd(struct link_frame *frame, int fd);
void link_frame_finish(struct link_frame *frame);

/* Why not: a negative errno and words, added to a frame that was started. */
void link_frame_error(struct link_frame *frame, int code, const char *words);
/* The whole answer to an order of a type that is not known here. */
void link_frame_unsupported(struct link_frame *frame, const struct link_message *message);
/* A whole frame of words for a log, cut to LINK_WORDS_MOST − 1 bytes; answers nothing. */
void link_frame_words(struct link_frame *frame, enum link_type type, const char *format,
    va_list args) __attribute__((format(printf, 3, 0)));

/* Send and finish the frame. 0; -EAGAIN when the peer does not read (non-blocking socket),
 * -EPIPE, -EMSGSIZE, … The frame is finished in every case. */
int link_send(int fd, struct link_frame *frame);
/* Type-only frames. */
int link_send_empty(int fd, enum link_type type, uint32_t request);

/* A received frame: fields point into the caller's buffer. */
struct link_message {
    enum link_type type;
    uint32_t request;
    const uint8_t *fields;
    size_t length;
    int fds[LINK_FD_LIMIT]; /* owned by the receiver: take (set to −1) or link_message_finish */
    size_t fd_count;
};

/* Receive one frame into `buffer` (LINK_FRAME_LIMIT bytes). 1: a message; 0: the peer closed;
 * -EAGAIN: none; -EBADMSG: malformed (dropped, descriptors closed); other negative errno. */
int link_receive(int fd, uint8_t *buffer, struct link_message *message);
/* Parse a frame from memory, as link_receive does (recorded frames, fuzzing). 0 or -EBADMSG. */
int link_parse(const uint8_t *data, size_t length, struct link_message *message);
/* Close descriptors nobody took. */
void link_message_finish(struct link_message *message);

/* The `index`-th field with `tag`: pointer and length, or NULL. */
const uint8_t *link_find(
    const struct link_message *message, enum link_tag tag, size_t index, size_t *length);
/* As a NUL-terminated copy in `out` (cut to size). False when absent. */
bool link_find_string(const struct link_message *message, enum link_tag tag, size_t index,
    char *out, size_t size);
/* A heap copy of a string field, or NULL (absent or out of memory). */
char *link_copy_string(const struct link_message *message, enum link_tag tag, size_t index);
uint64_t link_u64(const struct link_message *message, enum link_tag tag, uint64_t fallback);

#endif
