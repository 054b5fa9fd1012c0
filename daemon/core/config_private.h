/* Shared by the files of the configuration reader only. */
#ifndef CORE_CONFIG_PRIVATE_H
#define CORE_CONFIG_PRIVATE_H

#include "common/limits.h"
#include "daemon/core/config.h"

/* CONFIG_KEYS: the most keys of a table. CONFIG_LINE: bytes of a line, one less than libinih
 * reads. */
enum { ERRORS_LIMIT = 20, CONFIG_KEYS = 18, CONFIG_LINE = 199 };

enum value_type {
    VALUE_STRING,   /* continuation lines join with a space */
    VALUE_LINES,    /* … with a newline */
    VALUE_ENV,      /* a name, or a folder */
    VALUE_PATH,     /* a folder */
    VALUE_FAR_PATH, /* a path on another machine: ~ stays, it is the home there */
    VALUE_NAME,     /* of a service */
    VALUE_HOST,     /* a name for ssh */
    VALUE_CHOICE,   /* one of the key's choices; texts end here */
    VALUE_NAMES,    /* words between spaces or commas */
    VALUE_HOSTS,
    VALUE_PATTERNS,     /* of host names, as in the shell */
    VALUE_FINGERPRINTS, /* SHA256:… */
    VALUE_ASSIGNMENTS,  /* KEY=value words, quotes as in sh; lists end here */
    VALUE_BOOL,
    VALUE_DURATION,
    VALUE_SIZE,
    VALUE_INTEGER,
    VALUE_SIGNAL,
    VALUE_RESTART,
};

struct config_key {
    const char *name;
    enum value_type type;
    size_t offset;              /* into the table's struct */
    bool in_defaults;           /* may stand in [defaults] too */
    int64_t low;                /* of a duration in ms, an integer or a size */
    int64_t high;               /* … and the most of it, or of a list's words; 0: no bound */
    const char *const *choices; /* of a VALUE_CHOICE, ends with NULL */
};
/* How a key's value is held. */
bool config_key_is_text(const struct config_key *key);
bool config_key_is_list(const struct config_key *key);

/* The keys of one kind of section, [service:NAME] or [cluster:NAME]. */
struct config_table {
    const char *noun;
    const struct config_key *keys;
    size_t count;
    size_t set_keys; /* offset of that field; the struct's first one is the name */
};
enum config_table_id { TABLE_SERVICES, TABLE_CLUSTERS, CONFIG_TABLES };
extern const struct config_table config_tables[CONFIG_TABLES];
/* The bits by place in `keys` that say which of them a file set. */
unsigned *config_set_keys(const struct config_table *table, void *item);

/* A file's line; line 0 is none. */
struct place {
    const char *file;
    int order; /* of the files: a later one counts more */
    int line;
};

/* Where an item's things were last said. */
struct origin {
    struct place section, keys[CONFIG_KEYS];
};

/* What was read for a table, beside the items in `config`. */
struct loaded {
    struct origin *origins; /* as many as there are items */
    size_t capacity;        /* of both */
    void *defaults;         /* an item: what [defaults] says for all */
    unsigned default_keys;  /* which keys of it */
};

struct loader {
    struct config *config;
    struct loaded loaded[CONFIG_TABLES];
    struct text *errors;
    int error_count;
    bool failed; /* out of memory */
    const char *site_file;

    /* The file being read. */
    struct place at;
    const char *rest, *raw; /* what is unread; the current line */
    size_t raw_length;
    enum config_source { SOURCE_PACK, SOURCE_SITE, SOURCE_USER } source;
    char pack[64]; /* a pack's name, by its file's */

    /* The section and the key whose value the next indented line goes on. */
    bool in_section, defaults_seen;
    bool skip;    /* an unusable section: said once, its keys are passed over */
    bool refused; /* an unusable key: said once, its further lines are passed over */
    enum config_table_id table;
    size_t place; /* of `item` among the table's */
    void *item;   /* NULL in [defaults] */
    char key[64];
    struct text seen; /* " key key " of this section */

    struct text locks; /* " key key " of the site */
};

void config_error(struct loader *loader, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void config_error_at(struct loader *loader, struct place at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* config_section.c: what "[section]" opens; and an item beyond those that files name. */
void config_section_open(struct loader *loader, const char *section);
void config_section_add(
    struct loader *loader, enum config_table_id id, const char *name, const char *kind);
/* config_keys.c: one value, or one more line of it. */
void config_set(struct loader *loader, const char *key, const char *value, bool continued);
/* Whether a further line of a value reads like a key of its own in a section of `table` (NULL:
 * of [defaults]); `shell`: NAME=value does not. */
bool config_begins_with_key(const struct config_table *table, const char *value, bool shell);
bool config_is_locked(const struct loader *loader, const char *key);
/* config_values.c: read into a slot by the key's type; and replace a heap string (NULL: out of
 * memory). */
void config_value_set(struct loader *loader, const struct config_key *key, void *slot,
    const char *value, bool continued);
void config_text_put(struct loader *loader, char **slot, char *value);
/* config_check.c: what only the whole shows. */
void config_check(struct loader *loader);
/* config_item.c */
size_t config_item_count(const struct config *config, enum config_table_id id);
void *config_item_get(const struct config *config, enum config_table_id id, size_t place);
/* The item's place, or the number of items. */
size_t config_item_find(const struct config *config, enum config_table_id id, const char *name);
void config_item_destroy(enum config_table_id id, void *item); /* NULL is allowed */
void config_apply_defaults(struct loader *loader);
char **config_list_append(char **list, const char *item, bool *failed);
void config_list_free(char **list);

#endif
