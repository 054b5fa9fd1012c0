/* The conversation of a login: steps shown, prompts asked on the terminal, answers sent on a
 * second connection and wiped. An answer is in this process only, which cannot be dumped, and
 * only until it is sent. */
#include "client/login.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/terminal.h"

enum {
    PROMPTS_MOST = 16,
    ANSWER_SIZE = 1024 + 1,
    STEP_MS = 15 * 60 * 1000, /* another login of the same hop may wait for its human */
    ANSWER_MS = 10000
};

struct talk {
    struct cli *cli; /* of the Login call */
    const struct login_wish *wish;
    cJSON *reply; /* the newest */
    bool continues;
    char said[300];     /* the last step shown */
    char answered[100]; /* the id of the last prompt that was: it may be told once more */
    char answers[PROMPTS_MOST][ANSWER_SIZE];
};

/* What was typed must not reach a core file or a debugger. */
static void close_to_others(void)
{
    struct rlimit limit;
    prctl(PR_SET_DUMPABLE, 0);
    if (!getrlimit(RLIMIT_CORE, &limit)) { /* the hard one is also that of a gearsd it starts */
        limit.rlim_cur = 0;
        setrlimit(RLIMIT_CORE, &limit);
    }
}

/* The user's agent, unless somebody else's socket pretends to be it. */
static const char *find_agent(void)
{
    const char *path = getenv("SSH_AUTH_SOCK");
    struct stat st;
    return path && *path == '/' && !stat(path, &st) && S_ISSOCK(st.st_mode) &&
                   st.st_uid == geteuid()
               ? path
               : NULL;
}

static const cJSON *prompt_of(const struct talk *talk)
{
    const cJSON *prompt = cJSON_GetObjectItemCaseSensitive(talk->reply, "prompt");
    bool asks =
        cJSON_IsObject(prompt) && strcmp(json_text(prompt, "prompt_id"), talk->answered) != 0;
    return asks ? prompt : NULL;
}

static void show_step(struct talk *talk)
{
    const cJSON *tunnel = cJSON_GetObjectItemCaseSensitive(talk->reply, "tunnel");
    const char *words = json_text(tunnel, "message");
    words = *words ? words : json_text(tunnel, "state");
    if (talk->continues && !prompt_of(talk) && !talk->wish->alone && isatty(2) && *words &&
        strcmp(words, talk->said) != 0) {
        snprintf(talk->said, sizeof talk->said, "%s", words);
        fprintf(stderr, "%s: %s\n", talk->wish->cluster, words);
    }
}

static int next_reply(struct talk *talk)
{
    cJSON_Delete(talk->reply);
    return cli_next(talk->cli, "Login", STEP_MS, &talk->reply, &talk->continues);
}

/* Something came while the human types. 0: only a step, go on asking; 1: it is to be looked at,
 * as the prompt counts no more; else an exit code. */
static int hear_meanwhile(struct talk *talk, cJSON **prompt)
{
    cJSON *kept = cJSON_DetachItemFromObjectCaseSensitive(talk->reply, "prompt");
    int code = next_reply(talk);
    const cJSON *now = prompt_of(talk);
    bool same = !code && talk->continues &&
                (!now || !strcmp(json_text(now, "prompt_id"), json_text(kept, "prompt_id")));
    if (!same) {
        cJSON_Delete(kept);
        *prompt = NULL;
        return code ? -code : 1;
    }
    cJSON_DeleteItemFromObjectCaseSensitive(talk->reply, "prompt");
    cJSON_AddItemToObject(talk->reply, "prompt", kept);
    return 0;
}

/* One answer; as hear_meanwhile, and −EXIT_INTERRUPTED after ^D. */
static int ask_line(struct talk *talk, struct terminal *terminal, cJSON **prompt, size_t index)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(*prompt, "prompts");
    const cJSON *line = cJSON_GetArrayItem(list, (int)index);
    bool echo = json_bool(line, "echo");
    terminal_set_echo(terminal, echo);
    terminal_print(terminal, json_text(line, "text"));
    for (;;) {
        const struct varlink_client *client = talk->cli->client;
        int code = varlink_client_has_reply(client)
                       ? 1
                       : terminal_read_line(terminal, talk->answers[index], ANSWER_SIZE,
                             varlink_client_fd(client));
        if (!echo && code <= 0) {
            terminal_print(terminal, "\n");
        }
        if (code == -EMSGSIZE) {
            terminal_print(terminal, "an answer has at most 1024 bytes; once more: ");
        } else if (code <= 0) {
            return code ? -EXIT_INTERRUPTED : 0;
        } else if ((code = hear_meanwhile(talk, prompt))) {
            terminal_print(terminal, "\n");
            return code;
        }
    }
}

static void print_heading(const struct terminal *terminal, const cJSON *prompt)
{
    static const char *const parts[] = {"name", "instruction"};
    for (size_t i = 0; i < 2; i++) {
        const char *text = json_text(prompt, parts[i]);
        size_t length = strlen(text);
        terminal_print(terminal, text);
        if (length && text[length - 1] != '\n') {
            terminal_print(terminal, "\n");
        }
    }
}

/* On a connection of its own, as Login occupies its. What becomes of it is heard there. */
static int send_answers(struct talk *talk, const cJSON *prompt, size_t count)
{
    struct cli second = cli_fork(talk->cli, talk->cli->subject);
    struct error err;
    char *error = NULL;
    bool continues;
    cJSON *reply = NULL;
    int code = cli_connect(&second);
    if (code) {
        return code;
    }
    cJSON *parameters = cJSON_CreateObject();
    cJSON_AddStringToObject(parameters, "prompt_id", json_text(prompt, "prompt_id"));
    cJSON *list = cJSON_AddArrayToObject(parameters, "answers");
    for (size_t i = 0; i < count; i++) {
        cJSON_AddItemToArray(list, cJSON_CreateString(talk->answers[i]));
    }
    code = varlink_client_send_secret(
        second.client, "org.gears.Manager.AnswerPrompt", parameters, &err);
    code = code ? code
                : varlink_client_receive(
                      second.client, ANSWER_MS, &reply, &error, &continues, &err);
    if (code) {
        cli_say("%s: the answer did not reach gearsd: %s", talk->cli->subject, err.text);
    }
    if (!code && error) { /* a prompt that counts no more: the Login call tells what does */
        cli_say("%s: %s", talk->cli->subject,
            *json_text(reply, "message") ? json_text(reply, "message") : error);
    }
    free(error);
    cJSON_Delete(reply);
    cli_fork_end(&second);
    return code ? EXIT_UNREACHABLE : 0;
}

/* Ask all of a prompt's lines. 0: answered; 1: the newest reply is to be looked at; negative:
 * an exit code. */
static int ask(struct talk *talk)
{
    struct terminal terminal;
    struct error err;
    cJSON *prompt = cJSON_GetObjectItemCaseSensitive(talk->reply, "prompt");
    int count = cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(prompt, "prompts"));
    if (count < 1 || count > PROMPTS_MOST) {
        cli_say("%s: gearsd asks %d questions at once", talk->cli->subject, count);
        return -EXIT_INCOMPATIBLE;
    }
    if (terminal_open(&terminal, &err)) {
        cli_say("%s: %s has a question and there is no terminal (%s); run: gearsctl login %s",
            talk->cli->subject, talk->wish->cluster, err.text, talk->wish->cluster);
        return -EXIT_HUMAN;
    }
    close_to_others();
    print_heading(&terminal, prompt);
    int code = 0;
    for (size_t i = 0; !code && i < (size_t)count; i++) {
        code = ask_line(talk, &terminal, &prompt, i);
    }
    terminal_close(&terminal);
    if (!code) {
        snprintf(talk->answered, sizeof talk->answered, "%s", json_text(prompt, "prompt_id"));
        code = -send_answers(talk, prompt, (size_t)count);
    }
    explicit_bzero(talk->answers, sizeof talk->answers);
    if (code == -EXIT_INTERRUPTED) {
        cli_say("%s: the login was given up", talk->cli->subject);
    }
    return code;
}

static int converse(struct talk *talk, cJSON *parameters)
{
    int code =
        cli_begin(talk->cli, "Login", parameters, STEP_MS, &talk->reply, &talk->continues);
    while (!code && talk->continues) {
        show_step(talk);
        int asked = prompt_of(talk) ? ask(talk) : 0;
        if (asked < 0) {
            return -asked;
        }
        code = asked ? 0 : next_reply(talk);
    }
    return code;
}

int login_run(struct cli *cli, const struct login_wish *wish, cJSON **tunnel)
{
    struct cli line = cli_fork(cli, cli->subject);
    struct talk *talk = calloc(1, sizeof *talk);
    const char *agent = find_agent();
    char farewell[200];
    if (!talk) {
        cli_say("out of memory");
        return EXIT_FAILED;
    }
    talk->cli = &line;
    talk->wish = wish;
    cJSON *parameters = cJSON_CreateObject();
    cJSON_AddStringToObject(parameters, "cluster", wish->cluster);
    cJSON_AddBoolToObject(parameters, "interactive", !wish->alone && isatty(0) && isatty(2));
    if (agent) {
        cJSON_AddStringToObject(parameters, "agent", agent);
    }
    if (wish->node) {
        cJSON_AddStringToObject(parameters, "node", wish->node);
    }
    if (wish->force) {
        cJSON_AddBoolToObject(parameters, "force", true);
    }
    snprintf(farewell, sizeof farewell, "%s: the login was given up", wish->cluster);
    watch_set_farewell(wish->alone ? NULL : farewell);
    int code = converse(talk, parameters);
    watch_set_farewell(NULL);
    if (!code) {
        *tunnel = cJSON_DetachItemFromObjectCaseSensitive(talk->reply, "tunnel");
    }
    cJSON_Delete(talk->reply);
    explicit_bzero(talk, sizeof *talk);
    free(talk);
    cli_fork_end(&line);
    return code;
}
