/* The limits of processes that gears.conf may set: its keys and setrlimit's resources. Used by
 * the configuration and by keepers, who apply them. */
#ifndef COMMON_LIMITS_H
#define COMMON_LIMITS_H

struct limit_name {
    const char *name;
    int resource; /* RLIMIT_* */
};
enum { LIMIT_NAMES = 8 };
extern const struct limit_name limit_names[LIMIT_NAMES];

#endif
