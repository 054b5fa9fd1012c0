/* Making, formatting, parsing the description of an SSH server. Used by gearsd and tunnels. */
#include "common/ssh_hop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/record.h"

struct ssh_hop *ssh_hop_create(void)
{
    struct ssh_hop *hop = calloc(1, sizeof *hop);
    if (hop) {
        hop->port = 22;
    }
    return hop;
}

static void free_list(char **list)
{
    for (; *list; list++) {
        free(*list);
        *list = NULL;
    }
}

void ssh_hop_destroy(struct ssh_hop *hop)
{
    if (!hop) {
        return;
    }
    char *strings[] = {hop->name, hop->host, hop->user, hop->alias, hop->agent};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
        free(strings[i]);
    }
    free_list(hop->identities);
    free_list(hop->known_hosts);
    free_list(hop->fingerprints);
    free(hop);
}

int ssh_hop_append(char *list[SSH_HOP_LIST + 1], const char *value)
{
    size_t count = 0;
    while (list[count]) {
        count++;
    }
    if (count == SSH_HOP_LIST) {
        return -E2BIG;
    }
    list[count] = strdup(value);
    return list[count] ? 0 : -ENOMEM;
}

int ssh_hop_put(char **field, const char *value)
{
    char *copy = strdup(value);
    if (!copy) {
        return -ENOMEM;
    }
    free(*field);
    *field = copy;
    return 0;
}

/* Where each key's value is. */
struct key {
    const char *name;
    char **string, **list;
};
enum { KEYS = 8 };

static void list_keys(struct ssh_hop *hop, struct key keys[KEYS])
{
    const struct key all[KEYS] = {{"name", &hop->name, NULL}, {"host", &hop->host, NULL},
        {"user", &hop->user, NULL}, {"alias", &hop->alias, NULL}, {"agent", &hop->agent, NULL},
        {"identity", NULL, hop->identities}, {"known_hosts", NULL, hop->known_hosts},
        {"fingerprint", NULL, hop->fingerprints}};
    memcpy(keys, all, sizeof all);
}

char *ssh_hop_format(const struct ssh_hop *hop, size_t *length)
{
    struct record *record = record_create();
    struct key keys[KEYS];
    int code = record ? 0 : -ENOMEM;
    list_keys((struct ssh_hop *)hop, keys);
    for (size_t i = 0; !code && i < KEYS; i++) {
        if (keys[i].string && *keys[i].string) {
            code = record_add(record, keys[i].name, *keys[i].string);
        }
        for (char **item = keys[i].list; !code && item && *item; item++) {
            code = record_add(record, keys[i].name, *item);
        }
    }
    code = code ? code : record_add_integer(record, "port", hop->port);
    code = code ? code : record_add_integer(record, "identities_only", hop->identities_only);
    code = code || !hop->proxied ? code : record_add_integer(record, "proxied", 1);
    char *text = code ? NULL : record_format(record, length);
    record_destroy(record);
    return text;
}

static int take_fields(const struct record *record, struct ssh_hop *hop)
{
    struct key keys[KEYS];
    const char *value;
    int code = 0;
    list_keys(hop, keys);
    for (size_t i = 0; !code && i < KEYS; i++) {
        for (size_t n = 0; !code && (value = record_find(record, keys[i].name, n)); n++) {
            code = keys[i].string ? ssh_hop_put(keys[i].string, value)
                                  : ssh_hop_append(keys[i].list, value);
        }
    }
    hop->port = (int)record_integer(record, "port", 22);
    hop->identities_only = record_integer(record, "identities_only", 0) != 0;
    hop->proxied = record_integer(record, "proxied", 0) != 0;
    return code;
}

int ssh_hop_parse(const char *text, size_t length, struct ssh_hop **out, struct error *err)
{
    struct record *record = NULL;
    int code = record_parse(text, length, &record, err);
    if (code) {
        return code;
    }
    struct ssh_hop *hop = ssh_hop_create();
    code = hop ? take_fields(record, hop) : -ENOMEM;
    record_destroy(record);
    if (!code &&
        (!hop->host || !*hop->host || !hop->user || hop->port < 1 || hop->port > 65535)) {
        code = error_set(
            err, -EBADMSG, "the description of an SSH server lacks host, user or port");
    } else if (code) {
        error_errno(err, code, "the description of an SSH server");
    }
    if (code) {
        ssh_hop_destroy(hop);
        return code;
    }
    *out = hop;
    return 0;
}
