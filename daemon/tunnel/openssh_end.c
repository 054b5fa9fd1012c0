/* Why an ssh ended, by what it printed last, in words and as a cause. Called by openssh.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "common/file.h"
#include "daemon/tunnel/keyfile.h"
#include "daemon/tunnel/openssh_private.h"

/* Whether a passphrase might have helped. Reads files, when all is over. */
static bool has_encrypted_key(const struct tunnel *tunnel)
{
    char *const *path = tunnel->hops[tunnel->hop_count - 1]->identities;
    bool encrypted = false;
    for (; *path && !encrypted; path++) {
        static struct keyfile keyfile;
        char *text;
        size_t length;
        if (!file_read(*path, KEYFILE_MOST, &text, &length, NULL)) {
            encrypted = !keyfile_look(text, length, &keyfile) && keyfile.encrypted;
            explicit_bzero(text, length);
            free(text);
        }
    }
    return encrypted;
}

static void explain_failure(struct openssh *openssh, const char *why)
{
    struct openssh_words *words = &openssh->words;
    const struct tunnel *tunnel = openssh->tunnel;
    const char *name = openssh_name(openssh);
    enum link_tunnel_cause cause = words->cause ? words->cause : LINK_CAUSE_FAILED;
    if (cause == LINK_CAUSE_AUTH_FAILED && tunnel->unattended &&
        (words->asks_more || has_encrypted_key(tunnel))) {
        openssh_end(openssh, LINK_CAUSE_AUTH_NEEDED,
            "%s asks for something only a human has; run: gearsctl login %s (ssh: %s)", name,
            tunnel->cluster, why);
    } else if (cause == LINK_CAUSE_HOST_KEY_CHANGED) {
        openssh_end(openssh, cause,
            "the host key of %s is not the known one (%s); nothing was sent. Ask the site "
            "before you remove the old one; ssh: %s",
            name, words->detail[0] ? words->detail : "changed or revoked", why);
    } else if (cause == LINK_CAUSE_REFUSED && openssh->human) {
        openssh_end(openssh, LINK_CAUSE_AUTH_FAILED,
            "%s ended the login after what was answered; ssh: %s", name, why);
    } else {
        openssh_end(openssh, cause, "%s cannot be reached by ssh: %s", name, why);
    }
}

void openssh_explain_end(struct openssh *openssh, int status)
{
    struct openssh_words *words = &openssh->words;
    char why[360];
    openssh_hear_words(openssh);
    words_finish(words);
    if (words->last[0]) {
        snprintf(why, sizeof why, "%s", words->last);
    } else if (WIFSIGNALED(status)) {
        snprintf(why, sizeof why, "it was ended by signal %d", WTERMSIG(status));
    } else {
        snprintf(why, sizeof why, "it ended with exit code %d", WEXITSTATUS(status));
    }
    if (openssh->phase == OPENSSH_UP) {
        openssh_end(openssh, LINK_CAUSE_NETWORK_DOWN, "the connection to %s ended; ssh: %s",
            openssh_name(openssh), why);
    } else {
        explain_failure(openssh, why);
    }
}
