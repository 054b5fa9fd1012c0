/* Keys of gears.conf for limits of processes; see limits.h. */
#include "common/limits.h"

#include <sys/resource.h>

const struct limit_name limit_names[LIMIT_NAMES] = {{"limit_nofile", RLIMIT_NOFILE},
    {"limit_core", RLIMIT_CORE}, {"limit_stack", RLIMIT_STACK}, {"limit_fsize", RLIMIT_FSIZE},
    {"limit_cpu", RLIMIT_CPU}, {"limit_as", RLIMIT_AS}, {"limit_data", RLIMIT_DATA},
    {"limit_memlock", RLIMIT_MEMLOCK}};
