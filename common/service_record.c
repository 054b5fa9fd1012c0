/* Other hosts' records of services: for "held by" and for where a cluster's lab lives. */
#include "common/service_record.h"

#include "common/record.h"
#include "common/text.h"

/* The keeper of this incarnation has recorded that its whole tree is gone. */
static bool has_ended(const struct home *there, const char *file, const char *nonce)
{
    char path[PATH_MAX];
    struct record *end = NULL;
    if (!nonce || !*nonce || home_path(there, path, "state", "exit/%s", file) ||
        record_load(path, &end, NULL)) {
        return false;
    }
    bool ended =
        string_equal(record_find(end, "nonce", 0), nonce) && record_find(end, "tree", 0);
    record_destroy(end);
    return ended;
}

bool service_record_is_wanted(const struct home *there, const char *file, const char *boot_id)
{
    char path[PATH_MAX];
    struct record *record = NULL;
    if (home_path(there, path, "state", "service/%s", file) ||
        record_load(path, &record, NULL)) {
        return false;
    }
    bool wanted = record_find(record, "service", 0) && record_integer(record, "wanted", 0) &&
                  !record_find(record, "rest", 0) &&
                  (!boot_id || string_equal(record_find(record, "boot_id", 0), boot_id)) &&
                  !has_ended(there, file, record_find(record, "nonce", 0));
    record_destroy(record);
    return wanted;
}
