/* The ways to targets: for each socket on the server one socket of ssh here, added over the
 * control socket without a session. The least used makes room. Used by openssh_clients.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "daemon/tunnel/openssh_private.h"
#include "daemon/tunnel/prompt.h"
#include "daemon/tunnel/wire.h"

static void settle(struct openssh *openssh, struct target *target, bool good, struct wire *wire)
{
    size_t length;
    char why[200] = "ssh did not add the way";
    if (good) {
        target->state = TARGET_READY;
        openssh_clients_target_ready(openssh, target);
        return;
    }
    const char *text = (const char *)wire_string(wire, &length);
    if (text) {
        char *words = prompt_line(text, length, 150);
        snprintf(why, sizeof why, "ssh did not add the way: %s", words ? words : "");
        free(words);
    }
    target->state = TARGET_FREE;
    openssh_clients_target_failed(openssh, target, why);
}

static void on_packet(void *context, const uint8_t *bytes, size_t length)
{
    struct openssh *openssh = context;
    struct wire wire = {bytes, length, false};
    int type = (int)wire_u32(&wire);
    uint32_t request = wire_u32(&wire);
    for (int i = 0; i < TARGETS_MOST && !wire.bad; i++) {
        struct target *target = &openssh->targets[i];
        if (target->state == TARGET_ASKED && target->request == request) {
            settle(openssh, target, type == MUX_OK, &wire);
            return;
        }
    }
}

static void on_ready(void *context)
{
    struct openssh *openssh = context;
    openssh->forwards_ready = true;
    openssh_joined(openssh);
}

static void on_closed(void *context)
{
    struct openssh *openssh = context;
    openssh_control_closed(openssh, &openssh->forwards, "forwards");
}

int openssh_forward_start(struct openssh *openssh)
{
    static const struct mux_calls calls = {on_packet, on_ready, on_closed};
    return openssh_join_control(openssh, &calls, &openssh->forwards);
}

static int order(struct openssh *openssh, struct target *target, uint32_t type)
{
    struct mux_packet packet = {.length = 0};
    target->request = ++openssh->requests;
    mux_put(&packet, type);
    mux_put(&packet, target->request);
    mux_put(&packet, MUX_LOCAL);
    mux_put_string(&packet, target->listen);
    mux_put(&packet, (uint32_t)MUX_STREAM_PORT);
    mux_put_string(&packet, target->path);
    mux_put(&packet, (uint32_t)MUX_STREAM_PORT);
    return openssh->forwards ? mux_send(openssh->forwards, &packet) : -ENOTCONN;
}

void openssh_forward_forget(struct openssh *openssh, struct target *target)
{
    char path[64];
    if (target->state == TARGET_READY) {
        order(openssh, target, MUX_CLOSE_FORWARD);
        openssh_folder_path(openssh, target->name, path);
        unlink(path);
    }
    target->state = TARGET_FREE;
}

static struct target *choose(struct openssh *openssh)
{
    struct target *oldest = NULL;
    for (int i = 0; i < TARGETS_MOST; i++) {
        struct target *target = &openssh->targets[i];
        if (target->state == TARGET_FREE) {
            return target;
        }
        if (target->state == TARGET_READY && (!oldest || target->used_ms < oldest->used_ms)) {
            oldest = target;
        }
    }
    if (oldest) {
        openssh_forward_forget(openssh, oldest);
    }
    return oldest;
}

/* ssh's folder is its working directory, so that no path is too long; one that was made again
 * is not. */
static int name_socket(struct openssh *openssh, struct target *target, struct error *err)
{
    int code = openssh_folder_keep(openssh, err);
    if (code) {
        return code;
    }
    snprintf(target->name, sizeof target->name, "f%u", openssh->names++);
    int length = snprintf(target->listen, sizeof target->listen, "%s%s%s",
        openssh->remade ? openssh->folder : "", openssh->remade ? "/" : "", target->name);
    return length < (int)sizeof target->listen
               ? 0
               : error_set(err, -ENAMETOOLONG,
                     "the folder of ssh's sockets was deleted, and its path is too long for "
                     "ssh "
                     "to use it again; run: gearsctl login %s --force",
                     openssh->tunnel->cluster);
}

struct target *openssh_forward_get(struct openssh *openssh, const char *path, struct error *err)
{
    for (int i = 0; i < TARGETS_MOST; i++) {
        struct target *target = &openssh->targets[i];
        if (target->state != TARGET_FREE && !strcmp(target->path, path)) {
            target->used_ms = clock_monotonic_ms();
            return target;
        }
    }
    struct target *target = choose(openssh);
    if (target) {
        *target = (struct target){.used_ms = clock_monotonic_ms()};
        snprintf(target->path, sizeof target->path, "%s", path);
    }
    if (target && name_socket(openssh, target, err)) {
        return NULL;
    }
    if (!target || order(openssh, target, MUX_OPEN_FORWARD)) {
        error_set(err, -EAGAIN, "ssh takes no more ways to targets now");
        return NULL;
    }
    target->state = TARGET_ASKED;
    return target;
}
