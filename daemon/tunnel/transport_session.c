/* libssh2's side of a transport: the callbacks that send and receive for a session, and the
 * memory it works in. Called by libssh2, on whichever thread calls that. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/tunnel/transport_private.h"

/* No packet is longer, but libssh2 1.10 allocates whatever length a server claims. */
enum {
    LOGIN_BLOCK_MOST = 256 * 1024,
    MINDED = sizeof((struct transport *)0)->minded / sizeof(void *)
};

void *transport_allocate(struct transport *transport, size_t size)
{
    if (transport->patience && transport->has_session && size > LOGIN_BLOCK_MOST) {
        return NULL;
    }
    return malloc(size ? size : 1);
}

void transport_mind(struct transport *transport, void *memory)
{
    for (size_t i = 0; i < MINDED; i++) {
        if (!transport->minded[i]) {
            transport->minded[i] = memory;
            return;
        }
    }
}

/* libssh2 1.11 gives some of this memory to free() by itself, so that it has to be malloc's. */
static void release(struct transport *transport, void *memory)
{
    for (size_t i = 0; memory && i < MINDED; i++) {
        transport->minded[i] = transport->minded[i] == memory ? NULL : transport->minded[i];
    }
    if (memory && transport->patience) {
        explicit_bzero(memory, malloc_usable_size(memory));
    }
    free(memory);
}

static LIBSSH2_ALLOC_FUNC(on_allocate)
{
    return transport_allocate(*abstract, count);
}

static LIBSSH2_FREE_FUNC(on_free)
{
    release(*abstract, ptr);
}

static LIBSSH2_REALLOC_FUNC(on_reallocate)
{
    struct transport *transport = *abstract;
    if (!transport->patience) {
        return realloc(ptr, count ? count : 1);
    }
    void *fresh = transport_allocate(transport, count);
    if (fresh && ptr) {
        size_t old = malloc_usable_size(ptr);
        memcpy(fresh, ptr, old < count ? old : count);
        release(transport, ptr);
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
    for (size_t i = 0; i < MINDED; i++) {
        release(transport, transport->minded[i]);
    }
    transport->has_session = false;
}
