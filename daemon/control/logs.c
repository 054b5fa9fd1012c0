/* The Logs method: the newest lines of a service's segments, and what comes after. All file
 * access is on a thread; following is an inotify event on the log's folder. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log_line.h"
#include "common/segments.h"
#include "daemon/control/control_private.h"
#include "proto/varlink_depth.h"

enum {
    LINES_DEFAULT = 100,
    LINES_MOST = 10000,
    TAIL_BYTES = 1 << 20,
    REPLY_BYTES = VARLINK_QUEUE_LIMIT / 2, /* of one reply's lines, as JSON */
    LINE_BYTES = 64                        /* of a line's object without its text */
};

struct tail {
    struct control *control;
    struct varlink_call *call; /* NULL: the client left */
    char folder[PATH_MAX];
    int64_t lines, since;
    bool follow, truncated, reading, again;
    segment_name segment; /* the newest one read */
    off_t offset;         /* read so far in it */
    char *text;           /* what the last job read */
    size_t length;
    int inotify;
    struct event *event;
};

static void destroy(struct tail *tail)
{
    if (tail->event) {
        event_free(tail->event);
    }
    if (tail->inotify >= 0) {
        close(tail->inotify);
    }
    free(tail->text);
    free(tail);
}

static void on_close(struct varlink_call *call, void *context)
{
    (void)call;
    struct tail *tail = context;
    tail->call = NULL;
    if (!tail->reading) {
        destroy(tail);
    }
}

/* Append [from, end) of a segment, at most TAIL_BYTES of it; whole lines only. */
static void read_segment(struct tail *tail, const char *name, off_t from, struct text *out)
{
    char path[PATH_MAX + 64];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", tail->folder, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &st)) {
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    bool cut = st.st_size - from > TAIL_BYTES;
    if (cut) {
        from = st.st_size - TAIL_BYTES;
        tail->truncated = true;
    }
    size_t length = (size_t)(st.st_size > from ? st.st_size - from : 0);
    char *buffer = malloc(length + 1);
    ssize_t n = buffer ? pread(fd, buffer, length, from) : 0;
    close(fd);
    size_t used = n > 0 ? (size_t)n : 0, start = 0;
    while (used && buffer[used - 1] != '\n') {
        used--;
    }
    if (cut) {
        while (start < used && buffer[start++] != '\n') {
        }
    }
    text_append(out, buffer ? buffer + start : "", used - (start < used ? start : used));
    free(buffer);
    snprintf(tail->segment, sizeof tail->segment, "%s", name);
    tail->offset = from + (off_t)used;
}

/* Before anything is read, so that nothing falls between. A service that was just started for
 * the first time may have no folder yet: its keeper finds this one. */
static void watch(const struct tail *tail)
{
    if (inotify_add_watch(tail->inotify, tail->folder, IN_MODIFY | IN_CREATE) < 0 &&
        errno == ENOENT && !mkdir(tail->folder, 0700)) {
        inotify_add_watch(tail->inotify, tail->folder, IN_MODIFY | IN_CREATE);
    }
}

static int run_read(void *context, struct error *err)
{
    (void)err;
    struct tail *tail = context;
    struct text out = {0};
    bool fresh = !tail->segment[0];
    if (tail->follow && tail->inotify >= 0 && fresh) {
        watch(tail);
    }
    size_t count, first = 0;
    segment_name *names = segments_list(tail->folder, &count);
    if (fresh && count > 2) {
        first = count - 2; /* the newest and the one before hold more than TAIL_BYTES lines */
        tail->truncated = true;
    }
    segment_name last;
    memcpy(last, tail->segment, sizeof last);
    for (size_t i = first; i < count; i++) {
        int order = fresh ? 1 : strcmp(names[i], last);
        if (order >= 0) {
            read_segment(tail, names[i], order == 0 ? tail->offset : 0, &out);
        }
    }
    free(names);
    tail->length = out.length;
    tail->text = text_take(&out);
    return 0;
}

/* An object, or NULL for a line that is too old or not ours. */
static cJSON *view_line(const char *bytes, size_t length, int64_t since)
{
    struct log_line line;
    if (!log_line_parse(bytes, length, &line) || line.at_us < since) {
        return NULL;
    }
    char *text = malloc(line.length + 1);
    cJSON *object = text ? cJSON_CreateObject() : NULL;
    if (object) { /* a program may print anything */
        memcpy(text, line.text, line.length);
        text[line.length] = 0;
        varlink_text_repair(text, line.length);
        varlink_add_integer(object, "at", line.at_us);
        cJSON_AddStringToObject(object, "stream", (char[]){line.mark, 0});
        cJSON_AddStringToObject(object, "text", text);
    }
    free(text);
    return object;
}

/* How long a line may get as JSON: a control character becomes \uXXXX. */
static size_t json_cost(const char *line, size_t length)
{
    size_t cost = LINE_BYTES + length;
    for (size_t i = 0; i < length; i++) {
        cost += (unsigned char)line[i] < ' ' ? 5 : line[i] == '"' || line[i] == '\\';
    }
    return cost;
}

/* Back over the newest lines, as many as are wanted and fit in one reply. */
static const char *find_first_line(const struct tail *tail, int64_t most)
{
    const char *at = tail->text ? tail->text + tail->length : NULL;
    size_t cost = 0;
    for (int64_t count = 0; at && at > tail->text && count < most; count++) {
        const char *line = at - 1;
        while (line > tail->text && line[-1] != '\n') {
            line--;
        }
        cost += json_cost(line, (size_t)(at - line));
        if (cost > REPLY_BYTES) {
            break;
        }
        at = line;
    }
    return at;
}

static cJSON *view_lines(struct tail *tail, int64_t most)
{
    cJSON *object = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(object, "lines");
    const char *end = tail->text ? tail->text + tail->length : NULL;
    const char *at = find_first_line(tail, most);
    if (at && at > tail->text) {
        tail->truncated = true;
    }
    while (at && at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        cJSON *line = view_line(at, (size_t)(newline - at), tail->since);
        if (line) {
            cJSON_AddItemToArray(list, line);
        }
        at = newline + 1;
    }
    cJSON_AddBoolToObject(object, "truncated", tail->truncated);
    return object;
}

static void read_more(struct tail *tail);

static void on_read(void *context, int code, const struct error *err)
{
    (void)code;
    (void)err;
    struct tail *tail = context;
    tail->reading = false;
    if (!tail->call) {
        destroy(tail);
        return;
    }
    cJSON *object = view_lines(tail, tail->lines);
    bool empty = !cJSON_GetArraySize(cJSON_GetObjectItem(object, "lines"));
    free(tail->text);
    tail->text = NULL;
    if (!tail->follow) {
        struct varlink_call *call = tail->call;
        varlink_call_on_close(call, NULL, NULL);
        destroy(tail);
        varlink_call_reply(call, object);
        return;
    }
    bool first = tail->lines != LINES_MOST + 1;
    tail->lines = LINES_MOST + 1; /* what follows is told whole */
    if (empty && !first) {
        cJSON_Delete(object);
    } else if (varlink_call_continue(tail->call, object)) {
        return; /* on_close has run */
    }
    if (tail->again) {
        read_more(tail);
    }
}

static void read_more(struct tail *tail)
{
    if (tail->reading) {
        tail->again = true;
        return;
    }
    tail->again = false;
    tail->truncated = false;
    tail->reading = !worker_submit(tail->control->manager->reader, run_read, on_read, tail);
}

static void on_inotify(evutil_socket_t fd, short what, void *argument)
{
    (void)what;
    char buffer[4096];
    while (read((int)fd, buffer, sizeof buffer) > 0) {
    }
    read_more(argument);
}

void method_logs(struct varlink_call *call, const cJSON *parameters, void *context)
{
    struct control *control = context;
    const char *name = call_string(parameters, "name");
    if (strcmp(name, "gearsd") != 0 && !call_service(control, call, parameters)) {
        return;
    }
    struct tail *tail = calloc(1, sizeof *tail);
    if (!tail || home_path(&control->manager->home, tail->folder, "log", "%s", name)) {
        free(tail);
        reply_failed(call, name, "gearsd is out of memory");
        return;
    }
    tail->control = control;
    tail->call = call;
    tail->since = call_integer(parameters, "since", 0);
    tail->lines = call_integer(parameters, "lines", LINES_DEFAULT);
    tail->lines = tail->lines < 0 ? 0 : tail->lines > LINES_MOST ? LINES_MOST : tail->lines;
    tail->follow = call_bool(parameters, "follow") && varlink_call_more(call);
    tail->inotify = tail->follow ? inotify_init1(IN_CLOEXEC | IN_NONBLOCK) : -1;
    if (tail->inotify >= 0) {
        tail->event = event_new(
            control->manager->base, tail->inotify, EV_READ | EV_PERSIST, on_inotify, tail);
        event_add(tail->event, NULL);
    }
    varlink_call_on_close(call, on_close, tail);
    read_more(tail);
}
