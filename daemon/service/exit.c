/* The exit record of a service, state/<host>/exit/<name>.rec: written by its keeper, read by
 * the gearsd that did not hear the end itself. */
#include <stdio.h>

#include "common/record.h"
#include "daemon/service/manager_private.h"

static void read_end(const struct record *record, struct service_exit *end)
{
    const char *number = record_find(record, "exit.signal", 0);
    const char *lost = record_find(record, "lost", 0);
    const char *survivors = record_find(record, "survivors", 0);
    int64_t code = record_integer(record, "exit.code", -1);
    end->how = EXIT_UNKNOWN;
    end->at_us = record_integer(record, "exit.at", 0);
    if (code >= 0) {
        end->how = EXIT_CODE;
        end->value = (int)code;
    } else if (number && !signal_parse(number, &end->value, NULL)) {
        end->how = EXIT_SIGNAL;
    }
    snprintf(end->lost, sizeof end->lost, "%s", lost ? lost : "");
    if (survivors && *survivors) {
        snprintf(end->note, sizeof end->note, "could not be killed: %s", survivors);
    }
}

bool exit_load(
    const struct home *home, const char *name, const char *nonce, struct service_exit *end)
{
    char path[PATH_MAX];
    struct record *record = NULL;
    *end = (struct service_exit){.how = EXIT_NONE};
    if (home_path(home, path, "state", "exit/%s.rec", name) ||
        record_load(path, &record, NULL)) {
        return false;
    }
    bool gone = false;
    if (nonce[0] && string_equal(record_find(record, "nonce", 0), nonce)) {
        read_end(record, end);
        gone = record_find(record, "tree", 0) != NULL; /* what survived is named, not awaited */
    }
    record_destroy(record);
    return gone;
}
