/* Accepting connections of the internal protocol. Used by keepers and the relay. */
#include "common/link_door.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/link.h"
#include "common/unixsock.h"

enum { BACKLOG = 128, ACCEPTS_PER_ROUND = 64 };

void link_door_init(struct link_door *door)
{
    *door = (struct link_door){.epoll = -1, .listener = -1, .reserve = -1};
    for (size_t i = 0; i < LINK_DOOR_PLACES; i++) {
        door->waiting[i] = -1;
    }
}

static void close_one(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static int watch(struct link_door *door, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(door->epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

int link_door_listen(struct link_door *door, const char *path, struct error *err)
{
    if (door->epoll < 0) {
        door->epoll = epoll_create1(EPOLL_CLOEXEC);
        door->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    int fd = door->epoll < 0 ? error_errno(err, -errno, "cannot listen on %s", path)
                             : unix_listen(path, SOCK_SEQPACKET, BACKLOG, err);
    if (fd < 0) {
        return fd;
    }
    int code = watch(door, fd);
    if (code) {
        close(fd);
        return error_errno(err, code, "cannot listen on %s", path);
    }
    close_one(&door->listener);
    door->listener = fd;
    return 0;
}

void link_door_close(struct link_door *door)
{
    for (size_t i = 0; i < LINK_DOOR_PLACES; i++) {
        close_one(&door->waiting[i]);
    }
    close_one(&door->listener);
    close_one(&door->reserve);
    close_one(&door->epoll);
}

/* Whether it may come in; else it still waits or was sent away. */
static bool greet(struct link_door *door, int *place, uint8_t *buffer, uint32_t *request)
{
    struct link_message message;
    int code = link_receive(*place, buffer, &message);
    if (code == -EAGAIN) {
        return false;
    }
    bool hello = code == 1 && message.type == LINK_HELLO;
    if (code == 1) {
        *request = message.request;
        link_message_finish(&message);
    }
    if (!hello) {
        close_one(place);
        return false;
    }
    epoll_ctl(door->epoll, EPOLL_CTL_DEL, *place, NULL);
    return true;
}

/* No descriptor left: take who waits with the reserve and send it away, or the loop would be
 * woken for it for ever. */
static void turn_away(struct link_door *door)
{
    close_one(&door->reserve);
    int fd = accept4(door->listener, NULL, NULL, SOCK_CLOEXEC);
    close_one(&fd);
    door->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int *find_place(struct link_door *door)
{
    for (size_t i = 0; i < LINK_DOOR_PLACES; i++) {
        if (door->waiting[i] < 0) {
            return &door->waiting[i];
        }
    }
    int *place = &door->waiting[door->oldest++ % LINK_DOOR_PLACES];
    close_one(place);
    return place;
}

/* Who comes mostly says hello at once. */
static int *accept_some(struct link_door *door, uint8_t *buffer, uint32_t *request)
{
    for (int i = 0; i < ACCEPTS_PER_ROUND; i++) {
        int fd = unix_accept_same_uid(door->listener, NULL);
        if (fd == -EMFILE || fd == -ENFILE) {
            turn_away(door);
        } else if (fd >= 0) {
            int *place = find_place(door);
            *place = fd;
            if (watch(door, fd)) {
                close_one(place);
            } else if (greet(door, place, buffer, request)) {
                return place;
            }
        } else if (fd == -EAGAIN) {
            break;
        }
    }
    return NULL;
}

int link_door_answer(struct link_door *door, uint8_t *buffer, uint32_t *request)
{
    struct epoll_event events[LINK_DOOR_PLACES + 1];
    int n = epoll_wait(door->epoll, events, LINK_DOOR_PLACES + 1, 0);
    int *welcome = NULL;
    for (int i = 0; i < n && !welcome; i++) {
        if (events[i].data.fd == door->listener) {
            welcome = accept_some(door, buffer, request);
        }
        for (size_t p = 0; p < LINK_DOOR_PLACES && !welcome; p++) {
            if (door->waiting[p] == events[i].data.fd &&
                greet(door, &door->waiting[p], buffer, request)) {
                welcome = &door->waiting[p];
            }
        }
    }
    if (!welcome) {
        return -EAGAIN;
    }
    int fd = *welcome;
    *welcome = -1;
    return fd;
}
