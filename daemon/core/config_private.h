/* Shared by the files of the configuration reader only. */
#ifndef CORE_CONFIG_PRIVATE_H
#define CORE_CONFIG_PRIVATE_H

#include "daemon/core/config.h"

/* CONFIG_LINE: bytes of a line, one less than libinih reads. */
enum { ERRORS_LIMIT = 20, CONFIG_KEYS = 17, CONFIG_LINE = 199 };

enum value_type {
    VALUE_STRING,      /* continuation lines join with a space */
    VALUE_LINES,       /* … with a newline */
    VALUE_ENV,         /* a name, or a folder */
    VALUE_PATH,        /* a folder */
    VALUE_KIND,        /* texts end here */
    VALUE_NAMES,       /* words between spaces or commas */
    VALUE_ASSIGNMENTS, /* KEY=value words, quotes as in sh */
    VALUE_BOOL,
    VALUE_DURATION,
    VALUE_SIZE,
    VALUE_SIGNAL,
    VALUE_RESTART,
};

struct config_key {
    const char *name;
    enum value_type type;
    size_t offset;    /* into struct service_config */
    bool in_defaults; /* may stand in [defaults] too */
};
extern const struct config_key config_keys[CONFIG_KEYS];
/* How a key's value is held. */
bool config_key_is_text(const struct config_key *key);
bool config_key_is_list(const struct config_key *key);

struct config_limit {
    const char *name;
    int resource;
};
enum { CONFIG_LIMIT_NAMES = 8 };
extern const struct config_limit config_limits[CONFIG_LIMIT_NAMES];

/* A file's line; line 0 is none. */
struct place {
    const char *file;
    int line;
};

/* Where a service's things were last said. */
struct origin {
    struct place section, keys[CONFIG_KEYS];
};

struct loader {
    struct config *config;
    struct origin *origins; /* beside config->services, as many */
    size_t capacity;        /* of both */
    struct text *errors;
    int error_count;
    bool failed; /* out of memory */

    /* The file being read. */
    struct place at;
    const char *site_file, *rest, *raw; /* what is unread; the current line */
    size_t raw_length;
    bool site;

    /* The section and the key whose value the next indented line goes on. */
    bool in_section, defaults_seen;
    bool skip;    /* an unusable section: said once, its keys are passed over */
    bool refused; /* an unusable key: said once, its further lines are passed over */
    size_t place; /* of `service` among the services */
    struct service_config *service; /* NULL in [defaults] */
    char key[64];
    struct text seen; /* " key key " of this section */

    struct service_config *defaults; /* what [defaults] says for all services */
    unsigned default_keys;           /* which of them: bits by place in config_keys */
    struct text locks;               /* " key key " of the site */
};

void config_error(struct loader *loader, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void config_error_at(struct loader *loader, struct place at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* config_keys.c: one value, or one more line of it. */
void config_set(struct loader *loader, const char *key, const char *value, bool continued);
/* Whether a further line of a value reads like a key of its own; `shell`: NAME=value does not.
 */
bool config_begins_with_key(const char *value, bool shell);
bool config_is_locked(const struct loader *loader, const char *key);
/* config_values.c: read by the key's type; and replace a heap string (NULL: out of memory). */
void config_value_set(
    struct loader *loader, const struct config_key *key, const char *value, bool continued);
void config_text_put(struct loader *loader, char **slot, char *value);
/* config_check.c: what only the whole shows. */
void config_check(struct loader *loader);
/* config_service.c */
void config_apply_defaults(struct loader *loader);
char **config_list_append(char **list, const char *item, bool *failed);
void config_list_free(char **list);

#endif
