/* Logging in by a private key file. A passphrase is asked for only when the server would take
 * the key, is used once and not kept. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "daemon/tunnel/auth_private.h"
#include "daemon/tunnel/keyfile.h"

enum { PASSPHRASES_MOST = 3 };

/* A signature is wanted, but nothing is signed: the server would take the key. */
static LIBSSH2_USERAUTH_PUBLICKEY_SIGN_FUNC(on_wanted)
{
    (void)session;
    (void)sig;
    (void)sig_len;
    (void)data;
    (void)data_len;
    bool *wanted = *abstract;
    *wanted = true;
    return -1;
}

static enum auth_verdict query(
    struct auth *auth, const char *what, const struct keyfile *keyfile, bool *wanted)
{
    void *context = wanted;
    int code;
    do {
        code = libssh2_userauth_publickey(auth->session, auth->user, keyfile->blob,
            keyfile->blob_length, on_wanted, &context);
    } while (code == LIBSSH2_ERROR_EAGAIN);
    return *wanted && !auth_is_over(auth) ? AUTH_SPENT : auth_judge_key(auth, what, code);
}

static int offer(struct auth *auth, const char *text, size_t length, const char *passphrase)
{
    int code;
    do {
        code = libssh2_userauth_publickey_frommemory(
            auth->session, auth->user, auth->user_length, NULL, 0, text, length, passphrase);
    } while (code == LIBSSH2_ERROR_EAGAIN);
    return code;
}

/* libssh2 read the key, whatever the server then thought of it. */
static bool was_opened(const struct auth *auth, int code)
{
    return !code || code == LIBSSH2_ERROR_AUTHENTICATION_FAILED ||
           code == LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED || auth_is_over(auth);
}

static enum auth_verdict offer_encrypted(
    struct auth *auth, const char *path, const char *text, size_t length)
{
    char question[400];
    snprintf(question, sizeof question, "Passphrase for %s: ", path);
    for (int i = 0; i < PASSPHRASES_MOST; i++) {
        struct answers answers = {0};
        if (auth_ask(auth, PROMPT_PASSPHRASE, question, &answers)) {
            return AUTH_ENDED;
        }
        bool none = !*answers.text[0]; /* as for ssh: go on without this key */
        int code = none ? 0 : offer(auth, text, length, answers.text[0]);
        answers_finish(&answers);
        if (none) {
            return AUTH_SPENT;
        }
        if (was_opened(auth, code)) {
            return auth_judge_key(auth, path, code);
        }
        login_note(auth->login, "the passphrase does not open %s", path);
    }
    return AUTH_SPENT;
}

static bool is_private(struct auth *auth, const char *path)
{
    struct stat st;
    if (stat(path, &st)) {
        return false;
    }
    if (st.st_uid == getuid() && (st.st_mode & 077)) {
        login_note(auth->login, "%s is passed over: others may read it; chmod 600 it", path);
        return false;
    }
    return S_ISREG(st.st_mode);
}

/* Whether it is worth offering. */
static bool is_usable(struct auth *auth, const char *path, const struct keyfile *keyfile)
{
    if (keyfile->blob_length) {
        return auth_key_is_new(auth, path, keyfile->blob, keyfile->blob_length);
    }
    if (keyfile->rsa && !libssh2_version(0x010b00)) {
        login_note(auth->login, "%s is passed over: libssh2 %s cannot use RSA keys", path,
            libssh2_version(0));
        return false;
    }
    return auth_is_first(auth, path, strlen(path));
}

static enum auth_verdict try_key(
    struct auth *auth, const char *path, const char *text, size_t length)
{
    struct keyfile keyfile;
    if (keyfile_look(text, length, &keyfile)) {
        login_note(auth->login, "%s is passed over: it is no private key", path);
        return AUTH_SPENT;
    }
    if (!is_usable(auth, path, &keyfile)) {
        return AUTH_SPENT;
    }
    if (keyfile.encrypted && auth->login->unattended) {
        login_note(auth->login, "%s is passed over: nobody is there for its passphrase", path);
        snprintf(auth->locked, sizeof auth->locked, "%s", path);
        return AUTH_SPENT;
    }
    login_step(auth->login, "offering %s to %s", path, auth->name);
    if (!keyfile.encrypted) {
        return auth_judge_key(auth, path, offer(auth, text, length, ""));
    }
    bool wanted = !keyfile.blob_length;
    if (!wanted) {
        enum auth_verdict verdict = query(auth, path, &keyfile, &wanted);
        if (!wanted || verdict != AUTH_SPENT) {
            return verdict;
        }
    }
    return offer_encrypted(auth, path, text, length);
}

enum auth_verdict auth_keyfile(struct auth *auth, const char *path)
{
    char *text = NULL;
    size_t length = 0;
    struct error err = {0};
    size_t path_length = strlen(path);
    if ((path_length > 4 && !strcmp(path + path_length - 4, ".pub")) || access(path, F_OK) ||
        !is_private(auth, path)) {
        return AUTH_SPENT;
    }
    if (file_read(path, KEYFILE_MOST, &text, &length, &err)) {
        login_note(auth->login, "a key is passed over: %s", err.text);
        return AUTH_SPENT;
    }
    enum auth_verdict verdict = try_key(auth, path, text, length);
    explicit_bzero(text, length);
    free(text);
    return verdict;
}
