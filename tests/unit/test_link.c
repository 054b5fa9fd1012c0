/* common/link: frames there and back, descriptors beside them, and recorded or broken bytes. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "common/link.h"
#include "tests/unit/scratch.h"

static uint8_t buffer[LINK_FRAME_LIMIT];
static int pair[2];

static void test_round_trip(void)
{
    struct link_frame frame;
    struct link_message message;
    char text[16];
    size_t length = 0;
    link_frame_start(&frame, LINK_KEEPER_START, 7);
    link_frame_string(&frame, LINK_TAG_SERVICE, "lab");
    link_frame_string(&frame, LINK_TAG_ARG, "one");
    link_frame_string(&frame, LINK_TAG_ARG, "");
    link_frame_string(&frame, LINK_TAG_CWD, NULL);
    link_frame_u64(&frame, LINK_TAG_LOG_BUDGET, UINT64_MAX - 1);
    link_frame_bytes(&frame, LINK_TAG_TEXT, "a\0b", 3);
    CHECK_INT(link_send(pair[0], &frame), 0);
    CHECK(!frame.data); /* finished by sending */
    CHECK_INT(link_receive(pair[1], buffer, &message), 1);
    CHECK_INT(message.type, LINK_KEEPER_START);
    CHECK_INT(message.request, 7);
    CHECK(link_find_string(&message, LINK_TAG_SERVICE, 0, text, sizeof text));
    CHECK_STRING(text, "lab");
    CHECK(link_find_string(&message, LINK_TAG_ARG, 1, text, sizeof text));
    CHECK_STRING(text, "");
    CHECK(!link_find_string(&message, LINK_TAG_ARG, 2, text, sizeof text));
    CHECK(!link_find_string(&message, LINK_TAG_CWD, 0, text, sizeof text));
    CHECK(link_find_string(&message, LINK_TAG_SERVICE, 0, text, 3)); /* cut, still ended */
    CHECK_STRING(text, "la");
    CHECK(link_u64(&message, LINK_TAG_LOG_BUDGET, 0) == UINT64_MAX - 1);
    CHECK_INT((long long)link_u64(&message, LINK_TAG_PID, 5), 5);
    CHECK_INT((long long)link_u64(&message, LINK_TAG_SERVICE, 5), 5); /* no number */
    const uint8_t *bytes = link_find(&message, LINK_TAG_TEXT, 0, &length);
    CHECK(bytes && length == 3 && !memcmp(bytes, "a\0b", 3));
    char *copy = link_copy_string(&message, LINK_TAG_ARG, 0);
    CHECK_STRING(copy, "one");
    free(copy);
    link_message_finish(&message);
}

static void words(struct link_frame *frame, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    link_frame_words(frame, LINK_RELAY_LOG, format, args);
    va_end(args);
}

/* A frame made in one go is the same, byte by byte, as one made in parts. */
static void check_same(struct link_frame *one, struct link_frame *other)
{
    CHECK(one->length == other->length && !memcmp(one->data, other->data, one->length));
    link_frame_finish(one);
    link_frame_finish(other);
}

static void test_common_frames(void)
{
    struct link_frame frame, parts;
    struct link_message order = {.type = (enum link_type)999, .request = 7};
    char text[2 * LINK_WORDS_MOST];
    link_frame_start(&frame, LINK_ERROR, 7);
    link_frame_error(&frame, -ENOENT, "no such thing");
    link_frame_start(&parts, LINK_ERROR, 7);
    link_frame_u64(&parts, LINK_TAG_ERRNO, ENOENT);
    link_frame_string(&parts, LINK_TAG_TEXT, "no such thing");
    check_same(&frame, &parts);
    link_frame_unsupported(&frame, &order);
    link_frame_start(&parts, LINK_UNSUPPORTED, 7);
    link_frame_u64(&parts, LINK_TAG_TYPE, 999);
    check_same(&frame, &parts);
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    words(&frame, "%s", text);
    text[LINK_WORDS_MOST - 1] = 0;
    link_frame_start(&parts, LINK_RELAY_LOG, 0);
    link_frame_string(&parts, LINK_TAG_TEXT, text);
    check_same(&frame, &parts);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void test_descriptors(void)
{
    struct link_frame frame;
    struct link_message message;
    int pipes[2];
    CHECK_INT(pipe2(pipes, O_CLOEXEC), 0);
    link_frame_start(&frame, LINK_RELAY_STATUS, 0);
    link_frame_fd(&frame, pipes[0]);
    link_frame_fd(&frame, pipes[1]);
    CHECK_INT(link_send(pair[0], &frame), 0);
    CHECK(is_open(pipes[0])); /* borrowed */
    CHECK_INT(link_receive(pair[1], buffer, &message), 1);
    CHECK_INT((long long)message.fd_count, 2);
    int taken = message.fds[0], left = message.fds[1];
    CHECK_INT(fcntl(taken, F_GETFD), FD_CLOEXEC);
    message.fds[0] = -1;
    link_message_finish(&message);
    CHECK(is_open(taken) && !is_open(left));
    CHECK_INT(write(pipes[1], "x", 1), 1);
    CHECK_INT(read(taken, buffer, 1), 1);
    close(taken);
    close(pipes[0]);
    close(pipes[1]);
    link_frame_start(&frame, LINK_RELAY_STATUS, 0);
    for (int i = 0; i < LINK_FD_LIMIT + 1; i++) {
        link_frame_fd(&frame, 0);
    }
    CHECK_INT(link_send(pair[0], &frame), -EMSGSIZE);
}

/* Bytes as an older build sent them: the numbers must never move. */
static void test_recorded(void)
{
    static const uint8_t recorded[] = {'G', 1, 19, 0, 42, 0, 0,
        0,                                                     /* KEEPER_STATUS, request 42 */
        4, 0, 0, 0, 3, 0, 0, 0, 'l', 'a', 'b',                 /* SERVICE */
        0xf0, 0xff, 0, 0, 1, 0, 0, 0, '?',                     /* a tag of the future */
        7, 0, 0, 0, 8, 0, 0, 0, 0x39, 0x30, 0, 0, 0, 0, 0, 0}; /* PID 12345 */
    struct link_message message;
    char text[8];
    CHECK_INT(link_parse(recorded, sizeof recorded, &message), 0);
    CHECK_INT(message.type, LINK_KEEPER_STATUS);
    CHECK_INT(message.request, 42);
    CHECK(link_find_string(&message, LINK_TAG_SERVICE, 0, text, sizeof text));
    CHECK_STRING(text, "lab");
    CHECK_INT((long long)link_u64(&message, LINK_TAG_PID, 0), 12345);
    for (size_t length = 0; length < sizeof recorded; length++) {
        /* Cut between fields it is a shorter message, anywhere else malformed. */
        bool between = length == 8 || length == 19 || length == 28;
        CHECK_INT(link_parse(recorded, length, &message), between ? 0 : -EBADMSG);
    }
    uint8_t changed[sizeof recorded];
    memcpy(changed, recorded, sizeof changed);
    changed[15] = 0xff; /* a length of almost 4 GiB */
    CHECK_INT(link_parse(changed, sizeof changed, &message), -EBADMSG);
    memcpy(changed, recorded, sizeof changed);
    changed[0] = 'g';
    CHECK_INT(link_parse(changed, sizeof changed, &message), -EBADMSG);
}

static void test_broken(void)
{
    struct link_frame frame;
    struct link_message message;
    CHECK_INT(link_receive(pair[1], buffer, &message), -EAGAIN);
    CHECK_INT(send(pair[0], "garbage", 7, 0), 7);
    CHECK_INT(link_receive(pair[1], buffer, &message), -EBADMSG);
    CHECK_INT(link_send_empty(pair[0], LINK_HELLO, 9), 0);
    CHECK_INT(link_receive(pair[1], buffer, &message), 1);
    CHECK(message.type == LINK_HELLO && message.request == 9 && !message.length);
    link_message_finish(&message);
    uint8_t *large = calloc(1, LINK_FRAME_LIMIT);
    link_frame_start(&frame, LINK_KEEPER_START, 1);
    link_frame_bytes(&frame, LINK_TAG_TEXT, large, LINK_FRAME_LIMIT - 16);
    CHECK_INT(frame.failed, 0);
    CHECK_INT((long long)frame.length, LINK_FRAME_LIMIT);
    link_frame_u64(&frame, LINK_TAG_PID, 1); /* one too many: told by sending, once */
    CHECK_INT(link_send(pair[0], &frame), -EMSGSIZE);
    free(large);
    int code = 0;
    while (!code) { /* a peer that does not read */
        code = link_send_empty(pair[0], LINK_HELLO, 1);
    }
    CHECK_INT(code, -EAGAIN);
    close(pair[0]);
    while ((code = link_receive(pair[1], buffer, &message)) == 1) {
        link_message_finish(&message);
    }
    CHECK_INT(code, 0);
    CHECK_INT(link_send_empty(pair[1], LINK_HELLO, 1), -EPIPE);
    close(pair[1]);
}

int main(void)
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair)) {
        perror("socketpair");
        return 1;
    }
    test_round_trip();
    test_common_frames();
    test_descriptors();
    test_recorded();
    test_broken();
    return check_result();
}
