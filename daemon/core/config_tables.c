/* The keys of services and clusters: names, where their values go, how they are read. Data for
 * the other files of the reader. */
#include <stddef.h>

#include "daemon/core/config_private.h"

#define FIELD(field) .offset = offsetof(struct service_config, field)
enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR };
enum { LOG_BUDGET_LEAST = 64 << 10 }; /* a keeper makes eight segments of it */
enum { STOP_MOST = 7 * DAY };         /* keepers count it in an int of milliseconds */
static const char *const kinds[] = {"jupyter", "command", NULL};
static const struct config_key service_keys[] = {
    {"kind", VALUE_CHOICE, FIELD(kind), .choices = kinds},
    {"command", VALUE_STRING, FIELD(command)},
    {"env", VALUE_ENV, FIELD(env), .in_defaults = true},
    {"cwd", VALUE_PATH, FIELD(cwd)},
    {"workspace", VALUE_PATH, FIELD(workspace), .in_defaults = true},
    {"modules", VALUE_STRING, FIELD(modules), .in_defaults = true},
    {"setup", VALUE_LINES, FIELD(setup), .in_defaults = true},
    {"environment", VALUE_ASSIGNMENTS, FIELD(environment)},
    {"after", VALUE_NAMES, FIELD(after)},
    {"ready", VALUE_STRING, FIELD(ready)},
    {"restart", VALUE_RESTART, FIELD(restart), .in_defaults = true},
    {"stop_signal", VALUE_SIGNAL, FIELD(stop_signal)},
    {"stop_timeout", VALUE_DURATION, FIELD(stop_timeout_ms), .in_defaults = true,
        .high = STOP_MOST},
    {"start_timeout", VALUE_DURATION, FIELD(start_timeout_ms), .in_defaults = true},
    {"enabled", VALUE_BOOL, FIELD(enabled)},
    {"idle_cull", VALUE_DURATION, FIELD(idle_cull_ms), .in_defaults = true},
    {"log_budget", VALUE_SIZE, FIELD(log_budget), .in_defaults = true, .low = LOG_BUDGET_LEAST},
};
#undef FIELD

#define FIELD(field) .offset = offsetof(struct cluster_config, field)
static const char *const transports[] = {"libssh2", "openssh", NULL};
static const struct config_key cluster_keys[] = {
    {"host", VALUE_HOST, FIELD(host)},
    {"transport", VALUE_CHOICE, FIELD(transport), .in_defaults = true, .choices = transports},
    {"service", VALUE_NAME, FIELD(service)},
    {"forward", VALUE_NAMES, FIELD(forward), .high = CLUSTER_FORWARDS},
    {"members", VALUE_HOSTS, FIELD(members), .high = CLUSTER_MEMBERS},
    {"hosts", VALUE_PATTERNS, FIELD(hosts), .high = CLUSTER_MEMBERS},
    {"fingerprints", VALUE_FINGERPRINTS, FIELD(fingerprints), .high = CLUSTER_FINGERPRINTS},
    {"home", VALUE_FAR_PATH, FIELD(home)},
    {"program", VALUE_FAR_PATH, FIELD(program)},
    {"hub", VALUE_HOST, FIELD(hub)},
    {"direct", VALUE_BOOL, FIELD(direct)},
    {"port", VALUE_INTEGER, FIELD(port), .low = 1024, .high = 65000},
    {"keepalive", VALUE_DURATION, FIELD(keepalive_ms), .in_defaults = true, .low = SECOND,
        .high = HOUR},
    {"keepalive_count", VALUE_INTEGER, FIELD(keepalive_count), .in_defaults = true, .low = 1,
        .high = 100},
    {"dead_after", VALUE_DURATION, FIELD(dead_after_ms), .in_defaults = true},
    {"max_age", VALUE_DURATION, FIELD(max_age_ms), .in_defaults = true},
    {"connect_timeout", VALUE_DURATION, FIELD(connect_timeout_ms), .in_defaults = true,
        .low = SECOND, .high = 10 * MINUTE},
    {"wait", VALUE_DURATION, FIELD(wait_ms), .in_defaults = true, .high = 10 * MINUTE},
};
#undef FIELD

enum {
    SERVICE_KEYS = sizeof service_keys / sizeof *service_keys,
    CLUSTER_KEYS = sizeof cluster_keys / sizeof *cluster_keys
};
_Static_assert((int)SERVICE_KEYS <= (int)CONFIG_KEYS, "room for their origins");
_Static_assert((int)CLUSTER_KEYS <= (int)CONFIG_KEYS, "room for their origins");
_Static_assert(offsetof(struct service_config, name) == 0, "config_item_find");
_Static_assert(offsetof(struct cluster_config, name) == 0, "config_item_find");

const struct config_table config_tables[CONFIG_TABLES] = {
    [TABLE_SERVICES] = {"service", service_keys, SERVICE_KEYS,
        offsetof(struct service_config, set_keys)},
    [TABLE_CLUSTERS] = {"cluster", cluster_keys, CLUSTER_KEYS,
        offsetof(struct cluster_config, set_keys)},
};
