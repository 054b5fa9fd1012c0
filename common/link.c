/* Frames of the internal protocol; see link.h. Used by gearsd, keepers and the relay. */
#include "common/link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEADER_SIZE = 8, FIELD_SIZE = 8 };

static void put_le(uint8_t *at, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t get_le(const uint8_t *at, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) {
        value |= (uint64_t)at[i] << (8 * i);
    }
    return value;
}

static uint8_t *grow(struct link_frame *frame, size_t extra)
{
    if (frame->failed) {
        return NULL;
    }
    if (extra > LINK_FRAME_LIMIT - frame->length) {
        frame->failed = -EMSGSIZE;
        return NULL;
    }
    if (frame->length + extra > frame->capacity) {
        size_t capacity = frame->capacity ? frame->capacity : 256;
        while (capacity < frame->length + extra) {
            capacity *= 2;
        }
        uint8_t *data = malloc(capacity); /* not realloc: it would leave a copy behind */
        if (!data) {
            frame->failed = -ENOMEM;
            return NULL;
        }
        if (frame->data) {
            memcpy(data, frame->data, frame->length);
            if (frame->secret) {
                explicit_bzero(frame->data, frame->capacity);
            }
            free(frame->data);
        }
        frame->data = data;
        frame->capacity = capacity;
    }
    uint8_t *at = frame->data + frame->length;
    frame->length += extra;
    return at;
}

void link_frame_start(struct link_frame *frame, enum link_type type, uint32_t request)
{
    *frame = (struct link_frame){0};
    uint8_t *at = grow(frame, HEADER_SIZE);
    if (at) {
        at[0] = 'G';
        at[1] = LINK_VERSION;
        put_le(at + 2, (uint64_t)type, 2);
        put_le(at + 4, request, 4);
    }
}

void link_frame_bytes(
    struct link_frame *frame, enum link_tag tag, const void *bytes, size_t length)
{
    if (length > LINK_FRAME_LIMIT) {
        frame->failed = -EMSGSIZE;
        return;
    }
    uint8_t *at = grow(frame, FIELD_SIZE + length);
    if (at) {
        put_le(at, (uint64_t)tag, 2);
        put_le(at + 2, 0, 2);
        put_le(at + 4, length, 4);
        if (length) {
            memcpy(at + FIELD_SIZE, bytes, length);
        }
    }
}

void link_frame_string(struct link_frame *frame, enum link_tag tag, const char *string)
{
    if (string) {
        link_frame_bytes(frame, tag, string, strlen(string));
    }
}

void link_frame_u64(struct link_frame *frame, enum link_tag tag, uint64_t value)
{
    uint8_t bytes[8];
    put_le(bytes, value, sizeof bytes);
    link_frame_bytes(frame, tag, bytes, sizeof bytes);
}

void link_frame_fd(struct link_frame *frame, int fd)
{
    if (frame->fd_count == LINK_FD_LIMIT) {
        frame->failed = -EMSGSIZE;
        return;
    }
    frame->fds[frame->fd_count++] = fd;
}

void link_frame_secret(struct link_frame *frame)
{
    frame->secret = true;
}

void link_frame_finish(struct link_frame *frame)
{
    if (frame->secret && frame->data) {
        explicit_bzero(frame->data, frame->capacity);
    }
    free(frame->data);
    *frame = (struct link_frame){0};
}

void link_frame_error(struct link_frame *frame, int code, const char *words)
{
    link_frame_u64(frame, LINK_TAG_ERRNO, (uint64_t)-code);
    link_frame_string(frame, LINK_TAG_TEXT, words);
}

void link_frame_unsupported(struct link_frame *frame, const struct link_message *message)
{
    link_frame_start(frame, LINK_UNSUPPORTED, message->request);
    link_frame_u64(frame, LINK_TAG_TYPE, (uint64_t)message->type);
}

void link_frame_words(
    struct link_frame *frame, enum link_type type, const char *format, va_list args)
{
    char text[LINK_WORDS_MOST];
    vsnprintf(text, sizeof text, format, args);
    link_frame_start(frame, type, 0);
    link_frame_string(frame, LINK_TAG_TEXT, text);
}

int link_send(int fd, struct link_frame *frame)
{
    int code = frame->failed;
    if (!code) {
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(LINK_FD_LIMIT * sizeof(int))];
        } control = {.bytes = {0}};
        struct iovec piece = {frame->data, frame->length};
        struct msghdr header = {.msg_iov = &piece, .msg_iovlen = 1};
        if (frame->fd_count) {
            header.msg_control = control.bytes;
            header.msg_controllen = CMSG_SPACE(frame->fd_count * sizeof(int));
            struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
            cmsg->cmsg_level = SOL_SOCKET;
            cmsg->cmsg_type = SCM_RIGHTS;
            cmsg->cmsg_len = CMSG_LEN(frame->fd_count * sizeof(int));
            memcpy(CMSG_DATA(cmsg), frame->fds, frame->fd_count * sizeof(int));
        }
        ssize_t n;
        do {
            n = sendmsg(fd, &header, MSG_NOSIGNAL);
        } while (n < 0 && errno == EINTR);
        code = n < 0 ? -errno : 0;
    }
    link_frame_finish(frame);
    return code;
}

int link_send_empty(int fd, enum link_type type, uint32_t request)
{
    struct link_frame frame;
    link_frame_start(&frame, type, request);
    return link_send(fd, &frame);
}

int link_parse(const uint8_t *data, size_t length, struct link_message *message)
{
    *message = (struct link_message){.fds = {-1, -1, -1, -1}};
    if (length < HEADER_SIZE || length > LINK_FRAME_LIMIT || data[0] != 'G' || !data[1]) {
        return -EBADMSG;
    }
    message->type = (enum link_type)get_le(data + 2, 2);
    message->request = (uint32_t)get_le(data + 4, 4);
    message->fields = data + HEADER_SIZE;
    message->length = length - HEADER_SIZE;
    for (size_t at = 0; at < message->length;) {
        if (message->length - at < FIELD_SIZE) {
            return -EBADMSG;
        }
        uint64_t size = get_le(message->fields + at + 4, 4);
        at += FIELD_SIZE;
        if (size > message->length - at) {
            return -EBADMSG;
        }
        at += (size_t)size;
    }
    return 0;
}

void link_message_finish(struct link_message *message)
{
    for (size_t i = 0; i < message->fd_count; i++) {
        if (message->fds[i] >= 0) {
            close(message->fds[i]);
            message->fds[i] = -1;
        }
    }
    message->fd_count = 0;
}

/* Collect passed descriptors; those beyond the limit are closed. */
static size_t take_fds(struct msghdr *header, int fds[LINK_FD_LIMIT])
{
    size_t count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
            if (count < LINK_FD_LIMIT) {
                fds[count++] = fd;
            } else {
                close(fd);
            }
        }
    }
    return count;
}

int link_receive(int fd, uint8_t *buffer, struct link_message *message)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(LINK_FD_LIMIT * sizeof(int))];
    } control;
    struct iovec piece = {buffer, LINK_FRAME_LIMIT};
    struct msghdr header = {.msg_iov = &piece,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes};
    ssize_t n;
    do {
        n = recvmsg(fd, &header, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return errno == ECONNRESET ? 0 : -errno;
    }
    int fds[LINK_FD_LIMIT] = {-1, -1, -1, -1};
    size_t count = take_fds(&header, fds);
    if (n == 0 && !count) {
        return 0;
    }
    int code = header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)
                   ? -EBADMSG
                   : link_parse(buffer, (size_t)n, message);
    memcpy(message->fds, fds, sizeof fds);
    message->fd_count = count;
    if (code) {
        link_message_finish(message);
        return code;
    }
    return 1;
}

const uint8_t *link_find(
    const struct link_message *message, enum link_tag tag, size_t index, size_t *length)
{
    for (size_t at = 0; at + FIELD_SIZE <= message->length;) {
        uint64_t found = get_le(message->fields + at, 2);
        size_t size = (size_t)get_le(message->fields + at + 4, 4);
        at += FIELD_SIZE;
        if (found == (uint64_t)tag && !index--) {
            *length = size;
            return message->fields + at;
        }
        at += size;
    }
    return NULL;
}

bool link_find_string(
    const struct link_message *message, enum link_tag tag, size_t index, char *out, size_t size)
{
    size_t length;
    const uint8_t *bytes = link_find(message, tag, index, &length);
    if (!bytes) {
        out[0] = 0;
        return false;
    }
    length = length < size ? length : size - 1;
    memcpy(out, bytes, length);
    out[length] = 0;
    return true;
}

char *link_copy_string(const struct link_message *message, enum link_tag tag, size_t index)
{
    size_t length;
    const uint8_t *bytes = link_find(message, tag, index, &length);
    return bytes ? strndup((const char *)bytes, length) : NULL;
}

uint64_t link_u64(const struct link_message *message, enum link_tag tag, uint64_t fallback)
{
    size_t length;
    const uint8_t *bytes = link_find(message, tag, 0, &length);
    return bytes && length == 8 ? get_le(bytes, 8) : fallback;
}
