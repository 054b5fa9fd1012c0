/* known_hosts files, which others write too, and the public keys and names in them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/tunnel/keyfile.h"
#include "daemon/tunnel/known_hosts.h"

/* A copy of exactly this size: reading one byte too far is seen. */
static char *copy_exactly(const uint8_t *data, size_t size)
{
    char *copy = malloc(size ? size : 1);
    if (!copy) {
        exit(2);
    }
    if (size) {
        memcpy(copy, data, size);
    }
    return copy;
}

struct found {
    const char *name;
    int count, line;
};

static void count(void *context, const struct known_entry *entry)
{
    (void)entry;
    ++*(int *)context;
}

/* What an entry says can be written, and is then found under its name. */
static void on_entry(void *context, const struct known_entry *entry)
{
    struct found *found = context;
    char type[SSHKEY_TYPE_SIZE], fingerprint[SSHKEY_FINGERPRINT_SIZE];
    if (entry->line < found->line || !entry->blob_length ||
        !sshkey_type(entry->blob, entry->blob_length, type) || strcmp(type, entry->type) != 0) {
        abort();
    }
    found->line = entry->line;
    if (found->count++ > 3) {
        return;
    }
    sshkey_fingerprint(entry->blob, entry->blob_length, fingerprint);
    char *line = known_hosts_line(found->name, entry->blob, entry->blob_length);
    int again = 0;
    known_hosts_scan(line, strlen(line), found->name, count, &again);
    if (again != 1) {
        abort();
    }
    free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* Up to the first newline: the name that is looked for. */
    const uint8_t *newline = size ? memchr(data, '\n', size < 200 ? size : 200) : NULL;
    size_t length = newline ? (size_t)(newline - data) : 0;
    char asked[201] = "andes", name[256];
    if (length) {
        memcpy(asked, data, length);
        asked[length] = 0;
    }
    char *text = copy_exactly(data, size);
    if (known_hosts_name(NULL, asked, size % 2 ? 22 : 2222, name, sizeof name)) {
        struct found found = {.name = name};
        known_hosts_scan(text, size, name, on_entry, &found);
    }
    static struct keyfile keyfile;
    if (!keyfile_look(text, size, &keyfile) && keyfile.blob_length > sizeof keyfile.blob) {
        abort();
    }
    free(text);
    return 0;
}
