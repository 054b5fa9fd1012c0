/* The rule on silence, with half-hours and suspends that nobody has to wait for. */
#include "daemon/tunnel/keepalive.h"
#include "tests/unit/check.h"

enum { START = 1000000, INTERVAL = 30000, COUNT = 3, DEAD = 1800000, APART = 5000 };

static struct keepalive k;

static void begin(int64_t dead_after)
{
    keepalive_init(&k, INTERVAL, COUNT, dead_after, START, START + APART);
}

static unsigned at(int64_t ms)
{
    return keepalive_step(&k, START + ms, START + ms + APART);
}

static int64_t next(void)
{
    int64_t ms = keepalive_next_ms(&k);
    return ms == INT64_MAX ? -1 : ms - START;
}

static void asks_when_idle(void)
{
    begin(DEAD);
    CHECK_INT(next(), INTERVAL);
    CHECK_INT(at(INTERVAL - 1), 0);
    CHECK_INT(at(INTERVAL), KEEPALIVE_ASK);
    CHECK_INT(next(), INTERVAL * COUNT);
    CHECK_INT(at(INTERVAL + 1), 0);
    CHECK(!keepalive_heard(&k, START + INTERVAL + 40));
    CHECK_INT(next(), INTERVAL * 2 + 40);
    CHECK_INT(at(INTERVAL * 2 + 40), KEEPALIVE_ASK);
}

static void degrades_and_recovers(void)
{
    begin(DEAD);
    CHECK_INT(at(INTERVAL), KEEPALIVE_ASK);
    CHECK_INT(at(INTERVAL * COUNT - 1), 0);
    CHECK_INT(at(INTERVAL * COUNT), KEEPALIVE_DEGRADE);
    CHECK_INT(next(), INTERVAL * COUNT + DEAD);
    CHECK_INT(at(INTERVAL * COUNT + DEAD - 1), 0);
    CHECK(keepalive_heard(&k, START + INTERVAL * COUNT + DEAD - 1));
    CHECK_INT(next(), INTERVAL * (COUNT + 1) + DEAD - 1);
    CHECK(!keepalive_heard(&k, START + INTERVAL * COUNT + DEAD));
}

static void gives_up(void)
{
    begin(DEAD);
    CHECK_INT(at(INTERVAL * COUNT), KEEPALIVE_DEGRADE | KEEPALIVE_ASK);
    CHECK_INT(at(INTERVAL * COUNT + DEAD), KEEPALIVE_GIVE_UP);
    begin(0);
    CHECK_INT(at(INTERVAL * COUNT), KEEPALIVE_DEGRADE | KEEPALIVE_ASK);
    CHECK_INT(next(), -1);
    CHECK_INT(at((int64_t)DEAD * 1000), 0);
}

/* MONOTONIC stands still in a suspend, BOOTTIME does not. */
static void a_suspend_is_no_silence(void)
{
    int64_t hours = 8 * 3600 * 1000;
    begin(DEAD);
    CHECK_INT(at(10000), 0);
    CHECK_INT(keepalive_step(&k, START + 10001, START + 10001 + APART + hours), KEEPALIVE_ASK);
    CHECK_INT(next(), 10001 + INTERVAL * COUNT);
    CHECK_INT(keepalive_step(&k, START + 10002, START + 10002 + APART + hours), 0);
    CHECK_INT(keepalive_step(&k, START + 10001 + INTERVAL * COUNT,
                  START + 10001 + INTERVAL * COUNT + APART + hours),
        KEEPALIVE_DEGRADE);
}

static void one_question_at_a_time(void)
{
    begin(DEAD);
    CHECK(!keepalive_doubts(&k, START + 1999));
    CHECK(keepalive_doubts(&k, START + 2000));
    keepalive_asked(&k);
    CHECK(!keepalive_need(&k, START + 2001) && k.needed_ms);
    k.needed_ms = 0;
    CHECK_INT(at(INTERVAL), 0);
    CHECK_INT(at(INTERVAL * COUNT), KEEPALIVE_DEGRADE);
}

/* With the default half a minute an idle hop is asked seldom; who needs it hears soon. */
static void a_need_is_answered_soon(void)
{
    begin(DEAD);
    CHECK(keepalive_need(&k, START + 5000));
    CHECK(!keepalive_need(&k, START + 6000));
    CHECK_INT(next(), 5000 + 2000 * COUNT);
    CHECK_INT(at(5000 + 2000 * COUNT - 1), 0);
    CHECK_INT(at(5000 + 2000 * COUNT), KEEPALIVE_DEGRADE);
    CHECK(keepalive_heard(&k, START + 20000));
    CHECK_INT(next(), 20000 + INTERVAL);
    /* An answer in time leaves nothing behind. */
    CHECK(keepalive_need(&k, START + 21000));
    CHECK(!keepalive_heard(&k, START + 21001));
    CHECK_INT(at(21000 + 2000 * COUNT), 0);
}

/* Nobody can be asked: that silence tells nothing, and what was heard last stays true. */
static void a_pause_is_no_silence(void)
{
    begin(DEAD);
    CHECK(keepalive_need(&k, START + 1000));
    keepalive_pause(&k, START + INTERVAL * COUNT * 2);
    CHECK_INT(at(INTERVAL * COUNT * 2), 0);
    CHECK_INT(k.heard_ms, START);
    CHECK_INT(next(), INTERVAL * COUNT * 2 + 2000 * COUNT);
    CHECK_INT(at(INTERVAL * COUNT * 2 + 2000 * COUNT), KEEPALIVE_DEGRADE | KEEPALIVE_ASK);
}

int main(void)
{
    asks_when_idle();
    degrades_and_recovers();
    gives_up();
    a_suspend_is_no_silence();
    one_question_at_a_time();
    a_need_is_answered_soon();
    a_pause_is_no_silence();
    return check_result();
}
