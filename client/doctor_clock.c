/* doctor's checks of clocks: this host's beside its own past, and beside what other hosts of
 * the home wrote. Only what lies in the future says anything: nobody can have written it. */
#include <dirent.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/doctor.h"
#include "common/clock.h"
#include "common/record.h"

enum { YEAR_LEAST = 2026, BACK_MOST_S = 60, AHEAD_MOST_S = 5, FILES_MOST = 256 };

/* When gearsd's newest segment was begun: segments are named by the microsecond. 0: none. */
static int64_t newest_segment_us(const struct home *home)
{
    char path[PATH_MAX];
    glob_t found;
    if (home_path(home, path, "log", "gearsd/*.log") || glob(path, 0, NULL, &found)) {
        return 0;
    }
    const char *name = strrchr(found.gl_pathv[found.gl_pathc - 1], '/') + 1;
    int64_t begun = strtoll(name, NULL, 10);
    globfree(&found);
    return begun;
}

void check_clock(struct doctor *doctor)
{
    time_t now = time(NULL);
    struct tm parts;
    gmtime_r(&now, &parts);
    if (parts.tm_year + 1900 < YEAR_LEAST) {
        doctor_find(doctor, "tell your site: this host's clock is wrong",
            "this host believes it is the year %d", parts.tm_year + 1900);
    }
    long long ahead = newest_segment_us(&doctor->cli->home) / 1000000 - (long long)now;
    if (ahead > BACK_MOST_S) {
        doctor_find(doctor, "tell your site: this host's clock went back",
            "gearsd's log begins %lld s in the future", ahead);
    }
}

static int64_t latest_in(const char *path, int64_t latest)
{
    static const char *const keys[] = {"at", "since", "authenticated_at", "exit.at"};
    struct record *record = NULL;
    if (record_load(path, &record, NULL)) {
        return latest;
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        int64_t at = record_integer(record, keys[i], 0);
        latest = at > latest ? at : latest;
    }
    record_destroy(record);
    return latest;
}

/* The latest time, in microseconds, that gearsd, its keepers and tunnels wrote down there. */
static int64_t latest_of(const struct home *there)
{
    static const char *const patterns[] = {"hop/*.rec", "hop/*.end", "exit/*.rec", "cluster"};
    char pattern[PATH_MAX];
    int64_t latest = newest_segment_us(there);
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        glob_t found;
        if (home_path(there, pattern, "state", "%s", patterns[i]) ||
            glob(pattern, 0, NULL, &found)) {
            continue;
        }
        for (size_t k = 0; k < found.gl_pathc && k < FILES_MOST; k++) {
            latest = latest_in(found.gl_pathv[k], latest);
        }
        globfree(&found);
    }
    return latest;
}

void check_other_clocks(struct doctor *doctor)
{
    struct home there = doctor->cli->home;
    char folder[PATH_MAX], remedy[200], words[32];
    snprintf(folder, sizeof folder, "%s/state", there.root);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (!doctor_is_host(entry->d_name) || !strcmp(entry->d_name, doctor->cli->home.host)) {
            continue;
        }
        snprintf(there.host, sizeof there.host, "%s", entry->d_name);
        int64_t ahead_ms = (latest_of(&there) - clock_utc_us()) / 1000;
        if (ahead_ms > AHEAD_MOST_S * 1000) {
            duration_format(ahead_ms, words, sizeof words);
            snprintf(remedy, sizeof remedy,
                "tell your site: the clock of %s or of %s is wrong; compare: date -u",
                there.host, doctor->cli->home.host);
            doctor_find(doctor, remedy,
                "what %s wrote down is %s in the future of this host's clock", there.host,
                words);
        }
    }
    if (dir) {
        closedir(dir);
    }
}
