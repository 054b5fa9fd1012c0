/* The password method: one question of ours, as ssh words it. */
#include <stdio.h>
#include <string.h>

#include "daemon/tunnel/auth_private.h"

enum { ATTEMPTS_MOST = 20 };

static int offer(struct auth *auth, const char *password)
{
    int code;
    do {
        code = libssh2_userauth_password_ex(auth->session, auth->user, auth->user_length,
            password, (unsigned int)strlen(password), NULL);
    } while (code == LIBSSH2_ERROR_EAGAIN);
    return code;
}

enum auth_verdict auth_password(struct auth *auth)
{
    char text[600];
    snprintf(text, sizeof text, "%s@%s's password: ", auth->user, auth->name);
    for (int attempt = 0; attempt < ATTEMPTS_MOST; attempt++) {
        struct answers answers = {0};
        if (auth_ask(auth, PROMPT_SERVER, text, &answers)) {
            return AUTH_ENDED;
        }
        int code = offer(auth, answers.text[0]);
        answers_finish(&answers);
        if (!code) {
            return AUTH_DONE;
        }
        if (code == LIBSSH2_ERROR_PASSWORD_EXPIRED) {
            login_fail(auth->login, LINK_CAUSE_AUTH_FAILED,
                "the password of %s at %s has expired: log in once with ssh to change it",
                auth->user, auth->name);
            return AUTH_ENDED;
        }
        auth->refused_answers += !auth_is_lost(auth);
        if (auth_is_over(auth)) {
            return auth_end(auth);
        }
        enum auth_verdict verdict = auth_list(auth);
        if (verdict != AUTH_CHANGED) {
            return verdict;
        }
        if (!auth_takes(auth, "password")) {
            auth->refused_answers--; /* it was right, and something else comes next */
            return AUTH_CHANGED;
        }
        login_note(auth->login, "%s refused the answer", auth->name);
    }
    return AUTH_SPENT;
}
