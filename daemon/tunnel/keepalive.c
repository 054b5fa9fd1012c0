/* The rule on silence; silence.c has its timer and does what it says. */
#include "daemon/tunnel/keepalive.h"

/* DOUBT_MS: silence after which a new connection asks. SUSPEND_MS: the clocks part a little
 * even without a suspend. */
enum { DOUBT_MS = 2000, SUSPEND_MS = 500 };

void keepalive_init(struct keepalive *keepalive, int64_t interval_ms, int64_t count,
    int64_t dead_after_ms, int64_t now_ms, int64_t boot_ms)
{
    *keepalive = (struct keepalive){.interval_ms = interval_ms,
        .silence_ms = interval_ms * count,
        .need_ms = (interval_ms < DOUBT_MS ? interval_ms : DOUBT_MS) * count,
        .dead_after_ms = dead_after_ms,
        .heard_ms = now_ms,
        .awake_ms = now_ms,
        .slept_ms = boot_ms - now_ms};
}

bool keepalive_heard(struct keepalive *keepalive, int64_t now_ms)
{
    bool was_degraded = keepalive->degraded;
    keepalive->heard_ms = now_ms;
    keepalive->asked = keepalive->degraded = false;
    keepalive->needed_ms = 0;
    return was_degraded;
}

void keepalive_asked(struct keepalive *keepalive)
{
    keepalive->asked = true;
}

bool keepalive_need(struct keepalive *keepalive, int64_t now_ms)
{
    bool ask = !keepalive->asked;
    keepalive->asked = true;
    keepalive->needed_ms = keepalive->needed_ms ? keepalive->needed_ms : now_ms;
    return ask;
}

void keepalive_pause(struct keepalive *keepalive, int64_t now_ms)
{
    keepalive->awake_ms = now_ms;
    keepalive->asked = false;
    keepalive->needed_ms = keepalive->needed_ms ? now_ms : 0;
}

static int64_t silent_from(const struct keepalive *keepalive)
{
    return keepalive->heard_ms > keepalive->awake_ms ? keepalive->heard_ms
                                                     : keepalive->awake_ms;
}

bool keepalive_doubts(const struct keepalive *keepalive, int64_t now_ms)
{
    return now_ms - silent_from(keepalive) >= DOUBT_MS;
}

/* Whether the machine was suspended since the last step. The time did not count as silence, but
 * whoever wakes wants to know at once. */
static bool slept(struct keepalive *keepalive, int64_t now_ms, int64_t boot_ms)
{
    int64_t slept_ms = boot_ms - now_ms;
    bool did = slept_ms - keepalive->slept_ms > SUSPEND_MS;
    keepalive->slept_ms = slept_ms;
    if (did) {
        keepalive->awake_ms = now_ms;
        keepalive->needed_ms = keepalive->needed_ms ? now_ms : 0;
    }
    return did;
}

unsigned keepalive_step(struct keepalive *keepalive, int64_t now_ms, int64_t boot_ms)
{
    unsigned acts = 0;
    bool woke = slept(keepalive, now_ms, boot_ms);
    int64_t silent_ms = now_ms - silent_from(keepalive);
    bool missed = keepalive->needed_ms && now_ms - keepalive->needed_ms >= keepalive->need_ms;
    if (keepalive->degraded) {
        if (keepalive->dead_after_ms &&
            now_ms - keepalive->degraded_ms >= keepalive->dead_after_ms) {
            return KEEPALIVE_GIVE_UP;
        }
    } else if (missed || silent_ms >= keepalive->silence_ms) {
        keepalive->degraded = true;
        keepalive->degraded_ms = now_ms;
        acts |= KEEPALIVE_DEGRADE;
    }
    if (!keepalive->asked &&
        (woke || keepalive->degraded || silent_ms >= keepalive->interval_ms)) {
        keepalive->asked = true;
        acts |= KEEPALIVE_ASK;
    }
    return acts;
}

int64_t keepalive_next_ms(const struct keepalive *keepalive)
{
    if (keepalive->degraded) {
        return keepalive->dead_after_ms ? keepalive->degraded_ms + keepalive->dead_after_ms
                                        : INT64_MAX;
    }
    int64_t at = silent_from(keepalive) +
                 (keepalive->asked ? keepalive->silence_ms : keepalive->interval_ms);
    int64_t needed = keepalive->needed_ms ? keepalive->needed_ms + keepalive->need_ms : at;
    return needed < at ? needed : at;
}
