/* What gearsd asks and hears. Who said hello last is the controller. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "build_id.h"
#include "daemon/keeper/keeper.h"

static void add_exit(struct keeper *keeper, struct link_frame *frame)
{
    if (!keeper->exited && keeper->phase != PHASE_EMPTY) {
        return;
    }
    if (keeper->exited && WIFEXITED(keeper->status)) {
        link_frame_u64(frame, LINK_TAG_EXIT_CODE, (uint64_t)WEXITSTATUS(keeper->status));
    } else if (keeper->exited) {
        link_frame_u64(frame, LINK_TAG_EXIT_SIGNAL, (uint64_t)WTERMSIG(keeper->status));
    }
    link_frame_u64(frame, LINK_TAG_EXIT_AT, (uint64_t)keeper->exit_at_us);
    if (keeper->lost[0]) {
        link_frame_string(frame, LINK_TAG_LOST, keeper->lost);
    }
    if (keeper->survivors[0]) {
        link_frame_string(frame, LINK_TAG_SURVIVORS, keeper->survivors);
    }
    if (keeper->record_trouble[0]) {
        link_frame_string(frame, LINK_TAG_TEXT, keeper->record_trouble);
    } else if (keeper->record_waits) {
        link_frame_string(frame, LINK_TAG_TEXT,
            "ended; how cannot be recorded while the state's filesystem does not answer");
    }
}

static void add_state(struct keeper *keeper, struct link_frame *frame)
{
    link_frame_string(frame, LINK_TAG_SERVICE, keeper->orders.service);
    link_frame_string(frame, LINK_TAG_NONCE, keeper->orders.nonce);
    link_frame_string(frame, LINK_TAG_BUILD, GEARS_BUILD_ID);
    link_frame_u64(frame, LINK_TAG_KEEPER_PID, (uint64_t)getpid());
    link_frame_u64(frame, LINK_TAG_PID, (uint64_t)keeper->pid);
    link_frame_u64(frame, LINK_TAG_START_TIME, keeper->start_time);
    link_frame_u64(frame, LINK_TAG_STARTED_AT, (uint64_t)keeper->started_at_us);
    link_frame_u64(frame, LINK_TAG_KEEPER_STATE,
        keeper->phase == PHASE_EMPTY && keeper->gone_told ? LINK_KEEPER_EMPTY
        : keeper->phase == PHASE_RUNNING                  ? LINK_KEEPER_RUNNING
                                                          : LINK_KEEPER_STOPPING);
    link_frame_u64(frame, LINK_TAG_READY, keeper->ready);
    link_frame_u64(frame, LINK_TAG_PAUSED, keeper->paused);
    link_frame_u64(frame, LINK_TAG_READY_AT, (uint64_t)keeper->ready_at_us);
    link_frame_u64(frame, LINK_TAG_LOG_STALLED, keeper->stalled);
}

static void drop_controller(struct keeper *keeper)
{
    if (keeper->controller >= 0) {
        close(keeper->controller);
        keeper->controller = -1;
    }
}

static void send_message(struct keeper *keeper, enum link_type type, uint32_t request)
{
    struct link_frame frame;
    if (keeper->controller < 0) {
        return;
    }
    link_frame_start(&frame, type, request);
    if (type == LINK_KEEPER_STARTED || type == LINK_KEEPER_STATUS) {
        add_state(keeper, &frame);
    }
    add_exit(keeper, &frame);
    link_frame_u64(&frame, LINK_TAG_LOG_DROPPED, keeper->dropped);
    if (type == LINK_KEEPER_LOG_STALL) {
        link_frame_u64(&frame, LINK_TAG_LOG_STALLED, keeper->stalled);
    }
    if (type == LINK_KEEPER_PAUSED) {
        link_frame_u64(&frame, LINK_TAG_PAUSED, keeper->paused);
    }
    int code = link_send(keeper->controller, &frame);
    /* EAGAIN: a gearsd that stands. What it cannot be told now it asks for when it finds the
     * connection closed; that a segment was rotated may be missed. */
    if (code == -EPIPE || code == -ECONNRESET ||
        (code == -EAGAIN && type != LINK_KEEPER_LOG_ROTATED)) {
        drop_controller(keeper);
    }
}

void control_tell(struct keeper *keeper, enum link_type type)
{
    send_message(keeper, type, 0);
}

int control_listen(struct keeper *keeper, struct error *err)
{
    const char *path = keeper->orders.link_path;
    if (keeper->door.listener >= 0 && !unix_file_look(path, &keeper->bound)) {
        return 0; /* who waits in the backlog is not sent away */
    }
    int code = link_door_listen(&keeper->door, path, err);
    if (!code) {
        unix_file_note(path, &keeper->bound);
    }
    return code;
}

void control_unlisten(struct keeper *keeper)
{
    if (keeper->orders.link_path) {
        unix_file_remove(keeper->orders.link_path, &keeper->bound);
    }
    link_door_close(&keeper->door);
}

void control_accept(struct keeper *keeper)
{
    static uint8_t buffer[LINK_FRAME_LIMIT];
    uint32_t request = 0;
    int fd = link_door_answer(&keeper->door, buffer, &request);
    if (fd >= 0) {
        drop_controller(keeper);
        keeper->controller = fd;
        send_message(keeper, LINK_KEEPER_STATUS, request);
    }
}

static void act(struct keeper *keeper, const struct link_message *message)
{
    struct link_frame frame;
    switch (message->type) {
    case LINK_HELLO:
        send_message(keeper, LINK_KEEPER_STATUS, message->request);
        break;
    case LINK_KEEPER_SIGNAL:
        if (!keeper->exited) {
            kill(keeper->pid, (int)link_u64(message, LINK_TAG_SIGNAL, 0));
        }
        break;
    case LINK_KEEPER_STOP:
        tree_stop(keeper, (int)link_u64(message, LINK_TAG_SIGNAL, SIGTERM),
            (int64_t)link_u64(message, LINK_TAG_TIMEOUT_MS, 10000));
        break;
    case LINK_KEEPER_SINCE:
        keeper->ready_at_us = (int64_t)link_u64(message, LINK_TAG_READY_AT, 0);
        break;
    case LINK_KEEPER_RELEASE:
        keeper->released = keeper->phase == PHASE_EMPTY;
        break;
    default:
        link_frame_unsupported(&frame, message);
        link_send(keeper->controller, &frame);
    }
}

void control_read(struct keeper *keeper)
{
    static uint8_t buffer[LINK_FRAME_LIMIT];
    struct link_message message;
    int code = link_receive(keeper->controller, buffer, &message);
    if (code == 1) {
        act(keeper, &message);
        link_message_finish(&message);
    } else if (code != -EAGAIN && code != -EBADMSG) {
        drop_controller(keeper);
    }
}
