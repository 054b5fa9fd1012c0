/* Starts the login's thread, and the one that asks for addresses. */
#include "daemon/tunnel/thread.h"

#include <signal.h>

/* libssh2, OpenSSL and the resolver's modules keep buffers on it. */
enum { STACK = 512 * 1024 };

int thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *argument)
{
    pthread_attr_t attributes;
    sigset_t all, old;
    int code = pthread_attr_init(&attributes);
    if (code) {
        return -code;
    }
    pthread_attr_setstacksize(&attributes, STACK);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    code = pthread_create(thread, &attributes, run, argument);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    if (!code) {
        pthread_setname_np(*thread, name);
    }
    return -code;
}
