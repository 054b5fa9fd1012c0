/* Judges host keys. What files say known_hosts.c reads, what is asked goes by login_ask. */
#include "daemon/tunnel/hostkey.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/text.h"
#include "daemon/tunnel/hostkey_record.h"
#include "daemon/tunnel/known_hosts.h"

enum { ENTRIES_MOST = 256, NAME_SIZE = 300 };

struct entry {
    enum known_mark mark;
    int line;
    const char *file; /* the hop's */
    char type[SSHKEY_TYPE_SIZE];
    uint8_t *blob;
    size_t length;
};

struct hostkey_book {
    char name[NAME_SIZE];
    const char *file; /* being read */
    size_t count;
    bool failed;
    struct entry entries[ENTRIES_MOST];
};

static void on_entry(void *context, const struct known_entry *known)
{
    struct hostkey_book *book = context;
    if (book->count == ENTRIES_MOST) {
        return;
    }
    struct entry *entry = &book->entries[book->count];
    *entry = (struct entry){.mark = known->mark,
        .line = known->line,
        .file = book->file,
        .blob = malloc(known->blob_length),
        .length = known->blob_length};
    if (!entry->blob) {
        book->failed = true;
        return;
    }
    memcpy(entry->blob, known->blob, known->blob_length);
    snprintf(entry->type, sizeof entry->type, "%s", known->type);
    book->count++;
}

/* A file that fails might have told that a key is revoked: then there is no judging. */
static int read_file(struct login *login, struct hostkey_book *book, const char *path)
{
    char *text = NULL;
    size_t length = 0;
    struct error err = {0};
    int code = file_read(path, KNOWN_HOSTS_FILE_MOST, &text, &length, &err);
    if (code == -ENOENT || code == -ENOTDIR) {
        return 0;
    }
    if (code == -EACCES) { /* as for ssh it is not there */
        login_note(login, "host keys: %s", err.text);
        return 0;
    }
    if (code) {
        return login_fail(login, LINK_CAUSE_FAILED, "host keys: %s", err.text);
    }
    book->file = path;
    known_hosts_scan(text, length, book->name, on_entry, book);
    free(text);
    return 0;
}

struct hostkey_book *hostkey_read(struct login *login, const struct ssh_hop *hop)
{
    struct hostkey_book *book = calloc(1, sizeof *book);
    if (!book) {
        login_fail(login, LINK_CAUSE_FAILED, "out of memory");
        return NULL;
    }
    if (!known_hosts_name(hop->alias, hop->host, hop->port, book->name, sizeof book->name)) {
        login_fail(login, LINK_CAUSE_FAILED,
            "the name of %s is none that known_hosts could hold", login_hop_name(hop));
        hostkey_close(book);
        return NULL;
    }
    for (char *const *path = hop->known_hosts; *path; path++) {
        if (read_file(login, book, *path)) {
            hostkey_close(book);
            return NULL;
        }
    }
    if (book->failed) {
        login_fail(login, LINK_CAUSE_FAILED, "out of memory");
        hostkey_close(book);
        return NULL;
    }
    return book;
}

void hostkey_close(struct hostkey_book *book)
{
    for (size_t i = 0; book && i < book->count; i++) {
        free(book->entries[i].blob);
    }
    free(book);
}

static bool knows_type(const struct hostkey_book *book, const char *type)
{
    for (size_t i = 0; i < book->count; i++) {
        if (book->entries[i].mark == KNOWN_KEY && !strcmp(book->entries[i].type, type)) {
            return true;
        }
    }
    return false;
}

void hostkey_order(const struct hostkey_book *book, char *out, size_t size)
{
    /* An RSA key may sign in three ways; handshake.c drops what libssh2 lacks. */
    static const char *const types[][2] = {{"ssh-ed25519", "ssh-ed25519"},
        {"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"},
        {"ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"},
        {"ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"},
        {"ssh-rsa", "rsa-sha2-512,rsa-sha2-256,ssh-rsa"}};
    struct text order = {0};
    for (int known = 1; known >= 0; known--) {
        for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
            if (knows_type(book, types[i][0]) == (known != 0)) {
                text_printf(&order, "%s%s", order.length ? "," : "", types[i][1]);
            }
        }
    }
    snprintf(out, size, "%s", text_string(&order));
    text_finish(&order);
}

/* What the server showed. */
struct shown {
    const uint8_t *blob;
    size_t length;
    char type[SSHKEY_TYPE_SIZE];
    char fingerprint[SSHKEY_FINGERPRINT_SIZE];
};

static bool is_shown(const struct entry *entry, const struct shown *shown)
{
    return entry->length == shown->length && !memcmp(entry->blob, shown->blob, shown->length);
}

/* The first entry of that kind; NULL: none. */
static const struct entry *find(const struct hostkey_book *book, enum known_mark mark,
    const struct shown *equal, const char *type)
{
    for (size_t i = 0; i < book->count; i++) {
        const struct entry *entry = &book->entries[i];
        if (entry->mark == mark && (!equal || is_shown(entry, equal)) &&
            (!type || !strcmp(entry->type, type))) {
            return entry;
        }
    }
    return NULL;
}

static int fail_changed(struct login *login, const struct ssh_hop *hop,
    const struct entry *known, const struct shown *shown)
{
    char fingerprint[SSHKEY_FINGERPRINT_SIZE];
    sshkey_fingerprint(known->blob, known->length, fingerprint);
    bool other_type = strcmp(known->type, shown->type) != 0;
    return login_fail(login, LINK_CAUSE_HOST_KEY_CHANGED,
        "the host key of %s is not the known one: it shows %s %s, but %s:%d knows %s %s; "
        "nothing was sent. %s",
        login_hop_name(hop), sshkey_type_words(shown->type), shown->fingerprint, known->file,
        known->line, sshkey_type_words(known->type), fingerprint,
        other_type ? "If ssh still trusts it, set transport = openssh"
                   : "Ask the site; if the change is true, remove that line");
}

static int ask_human(struct login *login, const struct ssh_hop *hop, struct ssh_link *link,
    const struct hostkey_book *book, const struct shown *shown)
{
    char instruction[900];
    const char *published =
        *hop->fingerprints ? "\nIt is none of those that the site publishes: be careful." : "";
    snprintf(instruction, sizeof instruction,
        "Nothing is known yet of the server %s (%s).\nIts host key is %s, %s.%s\n"
        "Compare that with what the site publishes.",
        login_hop_name(hop), book->name, sshkey_type_words(shown->type), shown->fingerprint,
        published);
    struct login_prompt prompt = {
        .kind = PROMPT_HOST_KEY, .name = "host key", .instruction = instruction, .count = 1};
    prompt.prompts[0].text = "Is this the server's key? (yes/no) ";
    prompt.prompts[0].echo = true;
    struct answers answers = {0};
    if (login_ask(login, hop, link->transport, &prompt, &answers)) {
        return -1;
    }
    bool yes = !strcmp(answers.text[0], "yes");
    answers_finish(&answers);
    if (!yes) {
        return login_fail(login, LINK_CAUSE_HOST_KEY_UNKNOWN,
            "the host key of %s was not confirmed (%s); nothing was sent", login_hop_name(hop),
            shown->fingerprint);
    }
    return 0;
}

/* Unknown: published by the site, or confirmed by a human. */
static int accept_unknown(struct login *login, const struct ssh_hop *hop, struct ssh_link *link,
    const struct hostkey_book *book, const struct shown *shown)
{
    bool published = false;
    for (char *const *at = hop->fingerprints; *at; at++) {
        published = published || !strcmp(*at, shown->fingerprint);
    }
    if (published) {
        login_note(login, "the host key of %s is one that the site publishes (%s)",
            login_hop_name(hop), shown->fingerprint);
    } else if (login->unattended) {
        return login_fail(login, LINK_CAUSE_HOST_KEY_UNKNOWN,
            "the host key of %s is not known (%s %s); to look at it run: gearsctl login %s",
            login_hop_name(hop), sshkey_type_words(shown->type), shown->fingerprint,
            login_cluster(login));
    } else if (ask_human(login, hop, link, book, shown)) {
        return -1;
    }
    struct error err = {0};
    const char *file = hop->known_hosts[0];
    if (!file) {
        login_note(login, "no known_hosts file is configured: the key is asked for again");
    } else if (hostkey_record(file, book->name, shown->blob, shown->length, &err)) {
        login_note(
            login, "the host key could not be recorded and is asked for again: %s", err.text);
    } else {
        login_note(login, "the host key of %s is recorded in %s", login_hop_name(hop), file);
    }
    return 0;
}

static bool look(struct ssh_link *link, struct shown *shown)
{
    int type;
    const char *blob = libssh2_session_hostkey(link->session, &shown->length, &type);
    shown->blob = (const uint8_t *)blob;
    if (!blob || !sshkey_type(shown->blob, shown->length, shown->type)) {
        return false;
    }
    sshkey_fingerprint(shown->blob, shown->length, shown->fingerprint);
    return true;
}

int hostkey_check(struct login *login, const struct ssh_hop *hop, struct ssh_link *link,
    const struct hostkey_book *book)
{
    const char *name = login_hop_name(hop);
    struct shown shown;
    login_step(login, "checking the host key of %s", name);
    if (!look(link, &shown)) {
        return login_fail(login, LINK_CAUSE_FAILED, "%s shows no readable host key", name);
    }
    const struct entry *entry = find(book, KNOWN_REVOKED, &shown, NULL);
    if (entry) {
        return login_fail(login, LINK_CAUSE_HOST_KEY_CHANGED,
            "the host key of %s (%s) is revoked in %s:%d; nothing was sent. Ask the site for "
            "its new key",
            name, shown.fingerprint, entry->file, entry->line);
    }
    if (find(book, KNOWN_KEY, &shown, NULL)) {
        return 0;
    }
    entry = find(book, KNOWN_KEY, NULL, shown.type);
    entry = entry ? entry : find(book, KNOWN_KEY, NULL, NULL);
    if (entry) {
        return fail_changed(login, hop, entry, &shown);
    }
    entry = find(book, KNOWN_AUTHORITY, NULL, NULL);
    if (entry) {
        return login_fail(login, LINK_CAUSE_HOST_KEY_UNKNOWN,
            "the host key of %s is known only by a certificate authority (%s:%d), which "
            "libssh2 cannot check; set transport = openssh in [cluster:%s]",
            name, entry->file, entry->line, login_cluster(login));
    }
    return accept_unknown(login, hop, link, book, &shown);
}
