/* The publickey method: the agent's keys, then key files, each tried once in a login. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "daemon/tunnel/auth_private.h"

enum { PUBLIC_FILE_MOST = 64 * 1024 };

bool auth_is_first(struct auth *auth, const void *bytes, size_t length)
{
    char fingerprint[SSHKEY_FINGERPRINT_SIZE];
    sshkey_fingerprint(bytes, length, fingerprint);
    for (size_t i = 0; i < auth->tried_count; i++) {
        if (!strcmp(auth->tried[i], fingerprint)) {
            return false;
        }
    }
    if (auth->tried_count == KEYS_MOST) {
        return false;
    }
    memcpy(auth->tried[auth->tried_count++], fingerprint, sizeof fingerprint);
    return true;
}

bool auth_key_is_new(struct auth *auth, const char *what, const uint8_t *blob, size_t length)
{
    char type[SSHKEY_TYPE_SIZE];
    if (!sshkey_type(blob, length, type)) {
        return false;
    }
    /* 1.10 signs with SHA-1 only, which servers refuse, and counts as a refused key. */
    bool rsa = !strcmp(type, "ssh-rsa");
    bool usable = !strcmp(type, "ssh-ed25519") || !strncmp(type, "ecdsa-sha2-nistp", 16);
    if ((strstr(type, "-cert-") || !usable) && !(rsa && libssh2_version(0x010b00))) {
        login_note(auth->login, "%s is passed over: libssh2 %s cannot use %s keys", what,
            libssh2_version(0), rsa ? "RSA" : type);
        return false;
    }
    return auth_is_first(auth, blob, length);
}

enum auth_verdict auth_judge_key(struct auth *auth, const char *what, int code)
{
    if (!code) {
        return AUTH_DONE;
    }
    if (auth_is_over(auth)) {
        auth->refused_keys += !auth_is_lost(auth);
        return auth_end(auth);
    }
    if (code == LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED) {
        char before[sizeof auth->methods];
        memcpy(before, auth->methods, sizeof before);
        enum auth_verdict verdict = auth_list(auth);
        auth->refused_keys += !strcmp(before, auth->methods);
        return verdict; /* signed: refused, or right and something else comes next */
    }
    auth->refused_keys++;
    if (code != LIBSSH2_ERROR_AUTHENTICATION_FAILED) {
        char *words = NULL;
        libssh2_session_last_error(auth->session, &words, NULL, 0);
        login_note(
            auth->login, "%s cannot be used: %s", what, words ? words : "no reason given");
    }
    return AUTH_SPENT;
}

/* The public halves of the identities: what of the agent's is wanted. */
static void read_wanted(const struct ssh_hop *hop, struct auth_wanted *wanted)
{
    uint8_t blob[SSHKEY_BLOB_MOST];
    for (char *const *path = hop->identities; *path; path++) {
        size_t length = strlen(*path), text_length = 0, found = 0;
        bool public = length > 4 && !strcmp(*path + length - 4, ".pub");
        char *name = NULL, *text = NULL;
        if (asprintf(&name, "%s%s", *path, public ? "" : ".pub") < 0) {
            continue;
        }
        if (!file_read(name, PUBLIC_FILE_MOST, &text, &text_length, NULL)) {
            found = sshkey_parse(text, text_length, blob);
        }
        uint8_t *copy = found ? malloc(found) : NULL;
        if (copy) {
            memcpy(copy, blob, found);
            wanted->keys[wanted->count].blob = copy;
            wanted->keys[wanted->count++].length = found;
        }
        free(text);
        free(name);
    }
}

enum auth_verdict auth_publickey(struct auth *auth)
{
    struct auth_wanted wanted = {0};
    read_wanted(auth->hop, &wanted);
    enum auth_verdict verdict = auth_agent(auth, &wanted);
    for (size_t i = 0; i < wanted.count; i++) {
        free(wanted.keys[i].blob);
    }
    for (char *const *path = auth->hop->identities; *path && verdict == AUTH_SPENT; path++) {
        verdict = auth_keyfile(auth, *path);
    }
    return verdict;
}
