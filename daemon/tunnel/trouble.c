/* Clients in trouble; opens.c, clients.c, openssh_clients.c and feed.c decide who is. */
#include "daemon/tunnel/trouble.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"

void trouble_tell(
    struct tunnel *tunnel, const char *target, const char *service, int code, const char *why)
{
    struct link_frame frame;
    link_frame_start(&frame, LINK_TUNNEL_TROUBLE, 0);
    link_frame_string(&frame, LINK_TAG_TARGET_PATH, target);
    link_frame_string(&frame, LINK_TAG_SERVICE, service);
    link_frame_u64(&frame, LINK_TAG_ERRNO, (uint64_t)code);
    link_frame_string(&frame, LINK_TAG_TEXT, why);
    control_send(tunnel, &frame);
    TUNNEL_COUNT(tunnel, failed, 1);
}

int trouble_explain(const char *target, const char *words, char *why, size_t size)
{
    if (strstr(words, "prohibited")) {
        snprintf(why, size, "the server forbids to reach %s (%s)", target, words);
        return EACCES;
    }
    if (strstr(words, "connect failed")) {
        snprintf(why, size,
            "the server did not reach %s: nobody listens there, or it is forbidden (%s)",
            target, words);
        return ECONNREFUSED;
    }
    snprintf(why, size, "the server did not open %s (%s)", target, words);
    return EIO;
}

void trouble_page(struct trouble_page *made, const char *service, const char *why)
{
    snprintf(made->cause, sizeof made->cause, "not reached: %s", why);
    snprintf(made->command, sizeof made->command, "gearsctl status %s", service);
    made->page = (struct page503){.name = service,
        .cause = made->cause,
        .command = made->command,
        .since_us = clock_utc_us()};
}
