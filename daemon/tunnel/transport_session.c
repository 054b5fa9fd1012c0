/* libssh2's side of a transport: the callbacks that send and receive for a session, and the
 * memory it works in. Called by libssh2, on whichever thread calls that. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/tunnel/transport_private.h"

/* No packet is longer, but libssh2 1.10 allocates whatever length a server claims. */
enum { LOGIN_BLOCK_MOST = 256 * 1024 };

void *transport_allocate(struct transport *transport, size_t size)
{
    if (size > SIZE_MAX / 2 ||
        (transport->patience && transport->has_session && size > LOGIN_BLOCK_MOST)) {
        return NULL;
    }
    struct transport_block *block = malloc(sizeof *block + size);
    if (!block) {
        return NULL;
    }
    *block = (struct transport_block){.next = transport->blocks, .size = size};
    if (block->next) {
        block->next->previous = block;
    }
    transport->blocks = block;
    return block + 1;
}

static void release(struct transport *transport, struct transport_block *block)
{
    if (block->next) {
        block->next->previous = block->previous;
    }
    if (block->previous) {
        block->previous->next = block->next;
    } else {
        transport->blocks = block->next;
    }
    if (transport->patience) {
        explicit_bzero(block, sizeof *block + block->size);
    }
    free(block);
}

void transport_free_blocks(struct transport *transport)
{
    while (transport->blocks) {
        release(transport, transport->blocks);
    }
}

static LIBSSH2_ALLOC_FUNC(on_allocate)
{
    return transport_allocate(*abstract, count);
}

static LIBSSH2_FREE_FUNC(on_free)
{
    if (ptr) {
        release(*abstract, (struct transport_block *)ptr - 1);
    }
}

static LIBSSH2_REALLOC_FUNC(on_reallocate)
{
    void *fresh = transport_allocate(*abstract, count);
    if (fresh && ptr) {
        struct transport_block *old = (struct transport_block *)ptr - 1;
        memcpy(fresh, ptr, old->size < count ? old->size : count);
        release(*abstract, old);
    }
    return fresh;
}

static LIBSSH2_RECV_FUNC(on_receive)
{
    (void)socket;
    (void)flags;
    return transport_receive(*abstract, buffer, length);
}

static LIBSSH2_SEND_FUNC(on_send)
{
    (void)socket;
    (void)flags;
    return transport_send(*abstract, buffer, length);
}

static void set_callbacks(LIBSSH2_SESSION *session)
{
#if LIBSSH2_VERSION_NUM >= 0x010b01
    libssh2_session_callback_set2(
        session, LIBSSH2_CALLBACK_SEND, (libssh2_cb_generic *)on_send);
    libssh2_session_callback_set2(
        session, LIBSSH2_CALLBACK_RECV, (libssh2_cb_generic *)on_receive);
#else
    libssh2_session_callback_set(session, LIBSSH2_CALLBACK_SEND, (void *)on_send);
    libssh2_session_callback_set(session, LIBSSH2_CALLBACK_RECV, (void *)on_receive);
#endif
}

LIBSSH2_SESSION *transport_begin_session(struct transport *transport)
{
    LIBSSH2_SESSION *session =
        libssh2_session_init_ex(on_allocate, on_free, on_reallocate, transport);
    if (session) {
        transport->has_session = true;
        set_callbacks(session);
        libssh2_session_set_blocking(session, 0); /* its own waiting knows no cancelling */
    }
    return session;
}

void transport_end_session(struct transport *transport, LIBSSH2_SESSION *session)
{
    const struct patience *patience = transport->patience;
    if (!transport_failure(transport)) {
        transport->patience = NULL; /* what does not go at once does not go */
        libssh2_session_disconnect(session, "closed by gears");
        transport_flush(transport);
        transport->patience = patience;
    }
    transport_abort(transport, -EPIPE);
    while (libssh2_session_free(session) == LIBSSH2_ERROR_EAGAIN) {
        /* a channel at a time; none can wait for an answer any more */
    }
    transport->has_session = false;
}
