/* Logs in as a tunnel does and tells in JSON lines what it hears: {"step"}, {"prompt"},
 * {"done"}. Answers come on stdin, a line for each question; the line "^C" cancels. After a
 * login `--run COMMAND` runs it, {"ran"} has its output. Stays until stdin is closed.
 *
 * With `--old` it only tells by its status whether libssh2 is older than 1.11.
 *
 *     login_driver [--unattended] [--step MS] [--human MS] [--verdict MS] [--run COMMAND]
 *         HOP-RECORD... */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "common/file.h"
#include "daemon/tunnel/login.h"

struct driver {
    struct event_base *base;
    struct login *login;
    const char *command;
    char input[PROMPTS_MOST * (ANSWER_MOST + 1)]; /* of whole lines, and wiped */
    size_t used;
    char id[NONCE_TEXT_SIZE];
    bool thread_left;
    size_t questions; /* of the round that waits; 0: none */
};

static void tell(cJSON *object)
{
    char *line = cJSON_PrintUnformatted(object);
    puts(line);
    fflush(stdout);
    free(line);
    cJSON_Delete(object);
}

static void on_step(void *context, const char *words)
{
    (void)context;
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "step", words);
    tell(object);
}

/* Answer the round if there are lines enough. */
static void answer(struct driver *driver)
{
    const char *answers[PROMPTS_MOST];
    char *at = driver->input, *end = driver->input + driver->used;
    size_t count = 0;
    char *newline;
    while (count < driver->questions && (newline = memchr(at, '\n', (size_t)(end - at)))) {
        *newline = 0;
        answers[count++] = at;
        at = newline + 1;
    }
    if (!driver->questions || count < driver->questions) {
        for (char *zero = driver->input; zero < at; zero++) {
            *zero = *zero ? *zero : '\n';
        }
        return;
    }
    driver->questions = 0;
    int code = login_answer(driver->login, driver->id, answers, count);
    if (code) {
        cJSON *object = cJSON_CreateObject();
        cJSON_AddNumberToObject(object, "answer", code);
        tell(object);
    }
    size_t left = (size_t)(end - at);
    memmove(driver->input, at, left);
    explicit_bzero(driver->input + left, driver->used - left);
    driver->used = left;
}

static void on_prompt(void *context, const struct login_prompt *prompt)
{
    struct driver *driver = context;
    cJSON *object = cJSON_CreateObject();
    cJSON *inner = cJSON_AddObjectToObject(object, "prompt");
    cJSON_AddStringToObject(inner, "id", prompt->id);
    cJSON_AddStringToObject(inner, "name", prompt->name);
    cJSON_AddStringToObject(inner, "instruction", prompt->instruction);
    cJSON *prompts = cJSON_AddArrayToObject(inner, "prompts");
    for (size_t i = 0; i < prompt->count; i++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "text", prompt->prompts[i].text);
        cJSON_AddBoolToObject(one, "echo", prompt->prompts[i].echo);
        cJSON_AddItemToArray(prompts, one);
    }
    tell(object);
    snprintf(driver->id, sizeof driver->id, "%s", prompt->id);
    driver->questions = prompt->count;
    answer(driver);
}

/* One round of the connection. False: it ended. */
static bool pump(struct transport *transport)
{
    int code = transport_flush(transport);
    struct pollfd fd = {.fd = transport_fd(transport),
        .events = (short)(POLLIN | (code == -EAGAIN ? POLLOUT : 0))};
    if (poll(&fd, 1, 20000) <= 0) {
        return false;
    }
    ssize_t n = transport_fill(transport, 65536);
    return n > 0 || n == -EAGAIN;
}

static void run(const struct ssh_link *link, const char *command)
{
    LIBSSH2_CHANNEL *channel = NULL;
    char output[4096];
    size_t used = 0;
    ssize_t n = 0;
    while (!(channel = libssh2_channel_open_session(link->session)) &&
           libssh2_session_last_errno(link->session) == LIBSSH2_ERROR_EAGAIN &&
           pump(link->transport)) {
    }
    while (channel && libssh2_channel_exec(channel, command) == LIBSSH2_ERROR_EAGAIN &&
           pump(link->transport)) {
    }
    while (channel && used < sizeof output - 1) {
        n = libssh2_channel_read(channel, output + used, sizeof output - 1 - used);
        used += n > 0 ? (size_t)n : 0;
        bool more = n == LIBSSH2_ERROR_EAGAIN && pump(link->transport);
        if (n <= 0 && !more) {
            break;
        }
    }
    output[used] = 0;
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "ran", output);
    tell(object);
}

static void on_done(void *context, struct login_result *result)
{
    struct driver *driver = context;
    cJSON *object = cJSON_CreateObject();
    cJSON *inner = cJSON_AddObjectToObject(object, "done");
    cJSON_AddBoolToObject(inner, "up", result->link != NULL);
    cJSON_AddNumberToObject(inner, "cause", result->cause);
    cJSON_AddStringToObject(inner, "text", result->text);
    cJSON_AddBoolToObject(inner, "human", result->human);
    cJSON_AddStringToObject(inner, "method", result->method);
    cJSON_AddStringToObject(inner, "address", result->address);
    tell(object);
    if (result->link && driver->command) {
        run(result->link, driver->command);
    }
    ssh_link_destroy(result->link);
    driver->login = NULL;
    driver->thread_left = result->thread_left;
}

static void on_input(evutil_socket_t fd, short what, void *context)
{
    (void)what;
    struct driver *driver = context;
    ssize_t n = read(fd, driver->input + driver->used, sizeof driver->input - driver->used);
    if (n <= 0) {
        event_base_loopbreak(driver->base);
        return;
    }
    driver->used += (size_t)n;
    if (driver->login && memmem(driver->input, driver->used, "^C\n", 3)) {
        login_cancel(driver->login);
    } else if (driver->login) {
        answer(driver);
    }
}

static struct ssh_hop *read_hop(const char *path)
{
    char *text = NULL;
    size_t length = 0;
    struct ssh_hop *hop = NULL;
    struct error err = {0};
    if (file_read(path, 65536, &text, &length, &err) ||
        ssh_hop_parse(text, length, &hop, &err)) {
        fprintf(stderr, "login_driver: %s\n", err.text);
        exit(2);
    }
    free(text);
    return hop;
}

static void read_words(struct driver *driver, struct login_request *request, char **argv)
{
    for (; *argv; argv++) {
        if (!strcmp(*argv, "--unattended")) {
            request->unattended = true;
        } else if (!strcmp(*argv, "--step")) {
            request->step_ms = atoll(*++argv);
        } else if (!strcmp(*argv, "--human")) {
            request->human_ms = atoll(*++argv);
        } else if (!strcmp(*argv, "--verdict")) {
            request->verdict_ms = atoll(*++argv);
        } else if (!strcmp(*argv, "--run")) {
            driver->command = *++argv;
        } else if (request->hop_count < HOPS_MOST) {
            request->hops[request->hop_count++] = read_hop(*argv);
        }
    }
}

int main(int argc, char **argv)
{
    static struct driver driver;
    struct login_request request = {
        .cluster = "andes", .step_ms = 10000, .human_ms = 60000, .verdict_ms = VERDICT_MS};
    const struct login_calls calls = {on_step, on_prompt, on_done};
    struct error err = {0};
    if (argc == 2 && !strcmp(argv[1], "--old")) {
        return libssh2_version(0x010b00) ? 1 : 0;
    }
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    read_words(&driver, &request, argv + 1);
    driver.base = event_base_new();
    fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
    struct event *input =
        event_new(driver.base, STDIN_FILENO, EV_READ | EV_PERSIST, on_input, &driver);
    event_add(input, NULL);
    driver.login = login_start(driver.base, &request, &calls, &driver, &err);
    for (size_t i = 0; i < request.hop_count; i++) {
        ssh_hop_destroy(request.hops[i]);
    }
    if (!driver.login) {
        fprintf(stderr, "login_driver: %s\n", err.text);
        return 1;
    }
    event_base_dispatch(driver.base);
    if (driver.login) { /* nobody is there any more */
        login_cancel(driver.login);
        event_del(input);
        event_base_dispatch(driver.base);
    }
    if (driver.thread_left) {
        _exit(0);
    }
    event_free(input);
    event_base_free(driver.base);
    return 0;
}
