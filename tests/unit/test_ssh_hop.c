/* The description of an SSH server: what is told arrives, and what is none is refused. */
#include <errno.h>
#include <stdlib.h>

#include "common/record.h"
#include "common/ssh_hop.h"
#include "tests/unit/scratch.h"

static struct ssh_hop *make(void)
{
    struct ssh_hop *hop = ssh_hop_create();
    CHECK_INT(hop->port, 22);
    CHECK_INT(ssh_hop_put(&hop->name, "other"), 0);
    CHECK_INT(ssh_hop_put(&hop->name, "andes"), 0);
    CHECK_INT(ssh_hop_put(&hop->host, "andes.olcf.ornl.gov"), 0);
    CHECK_INT(ssh_hop_put(&hop->user, "me"), 0);
    return hop;
}

static void arrives(void)
{
    struct ssh_hop *hop = make(), *again = NULL;
    struct error err = {0};
    size_t length = 0;
    hop->port = 2222;
    hop->identities_only = hop->proxied = true;
    CHECK_INT(ssh_hop_put(&hop->alias, "andes"), 0);
    CHECK_INT(ssh_hop_put(&hop->agent, "/run/agent with blank\nand newline"), 0);
    CHECK_INT(ssh_hop_append(hop->identities, "/home/me/.ssh/id_ed25519"), 0);
    CHECK_INT(ssh_hop_append(hop->identities, "/home/me/.ssh/b"), 0);
    CHECK_INT(ssh_hop_append(hop->known_hosts, "/home/me/.ssh/known_hosts"), 0);
    CHECK_INT(ssh_hop_append(hop->fingerprints, "SHA256:x"), 0);
    char *text = ssh_hop_format(hop, &length);
    CHECK(text && strlen(text) == length);
    CHECK_INT(ssh_hop_parse(text, length, &again, &err), 0);
    CHECK_STRING(again->name, "andes");
    CHECK_STRING(again->host, "andes.olcf.ornl.gov");
    CHECK_STRING(again->user, "me");
    CHECK_STRING(again->alias, "andes");
    CHECK_STRING(again->agent, "/run/agent with blank\nand newline");
    CHECK_INT(again->port, 2222);
    CHECK(again->identities_only && again->proxied);
    CHECK_STRING(again->identities[0], "/home/me/.ssh/id_ed25519");
    CHECK_STRING(again->identities[1], "/home/me/.ssh/b");
    CHECK(!again->identities[2] && !again->known_hosts[1] && !again->fingerprints[1]);
    CHECK_STRING(again->known_hosts[0], "/home/me/.ssh/known_hosts");
    CHECK_STRING(again->fingerprints[0], "SHA256:x");
    for (size_t cut = 0; cut < length; cut++) {
        struct ssh_hop *none = NULL;
        CHECK(ssh_hop_parse(text, cut, &none, NULL) && !none);
    }
    free(text);
    ssh_hop_destroy(again);
    ssh_hop_destroy(hop);
    ssh_hop_destroy(NULL);
}

static void leaves_out_what_is_not_said(void)
{
    struct ssh_hop *hop = make(), *again = NULL;
    size_t length = 0;
    char *text = ssh_hop_format(hop, &length);
    CHECK_INT(ssh_hop_parse(text, length, &again, NULL), 0);
    CHECK(!again->alias && !again->agent && !again->identities[0] && !again->identities_only);
    CHECK(!again->proxied);
    CHECK_INT(again->port, 22);
    free(text);
    ssh_hop_destroy(again);
    ssh_hop_destroy(hop);
}

static void bounds_its_lists(void)
{
    struct ssh_hop *hop = make(), *again = NULL;
    for (int i = 0; i < SSH_HOP_LIST; i++) {
        CHECK_INT(ssh_hop_append(hop->identities, "key"), 0);
    }
    CHECK_INT(ssh_hop_append(hop->identities, "key"), -E2BIG);
    CHECK(!hop->identities[SSH_HOP_LIST]);
    struct record *record = record_create();
    record_add(record, "host", "h");
    record_add(record, "user", "u");
    for (int i = 0; i <= SSH_HOP_LIST; i++) {
        record_add(record, "identity", "key");
    }
    size_t length = 0;
    char *text = record_format(record, &length);
    struct error err = {0};
    CHECK(ssh_hop_parse(text, length, &again, &err) && !again && *err.text);
    free(text);
    record_destroy(record);
    ssh_hop_destroy(hop);
}

static void refuses_what_is_none(void)
{
    static const char *const bad[][2] = {{"host", ""}, {"host", NULL}, {"user", NULL},
        {"port", "0"}, {"port", "65536"}, {"port", "-1"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct record *record = record_create();
        const char *const fields[][2] = {{"host", "h"}, {"user", "u"}, {"port", "22"}};
        for (size_t n = 0; n < 3; n++) {
            bool changed = !strcmp(fields[n][0], bad[i][0]);
            const char *value = changed ? bad[i][1] : fields[n][1];
            if (value) {
                record_add(record, fields[n][0], value);
            }
        }
        size_t length = 0;
        struct ssh_hop *hop = NULL;
        struct error err = {0};
        char *text = record_format(record, &length);
        CHECK_INT(ssh_hop_parse(text, length, &hop, &err), -EBADMSG);
        CHECK_HOLDS(err.text, "lacks host, user or port");
        free(text);
        record_destroy(record);
    }
}

int main(void)
{
    arrives();
    leaves_out_what_is_not_said();
    bounds_its_lists();
    refuses_what_is_none();
    return check_result();
}
