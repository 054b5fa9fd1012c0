/* common/link_door: only who says hello comes in, whatever else is at the door. */
#include <errno.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/link.h"
#include "common/link_door.h"
#include "common/unixsock.h"
#include "tests/unit/scratch.h"

enum { MANY = 100 };

static char path[PATH_MAX + 8];
static uint8_t buffer[LINK_FRAME_LIMIT];
static struct link_door door;

static int knock(void)
{
    struct error err = {""};
    int fd = unix_connect(path, SOCK_SEQPACKET, true, &err);
    CHECK_STRING(fd < 0 ? err.text : "", "");
    return fd;
}

static int answer(uint32_t *request)
{
    int fd = link_door_answer(&door, buffer, request);
    struct pollfd item = {.fd = door.epoll, .events = POLLIN};
    for (int i = 0; fd < 0 && i < 10 && poll(&item, 1, 0) > 0; i++) {
        fd = link_door_answer(&door, buffer, request);
    }
    return fd;
}

/* Nothing is left to do: the owner's loop may sleep. */
static bool is_quiet(void)
{
    struct pollfd item = {.fd = door.epoll, .events = POLLIN};
    return poll(&item, 1, 0) == 0;
}

static bool is_closed(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET;
}

static void lets_in_who_says_hello(void)
{
    uint32_t request = 0;
    int early = knock();
    CHECK_INT(answer(&request), -EAGAIN); /* silent so far */
    int prompt = knock();
    CHECK_INT(link_send_empty(prompt, LINK_HELLO, 7), 0);
    int fd = answer(&request);
    CHECK(fd >= 0 && request == 7 && is_quiet());
    CHECK_INT(link_send_empty(fd, LINK_KEEPER_STATUS, 7), 0);
    struct link_message message;
    CHECK_INT(link_receive(prompt, buffer, &message), 1);
    close(prompt);
    CHECK(is_quiet()); /* no business of the door any more */
    close(fd);
    CHECK_INT(link_send_empty(early, LINK_HELLO, 8), 0);
    fd = answer(&request);
    CHECK(fd >= 0 && request == 8 && is_quiet());
    close(fd);
    close(early);
}

static void sends_others_away(void)
{
    uint32_t request = 0;
    int garbage = knock(), orders = knock(), huge = knock(), gone = knock();
    static char block[LINK_FRAME_LIMIT + 1];
    CHECK(send(garbage, "GET / HTTP/1.1\r\n", 16, 0) == 16);
    CHECK_INT(link_send_empty(orders, LINK_KEEPER_STOP, 1), 0);
    CHECK(send(huge, block, sizeof block, 0) == (ssize_t)sizeof block);
    close(gone);
    CHECK_INT(answer(&request), -EAGAIN);
    CHECK(is_quiet() && is_closed(garbage) && is_closed(orders) && is_closed(huge));
    close(garbage);
    close(orders);
    close(huge);
}

/* The oldest of the silent goes; whoever says hello behind them all comes in. */
static void bounds_who_waits(void)
{
    uint32_t request = 0;
    int fds[MANY], closed = 0;
    for (int i = 0; i < MANY; i++) {
        fds[i] = knock();
    }
    int late = knock();
    CHECK_INT(link_send_empty(late, LINK_HELLO, 9), 0);
    int fd = answer(&request);
    CHECK(fd >= 0 && request == 9);
    close(fd);
    close(late);
    for (int i = 0; i < MANY; i++) {
        closed += is_closed(fds[i]);
    }
    CHECK(closed >= MANY - LINK_DOOR_PLACES && !is_closed(fds[MANY - 1]));
    CHECK(is_quiet());
    for (int i = 0; i < MANY; i++) {
        close(fds[i]);
    }
    CHECK_INT(answer(&request), -EAGAIN);
    CHECK(is_quiet());
}

/* Without a descriptor to spare it sends people away instead of waking its loop for ever. */
static void survives_lack_of_descriptors(void)
{
    struct rlimit limit;
    uint32_t request = 0;
    int fds[8];
    for (int i = 0; i < 8; i++) {
        fds[i] = knock();
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    struct rlimit tight = {(rlim_t)fds[7] + 1, limit.rlim_max};
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &tight), 0);
    CHECK_INT(answer(&request), -EAGAIN);
    CHECK(is_quiet());
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (int i = 0; i < 8; i++) {
        CHECK(is_closed(fds[i]));
        close(fds[i]);
    }
    int fd = knock();
    CHECK_INT(link_send_empty(fd, LINK_HELLO, 1), 0);
    int in = answer(&request);
    CHECK(in >= 0);
    close(in);
    close(fd);
}

static void listens_again_after_a_cleaner(void)
{
    struct error err = {""};
    uint32_t request = 0;
    int before = knock();
    CHECK_INT(answer(&request), -EAGAIN);
    unlink(path);
    CHECK_INT(link_door_listen(&door, path, &err), 0);
    int after = knock();
    CHECK_INT(link_send_empty(after, LINK_HELLO, 2), 0);
    int fd = answer(&request);
    CHECK(fd >= 0 && request == 2);
    close(fd);
    CHECK_INT(link_send_empty(before, LINK_HELLO, 3), 0); /* who waited still may */
    fd = answer(&request);
    CHECK(fd >= 0 && request == 3);
    close(fd);
    close(before);
    close(after);
}

static void leaves_another_s_file_alone(void)
{
    struct unix_file ours, none = {0};
    CHECK_INT(unix_file_note(path, &ours), 0);
    CHECK_INT(unix_file_look(path, &ours), 0);
    CHECK_INT(unix_file_look(path, &none), -EEXIST);
    unix_file_remove(path, &none);
    CHECK_INT(unix_file_look(path, &ours), 0);
    int other = unix_listen(path, SOCK_SEQPACKET, 1, NULL);
    CHECK_INT(unix_file_look(path, &ours), -EEXIST);
    unix_file_remove(path, &ours);
    CHECK(!ours.inode);
    CHECK_INT(unix_file_note(path, &ours), 0); /* the other's stands */
    unix_file_remove(path, &ours);
    CHECK_INT(unix_file_look(path, &ours), -ENOENT);
    CHECK_INT(unix_file_note(path, &ours), -ENOENT);
    CHECK(!ours.inode);
    close(other);
}

int main(void)
{
    char folder[PATH_MAX];
    struct error err = {""};
    scratch_folder(folder);
    snprintf(path, sizeof path, "%s/d.sck", folder);
    link_door_init(&door);
    link_door_close(&door); /* never opened */
    CHECK_INT(link_door_listen(&door, path, &err), 0);
    lets_in_who_says_hello();
    sends_others_away();
    bounds_who_waits();
    survives_lack_of_descriptors();
    listens_again_after_a_cleaner();
    leaves_another_s_file_alone();
    link_door_close(&door);
    CHECK(door.epoll == -1 && door.listener == -1);
    scratch_remove(folder);
    return check_result();
}
