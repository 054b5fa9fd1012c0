/* Host name and boot id; asked once at start by every program. */
#include "common/host.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "common/file.h"

static const size_t HOSTS_LIMIT = 1 << 20;

/* The canonical (first) name of the line of `hosts` that lists `node`, with a dot in it. */
static int find_canonical(const char *node, const char *hosts, char *out, size_t size)
{
    for (const char *line = hosts; *line;) {
        size_t length = strcspn(line, "\n");
        char copy[512], *save = NULL;
        if (length < sizeof copy) {
            memcpy(copy, line, length);
            copy[length] = 0;
            copy[strcspn(copy, "#")] = 0;
            char *address = strtok_r(copy, " \t\r", &save);
            char *canonical = address ? strtok_r(NULL, " \t\r", &save) : NULL;
            for (char *name = canonical; name; name = strtok_r(NULL, " \t\r", &save)) {
                if (!strcasecmp(name, node) && strchr(canonical, '.')) {
                    snprintf(out, size, "%s", canonical);
                    return 0;
                }
            }
        }
        line += length + (line[length] == '\n');
    }
    return -ENOENT;
}

int host_name_from(
    const char *node, const char *hosts, char out[HOST_NAME_SIZE], struct error *err)
{
    char full[256];
    snprintf(full, sizeof full, "%s", node);
    if (!strchr(node, '.')) {
        find_canonical(node, hosts, full, sizeof full);
    }
    size_t dots = 0, length = 0;
    for (const char *c = full; *c; c++) {
        if (*c == '.' && (++dots == 2 || !c[1])) {
            break;
        }
        if (!isalnum((unsigned char)*c) && *c != '-' && *c != '_' && (*c != '.' || c == full)) {
            return error_set(err, -EINVAL, "the node name \"%s\" cannot name a folder", node);
        }
        if (length + 1 >= HOST_NAME_SIZE) {
            return error_set(
                err, -EINVAL, "the node name \"%s\" is longer than 64 bytes", node);
        }
        out[length++] = (char)tolower((unsigned char)*c);
    }
    out[length] = 0;
    return length ? 0 : error_set(err, -EINVAL, "this host has no node name");
}

int host_name(char out[HOST_NAME_SIZE], struct error *err)
{
    struct utsname uts;
    if (uname(&uts)) {
        return error_errno(err, -errno, "uname");
    }
    char *hosts = NULL;
    if (file_read("/etc/hosts", HOSTS_LIMIT, &hosts, NULL, NULL)) {
        hosts = NULL; /* no hosts file: the node name alone decides */
    }
    int code = host_name_from(uts.nodename, hosts ? hosts : "", out, err);
    free(hosts);
    return code;
}

int host_boot_id(char out[BOOT_ID_SIZE], struct error *err)
{
    char *text = NULL;
    int code = file_read("/proc/sys/kernel/random/boot_id", 128, &text, NULL, err);
    if (code) {
        return code;
    }
    snprintf(out, BOOT_ID_SIZE, "%.36s", text);
    out[strcspn(out, "\n")] = 0;
    free(text);
    return 0;
}
