/* The site's limit on a hop's age: said in time, then carried out. */
#include "common/clock.h"
#include "daemon/core/timer.h"
#include "daemon/remote/hop_private.h"

static const int64_t warnings_ms[] = {15 * 60000, 60000}; /* before the end */
enum { WARNINGS = sizeof warnings_ms / sizeof *warnings_ms };

int64_t hop_expires_us(const struct hop *hop)
{
    bool open = hop->machine.state == HOP_UP || hop->machine.state == HOP_DEGRADED;
    return open && hop->config->max_age_ms && hop->authenticated_us
               ? hop->authenticated_us + hop->config->max_age_ms * 1000
               : 0;
}

static void on_time(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct hop *hop = argument;
    int64_t left_ms = (hop_expires_us(hop) - clock_utc_us()) / 1000;
    char words[32];
    if (left_ms <= 0) {
        tunnel_client_close(
            hop, LINK_CAUSE_POLICY, "the site's limit on a hop's age was reached");
        return;
    }
    duration_format(left_ms, words, sizeof words);
    hop_note(hop, "expires", "the site's limit on its age ends this hop in %s", words);
    hop->expiry_told++;
    expiry_arm(hop);
}

void expiry_arm(struct hop *hop)
{
    int64_t end_us = hop_expires_us(hop);
    timer_stop(&hop->expiry);
    if (!end_us) {
        hop->expiry_told = 0;
        return;
    }
    int64_t left_ms = (end_us - clock_utc_us()) / 1000, wait_ms = left_ms;
    /* Warnings whose time is past already are not given late. */
    while (hop->expiry_told < WARNINGS && left_ms < warnings_ms[hop->expiry_told]) {
        hop->expiry_told++;
    }
    if (hop->expiry_told < WARNINGS) {
        wait_ms = left_ms - warnings_ms[hop->expiry_told];
    }
    wait_ms = wait_ms > 0 ? wait_ms + 1 : 1;
    timer_start(&hop->expiry, hop->remote->manager->base, wait_ms, on_time, hop);
}
