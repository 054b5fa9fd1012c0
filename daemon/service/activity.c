/* When a service was last used, as its own API tells. Called by health.c. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/service/manager_private.h"

static const char KEY[] = "\"last_activity\"";

/* Up to six digits behind the point; the rest is cut. */
static int64_t parse_fraction(const char *text)
{
    int64_t value = 0;
    if (*text != '.') {
        return 0;
    }
    text++;
    for (int i = 0; i < 6; i++) {
        value *= 10;
        if (*text >= '0' && *text <= '9') {
            value += *text++ - '0';
        }
    }
    return value;
}

int64_t activity_parse(const char *body)
{
    struct tm tm = {0};
    int end = 0;
    const char *at = body ? strstr(body, KEY) : NULL;
    if (!at || sscanf(at + sizeof KEY - 1, " : \"%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year,
                   &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &end) != 6) {
        return 0;
    }
    at += sizeof KEY - 1 + (size_t)end;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    int64_t seconds = (int64_t)timegm(&tm);
    return seconds > 0 ? seconds * 1000000 + parse_fraction(at) : 0;
}
