/* keyboard-interactive: the server's own questions, in any number of rounds. PASSCODEs go
 * through here: nothing of an answer stays behind. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/tunnel/auth_private.h"
#include "daemon/tunnel/prompt.h"

enum {
    ATTEMPTS_MOST = 20, /* servers end it sooner */
    ROUNDS_MOST = 100,
    NAME_MOST = 256,
    INSTRUCTION_MOST = 4096,
    TEXT_MOST = 1024
};

/* libssh2 would answer with what there is: make it unable to. */
static void refuse_to_answer(struct auth *auth, int code)
{
    transport_abort(auth->link->transport, code == -ECANCELED ? code : -EPIPE);
}

/* A round without questions is answered by silence; what it says is worth a word. */
static void hear(struct auth *auth, const char *text, size_t length)
{
    char *line = length ? prompt_line(text, length, INSTRUCTION_MOST) : NULL;
    if (line && *line) {
        login_note(auth->login, "%s says: %s", auth->name, line);
    }
    free(line);
}

struct texts {
    char *name, *instruction, *prompts[PROMPTS_MOST];
};

static void free_texts(struct texts *texts)
{
    free(texts->name);
    free(texts->instruction);
    for (size_t i = 0; i < PROMPTS_MOST; i++) {
        free(texts->prompts[i]);
    }
}

/* Take the answers over into memory that libssh2 frees, and so wipes. */
static void hand_answers(struct auth *auth, const struct answers *answers,
    LIBSSH2_USERAUTH_KBDINT_RESPONSE *responses)
{
    for (size_t i = 0; i < answers->count; i++) {
        size_t length = strlen(answers->text[i]);
        responses[i].text = transport_allocate(auth->link->transport, length + 1);
        if (!responses[i].text) {
            login_fail(auth->login, LINK_CAUSE_FAILED, "out of memory");
            refuse_to_answer(auth, -ENOMEM);
            return;
        }
        memcpy(responses[i].text, answers->text[i], length + 1);
        responses[i].length = (unsigned int)length;
    }
}

static void ask(struct auth *auth, struct texts *texts, const struct login_prompt *shape,
    LIBSSH2_USERAUTH_KBDINT_RESPONSE *responses)
{
    struct login_prompt prompt = *shape;
    struct answers answers = {0};
    bool whole = texts->name && texts->instruction;
    prompt.name = texts->name;
    prompt.instruction = texts->instruction;
    for (size_t i = 0; i < prompt.count; i++) {
        prompt.prompts[i].text = texts->prompts[i];
        whole = whole && texts->prompts[i];
    }
    if (auth->refused) {
        login_note(auth->login, "%s refused the answer", auth->name);
        auth->refused = false;
    }
    if (!whole) {
        login_fail(auth->login, LINK_CAUSE_FAILED, "out of memory");
        refuse_to_answer(auth, -ENOMEM);
        return;
    }
    int code = login_ask(auth->login, auth->hop, auth->link->transport, &prompt, &answers);
    if (code) {
        refuse_to_answer(auth, code);
        return;
    }
    auth->asked++;
    hand_answers(auth, &answers, responses);
    answers_finish(&answers);
}

static LIBSSH2_USERAUTH_KBDINT_RESPONSE_FUNC(on_questions)
{
    struct login *login = transport_context(*abstract);
    struct auth *auth = login->auth;
    struct login_prompt shape = {.count = num_prompts > 0 ? (size_t)num_prompts : 0};
    if (++auth->rounds > ROUNDS_MOST || shape.count > PROMPTS_MOST) {
        login_fail(login, LINK_CAUSE_FAILED, "%s asks too much: round %u with %d questions",
            auth->name, auth->rounds, num_prompts);
        refuse_to_answer(auth, -EPROTO);
        return;
    }
    size_t name_length = name && name_len > 0 ? (size_t)name_len : 0;
    size_t length = instruction && instruction_len > 0 ? (size_t)instruction_len : 0;
    if (!shape.count) {
        hear(auth, name, name_length);
        hear(auth, instruction, length);
        return;
    }
    struct texts texts = {.name = prompt_text(name, name_length, NAME_MOST),
        .instruction = prompt_text(instruction, length, INSTRUCTION_MOST)};
    for (size_t i = 0; i < shape.count; i++) {
        texts.prompts[i] =
            prompt_text((const char *)prompts[i].text, prompts[i].length, TEXT_MOST);
        shape.prompts[i].echo = prompts[i].echo != 0;
    }
    ask(auth, &texts, &shape, responses);
    free_texts(&texts);
}

/* Nothing was asked this time: the answers before were right and another method comes next, or
 * the server does not want to ask again. */
static enum auth_verdict refused_unasked(struct auth *auth)
{
    enum auth_verdict verdict = auth_list(auth);
    if (verdict == AUTH_CHANGED && auth_takes(auth, "keyboard-interactive")) {
        return AUTH_SPENT;
    }
    auth->refused_answers--;
    return verdict;
}

enum auth_verdict auth_kbdint(struct auth *auth)
{
    for (int attempt = 0; attempt < ATTEMPTS_MOST; attempt++) {
        int code;
        auth->asked = 0;
        login_restart_step(auth->login);
        do {
            code = libssh2_userauth_keyboard_interactive_ex(
                auth->session, auth->user, auth->user_length, on_questions);
        } while (code == LIBSSH2_ERROR_EAGAIN);
        if (!code) {
            return AUTH_DONE;
        }
        auth->refused = auth->asked > 0;
        auth->refused_answers += auth->refused && !auth_is_lost(auth);
        if (auth_is_over(auth)) {
            return auth_end(auth);
        }
        if (!auth->refused) {
            return attempt ? refused_unasked(auth) : AUTH_SPENT;
        }
    }
    return AUTH_SPENT;
}
