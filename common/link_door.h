/* The listening socket of a keeper or relay. Whoever connects waits at the door until it says
 * LINK_HELLO; only then may it take the place of the controller. Strangers, scanners and probes
 * that say nothing or something else disturb nobody. Needs nothing but libc. */
#ifndef COMMON_LINK_DOOR_H
#define COMMON_LINK_DOOR_H

#include <stdint.h>

#include "common/error.h"

enum { LINK_DOOR_PLACES = 32 };

struct link_door {
    int epoll; /* readable when link_door_answer has something to do; −1: never opened */
    int listener, reserve;
    int waiting[LINK_DOOR_PLACES]; /* −1: free */
    unsigned oldest;               /* must go when a place is needed */
};

void link_door_init(struct link_door *door);
/* Listen at `path`; again when its file was deleted. 0 or a negative errno with words. */
int link_door_listen(struct link_door *door, const char *path, struct error *err);
void link_door_close(struct link_door *door);

/* Hear who came. The descriptor of a peer of our uid that said hello, and its request's number;
 * -EAGAIN: nobody. Call it when `epoll` is readable. `buffer` has LINK_FRAME_LIMIT bytes. */
int link_door_answer(struct link_door *door, uint8_t *buffer, uint32_t *request);

#endif
