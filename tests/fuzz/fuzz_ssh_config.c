/* What `ssh -G` printed, and lists of jump hosts. What is accepted can be sent to a tunnel and
 * comes back the same; every path is absolute; a refusal has words. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/remote/ssh_config.h"

static void check_paths(char *const *list)
{
    for (size_t i = 0; list[i]; i++) {
        if (list[i][0] != '/' || i >= SSH_HOP_LIST) {
            abort();
        }
    }
}

static void check_hop(const struct ssh_hop *hop)
{
    size_t length = 0, again = 0;
    struct ssh_hop *copy = NULL;
    if (!hop->host || !hop->user || hop->port < 1 || hop->port > 65535 ||
        !hop->known_hosts[0] || (hop->agent && hop->agent_of_caller)) {
        abort();
    }
    check_paths(hop->identities);
    check_paths(hop->known_hosts);
    char *text = ssh_hop_format(hop, &length);
    if (!text) {
        return; /* longer than a frame */
    }
    if (ssh_hop_parse(text, length, &copy, NULL)) {
        abort();
    }
    char *second = ssh_hop_format(copy, &again);
    if (!second || again != length || memcmp(text, second, length) != 0) {
        abort();
    }
    ssh_hop_destroy(copy);
    free(text);
    free(second);
}

/* Element by element from the end, as the way is followed. */
static void check_jumps(const char *list)
{
    struct ssh_jump jump;
    struct error err = {0};
    int code = ssh_config_split_jump(list, &jump, &err);
    if (code) {
        if (code != -EINVAL || !err.text[0]) {
            abort();
        }
        return;
    }
    if (!jump.host[0] || jump.host[0] == '-' || jump.port < 0 || jump.port > 65535 ||
        strlen(jump.rest) >= strlen(list)) {
        abort();
    }
    if (jump.rest[0]) {
        char rest[sizeof jump.rest];
        memcpy(rest, jump.rest, sizeof rest);
        check_jumps(rest);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ssh_settings settings = {0};
    struct error err = {0};
    char *text = malloc(size + 1);
    if (!text) {
        return 0;
    }
    if (size) {
        memcpy(text, data, size);
    }
    text[size] = 0;
    int code = ssh_config_parse("andes", text, &settings, &err);
    if (!code) {
        check_hop(settings.hop);
        if (settings.jump) {
            check_jumps(settings.jump);
        }
        ssh_hop_destroy(settings.hop);
        free(settings.jump);
    } else if (code != -EINVAL || !err.text[0]) {
        abort();
    }
    struct ssh_hop *server = NULL;
    int plain = ssh_config_parse_server("andes", text, &server, &err);
    if (plain ? !code || plain != -EINVAL : !server->host || !server->user || server->agent) {
        abort();
    }
    ssh_hop_destroy(server);
    if (size < 512) {
        check_jumps(text);
    }
    free(text);
    return 0;
}
