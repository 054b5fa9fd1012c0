/* Clock readings and their formats. */
#include "common/clock.h"

#include <time.h>

static int64_t read_clock(clockid_t id, int64_t per_second)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * per_second + now.tv_nsec / (1000000000 / per_second);
}

int64_t clock_monotonic_ms(void)
{
    return read_clock(CLOCK_MONOTONIC, 1000);
}

int64_t clock_boot_ms(void)
{
    return read_clock(CLOCK_BOOTTIME, 1000);
}

int64_t clock_utc_us(void)
{
    return read_clock(CLOCK_REALTIME, 1000000);
}

void clock_format_utc(int64_t utc_us, char *buffer, size_t size)
{
    time_t seconds = (time_t)(utc_us / 1000000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    if (!strftime(buffer, size, "%Y-%m-%dT%H:%M:%SZ", &tm) && size) {
        buffer[0] = 0;
    }
}

void clock_format_local(int64_t utc_us, char *buffer, size_t size)
{
    time_t seconds = (time_t)(utc_us / 1000000);
    struct tm tm;
    localtime_r(&seconds, &tm);
    if (!strftime(buffer, size, "%Y-%m-%d %H:%M:%S", &tm) && size) {
        buffer[0] = 0;
    }
}
