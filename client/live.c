/* Live status: redrawn when something changes, never by a timer, so times are clock times. */
#include "client/live.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client/terminal.h"
#include "client/tunnels.h"
#include "client/watcher.h"
#include "common/clock.h"

enum { LINE_MOST = 1600 };

struct live {
    const char *service, *cluster;
    struct terminal terminal;
    cJSON *tunnel, *state; /* the newest of both; NULL: nothing heard yet */
    bool plain;            /* the terminal cannot redraw a line */
    char drawn[LINE_MOST];
};

/* "14:02", with its day when that was not today. */
static void clock_of(const cJSON *object, char out[16])
{
    char then[32], now[32];
    clock_format_local((int64_t)json_number(object, "since"), then, sizeof then);
    clock_format_local(clock_utc_us(), now, sizeof now);
    bool today = !strncmp(then, now, 10);
    snprintf(out, 16, "%.*s", today ? 5 : 11, then + (today ? 11 : 5));
}

static void format_service(const struct live *live, char *out, size_t size)
{
    char since[16];
    const cJSON *health = cJSON_GetObjectItemCaseSensitive(live->state, "health");
    int connections = (int)json_number(live->state, "connections");
    if (!live->state) {
        snprintf(out, size, "%s@%s", live->service, live->cluster);
        return;
    }
    clock_of(live->state, since);
    size_t n = (size_t)snprintf(out, size, "%s@%s %s since %s", live->service, live->cluster,
        json_text(live->state, "state"), since);
    if (n < size && health && !json_bool(health, "ok") && *json_text(health, "message")) {
        n += (size_t)snprintf(out + n, size - n, " (%s: %s)", json_text(health, "layer"),
            json_text(health, "message"));
    }
    if (n < size) {
        snprintf(
            out + n, size - n, ", %d connection%s", connections, connections == 1 ? "" : "s");
    }
}

static void format_hop(const struct live *live, char *out, size_t size)
{
    char since[16], words[600];
    double rtt = json_number(live->tunnel, "rtt_ms");
    clock_of(live->tunnel, since);
    tunnel_describe(live->tunnel, words, sizeof words);
    size_t n =
        (size_t)snprintf(out, size, "hop %s since %s", json_text(live->tunnel, "state"), since);
    if (n < size && *words) {
        n += (size_t)snprintf(out + n, size - n, " (%s)", words);
    }
    if (n < size && rtt > 0 && tunnel_is_open(live->tunnel)) {
        snprintf(out + n, size - n, ", %.*f ms", rtt < 10, rtt);
    }
}

/* Not wider than the terminal: a line that wraps cannot be redrawn. What can be done stays, and
 * no character is halved. */
static void fit(const struct live *live, char *line, const char *tail)
{
    struct winsize size = {.ws_col = 0};
    size_t length = strlen(line);
    ioctl(live->terminal.fd, TIOCGWINSZ, &size);
    size_t columns = size.ws_col ? size.ws_col : 80;
    size_t most = columns > strlen(tail) + 10 ? columns - strlen(tail) - 1 : 10;
    if (length > most && !live->plain) {
        while (most && ((unsigned char)line[most] & 0xc0) == 0x80) {
            most--;
        }
        length = most;
    }
    snprintf(line + length, LINE_MOST - length, "%s", tail);
}

static void draw(struct live *live)
{
    static const char clear[] = "\r\033[K";
    char service[600], hop[800], line[LINE_MOST];
    format_service(live, service, sizeof service);
    format_hop(live, hop, sizeof hop);
    bool open = tunnel_is_open(live->tunnel);
    /* What matters comes first: the service while it can be reached, else why not. */
    snprintf(line, sizeof line, "%s | %s", open ? service : hop, open ? hop : service);
    fit(live, line, open ? " | q leaves" : " | Enter logs in, q leaves");
    if (strcmp(line, live->drawn) != 0) {
        snprintf(live->drawn, sizeof live->drawn, "%s", line);
        if (!live->plain) {
            (void)!write(live->terminal.fd, clear, sizeof clear - 1);
        }
        terminal_print(&live->terminal, line);
        terminal_print(&live->terminal, live->plain ? "\n" : "");
    }
}

static void keep(cJSON **slot, const cJSON *item)
{
    cJSON_Delete(*slot);
    *slot = cJSON_Duplicate(item, true);
}

static int on_services(void *context, const cJSON *services)
{
    struct live *live = context;
    const cJSON *service;
    cJSON_ArrayForEach(service, services)
    {
        if (!strcmp(json_text(service, "name"), live->service)) {
            keep(&live->state, service);
        }
    }
    draw(live);
    return 0;
}

static int on_tunnels(void *context, const cJSON *tunnels)
{
    struct live *live = context;
    const cJSON *tunnel;
    cJSON_ArrayForEach(tunnel, tunnels)
    {
        if (!strcmp(json_text(tunnel, "cluster"), live->cluster)) {
            keep(&live->tunnel, tunnel);
        }
    }
    draw(live);
    return 0;
}

static int on_lost(void *context, const char *cluster)
{
    (void)context;
    (void)cluster;
    return LIVE_LOST;
}

static int on_key(void *context, int fd)
{
    struct live *live = context;
    char key = 0;
    if (read(fd, &key, 1) <= 0 || key == 'q' || key == 'Q' || key == 4) {
        return LIVE_QUIT;
    }
    return (key == '\n' || key == '\r') && !tunnel_is_open(live->tunnel) ? LIVE_LOGIN : 0;
}

int live_show(struct cli *cli, const char *service, const char *cluster)
{
    const char *term = getenv("TERM");
    struct error err;
    struct live live = {
        .service = service, .cluster = cluster, .plain = !term || !strcmp(term, "dumb")};
    if (terminal_open(&live.terminal, &err)) {
        cli_say("%s", err.text);
        return EXIT_HUMAN;
    }
    terminal_set_keys(&live.terminal);
    struct watcher watcher = {.cli = cli,
        .name = service,
        .cluster = cluster,
        .keys = live.terminal.fd,
        .context = &live,
        .services = on_services,
        .tunnels = on_tunnels,
        .lost = on_lost,
        .key = on_key};
    int code = watcher_run(&watcher);
    terminal_print(&live.terminal, live.plain ? "" : "\n");
    terminal_close(&live.terminal);
    cJSON_Delete(live.tunnel);
    cJSON_Delete(live.state);
    return code;
}
