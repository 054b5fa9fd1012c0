/* Threads that leave signals to the loop. */
#ifndef TUNNEL_THREAD_H
#define TUNNEL_THREAD_H

#include <pthread.h>

/* 0 or a negative errno. */
int thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *argument);

#endif
