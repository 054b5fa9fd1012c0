/* Questions on /dev/tty, read without stdio: no buffer keeps what was typed. */
#include "client/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "client/watch.h"
#include "common/text.h"

int terminal_open(struct terminal *terminal, struct error *err)
{
    terminal->unseen = false;
    terminal->fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (terminal->fd < 0) {
        return error_errno(err, -errno, "/dev/tty");
    }
    if (tcgetattr(terminal->fd, &terminal->before)) {
        int code = error_errno(err, -errno, "/dev/tty");
        close(terminal->fd);
        terminal->fd = -1;
        return code;
    }
    watch_set_terminal(&terminal->before);
    return 0;
}

void terminal_close(struct terminal *terminal)
{
    if (terminal->fd >= 0) {
        tcsetattr(terminal->fd, terminal->unseen ? TCSAFLUSH : TCSANOW, &terminal->before);
        watch_set_terminal(NULL);
        close(terminal->fd);
        terminal->fd = -1;
    }
}

static void write_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = write(fd, bytes, length);
        if (n < 0 && errno != EINTR) {
            return;
        }
        bytes += n > 0 ? n : 0;
        length -= n > 0 ? (size_t)n : 0;
    }
}

void terminal_print(const struct terminal *terminal, const char *text)
{
    char visible[4096];
    while (*text) {
        size_t length = strcspn(text, "\n\t");
        size_t part = length < sizeof visible / 5 ? length : sizeof visible / 5;
        visible_format(text, part, visible, sizeof visible);
        write_all(terminal->fd, visible, strlen(visible));
        text += part;
        if (part == length && *text) {
            write_all(terminal->fd, text++, 1);
        }
    }
}

void terminal_set_echo(struct terminal *terminal, bool echo)
{
    struct termios mode = terminal->before;
    terminal->unseen = !echo;
    mode.c_lflag |= ICANON | ISIG | ECHO;
    if (!echo) {
        mode.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
    }
    tcsetattr(terminal->fd, TCSAFLUSH, &mode);
}

void terminal_set_keys(const struct terminal *terminal)
{
    struct termios mode = terminal->before;
    mode.c_lflag &= ~(tcflag_t)(ECHO | ICANON);
    mode.c_lflag |= ISIG;
    mode.c_cc[VMIN] = 1;
    mode.c_cc[VTIME] = 0;
    tcsetattr(terminal->fd, TCSANOW, &mode);
}

/* The kernel gives a line in parts if it must; the end of one that is too long is dropped. */
static int take_line(int fd, char *out, size_t size)
{
    ssize_t n = read(fd, out, size - 1);
    if (n <= 0) {
        return n == 0 || errno != EINTR ? -ENODATA : -EINTR;
    }
    out[n] = 0;
    if (out[n - 1] == '\n') {
        out[n - 1] = 0;
        return 0;
    }
    if ((size_t)n < size - 1) {
        return 0; /* ^D behind words ends them too */
    }
    char rest[256];
    bool ended = false, longer = false;
    while (!ended && (n = read(fd, rest, sizeof rest)) > 0) {
        ended = rest[n - 1] == '\n';
        longer = longer || n > 1 || !ended;
    }
    explicit_bzero(rest, sizeof rest);
    if (longer) {
        explicit_bzero(out, size);
    }
    return longer ? -EMSGSIZE : 0;
}

int terminal_read_line(const struct terminal *terminal, char *out, size_t size, int other)
{
    for (;;) {
        struct pollfd items[2] = {
            {.fd = terminal->fd, .events = POLLIN}, {.fd = other, .events = POLLIN}};
        if (poll(items, 2, -1) < 0) {
            continue;
        }
        if (items[0].revents & (POLLIN | POLLHUP | POLLERR)) {
            int code = take_line(terminal->fd, out, size);
            if (code != -EINTR) {
                return code;
            }
        } else if (items[1].revents) {
            return 1;
        }
    }
}

int terminal_ask_secret(const char *question, char *out, size_t size, struct error *err)
{
    struct terminal terminal;
    int code = terminal_open(&terminal, err);
    if (code) {
        return code;
    }
    terminal_set_echo(&terminal, false);
    terminal_print(&terminal, question);
    code = terminal_read_line(&terminal, out, size, -1);
    terminal_print(&terminal, "\n");
    terminal_close(&terminal);
    return code == -EMSGSIZE ? error_set(err, code, "that is too long")
           : code            ? error_set(err, code, "no answer was given")
                             : 0;
}
