/* The tunnel's side of askpass: ssh's questions become prompts, answers go back, and nothing of
 * them stays here. ssh does not tell whether an answer may be seen while it is typed, so only
 * its own question about a host's key is echoed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/unixsock.h"
#include "daemon/tunnel/askpass.h"
#include "daemon/tunnel/openssh_private.h"
#include "daemon/tunnel/prompt.h"

enum { BACKLOG = 16, INSTRUCTION_MOST = 4096, TEXT_MOST = 1024 };

static void leave(struct asker *asker)
{
    if (asker->event) {
        event_free(asker->event);
    }
    close(asker->fd);
    free(asker->prompt);
    *asker = (struct asker){.state = ASKER_NONE, .fd = -1};
}

static struct asker *find(struct openssh *openssh, int state)
{
    for (int i = 0; i < ASKERS_MOST; i++) {
        if ((int)openssh->askers[i].state == state) {
            return &openssh->askers[i];
        }
    }
    return NULL;
}

static int send_answer(struct asker *asker, const char *answer)
{
    char packet[ANSWER_MOST + 1];
    size_t length = strnlen(answer, ANSWER_MOST);
    packet[0] = ASKPASS_ANSWER;
    memcpy(packet + 1, answer, length);
    ssize_t n = send(asker->fd, packet, length + 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    int code = n < 0 ? -errno : 0;
    explicit_bzero(packet, sizeof packet);
    return code;
}

/* What comes before the question itself is read once, with what ssh printed before. */
static void tell(struct asker *asker)
{
    struct openssh *openssh = asker->openssh;
    struct openssh_words *words = &openssh->words;
    char said[WORDS_SAID_MOST + ASKPASS_TEXT_MOST];
    const char *question = asker->prompt;
    size_t length = words->said_length;
    memcpy(said, words->said, length);
    const char *line = asker->host_key ? strrchr(question, '\n') : NULL;
    if (line) {
        size_t head = (size_t)(line + 1 - question);
        memcpy(said + length, question, head);
        length += head;
        question = line + 1;
    }
    words->said_length = 0;
    char *instruction = prompt_text(said, length, INSTRUCTION_MOST);
    char *text = prompt_text(question, strlen(question), TEXT_MOST);
    if (!instruction || !text) {
        openssh_end(openssh, LINK_CAUSE_FAILED, "out of memory");
    } else {
        struct login_prompt prompt = {.name = "", .instruction = instruction, .count = 1};
        nonce_make(openssh->prompt_id);
        snprintf(prompt.id, sizeof prompt.id, "%s", openssh->prompt_id);
        prompt.prompts[0].text = text;
        prompt.prompts[0].echo = asker->host_key;
        asker->state = ASKER_TOLD;
        openssh_allow_human(openssh);
        tunnel_set_state(openssh->tunnel, LINK_TUNNEL_PROMPTING, LINK_CAUSE_NONE,
            asker->host_key ? "ssh asks about the server's key" : "the server asks a question",
            0);
        control_prompt(openssh->tunnel, &prompt);
    }
    free(instruction);
    free(text);
}

void openssh_ask_next(evutil_socket_t fd, short what, void *argument)
{
    (void)fd;
    (void)what;
    struct openssh *openssh = argument;
    struct asker *waits = find(openssh, ASKER_WAITS);
    if (waits && !find(openssh, ASKER_TOLD) && openssh->phase == OPENSSH_LOGIN) {
        tell(waits);
    }
}

/* A fingerprint that the site has published is as good as a human's yes. */
static bool is_published(const struct openssh *openssh, const char *prompt)
{
    const struct tunnel *tunnel = openssh->tunnel;
    char *const *list = tunnel->hops[tunnel->hop_count - 1]->fingerprints;
    for (; *list; list++) {
        const char *found = strstr(prompt, *list);
        size_t length = strlen(*list);
        if (found && length == 50 && (found[length] == '.' || found[length] == '\n')) {
            return true;
        }
    }
    return false;
}

static void end_unattended(struct asker *asker)
{
    struct openssh *openssh = asker->openssh;
    const char *name = openssh_name(openssh);
    const char *cluster = openssh->tunnel->cluster;
    if (asker->host_key) {
        openssh_end(openssh, LINK_CAUSE_HOST_KEY_UNKNOWN,
            "the key of %s is not known yet and nobody is there to confirm it; run: gearsctl "
            "login %s",
            name, cluster);
    } else {
        openssh_end(openssh, LINK_CAUSE_AUTH_NEEDED,
            "%s asks for something only a human has; run: gearsctl login %s", name, cluster);
    }
}

static void take_question(struct asker *asker)
{
    struct openssh *openssh = asker->openssh;
    asker->host_key = words_is_host_key(asker->prompt);
    if (asker->host_key && is_published(openssh, asker->prompt) && !send_answer(asker, "yes")) {
        control_log(
            openssh->tunnel, "the host key of %s is the published one", openssh_name(openssh));
        leave(asker);
        openssh->words.said_length = 0;
    } else if (openssh->tunnel->unattended) {
        end_unattended(asker);
    } else if (find(openssh, ASKER_TOLD)) {
        asker->state = ASKER_WAITS;
    } else {
        tell(asker);
    }
}

void openssh_ask_notice(struct openssh *openssh, const char *words)
{
    char *line = prompt_line(words, strlen(words), 400);
    if (openssh->tunnel->unattended) {
        openssh_end(openssh, LINK_CAUSE_AUTH_NEEDED,
            "nobody is there for what ssh wants: %s; run: gearsctl login %s", line ? line : "",
            openssh->tunnel->cluster);
    } else {
        openssh->human = true;
        openssh_allow_human(openssh);
        tunnel_set_state(openssh->tunnel, LINK_TUNNEL_CONNECTING, LINK_CAUSE_NONE,
            line ? line : "ssh waits for a human", 0);
    }
    free(line);
}

static void take_request(struct asker *asker, char *request, size_t length)
{
    struct openssh *openssh = asker->openssh;
    size_t nonce = NONCE_TEXT_SIZE - 1;
    if (length <= nonce || memcmp(request, openssh->ask_nonce, nonce) != 0 ||
        openssh->phase != OPENSSH_LOGIN) {
        leave(asker);
        return;
    }
    openssh_hear_words(openssh); /* what it printed before it asked */
    asker->prompt = strndup(request + nonce + 1, length - nonce - 1);
    if (!asker->prompt || openssh->phase != OPENSSH_LOGIN) {
        leave(asker);
    } else if (request[nonce] == ASKPASS_NOTICE) {
        asker->state = ASKER_NOTICE;
        openssh_ask_notice(openssh, asker->prompt);
    } else {
        take_question(asker);
    }
}

/* Nobody is asked any more: ssh goes on, or what waits is asked next, but not before the caller
 * has told of this end. */
static void after(struct openssh *openssh)
{
    openssh_allow_rest(openssh);
    event_active(openssh->next, EV_TIMEOUT, 0);
}

/* It went away: ssh ended, or needs no answer any more. */
static void gone(struct asker *asker)
{
    struct openssh *openssh = asker->openssh;
    bool told = asker->state == ASKER_TOLD, notice = asker->state == ASKER_NOTICE;
    leave(asker);
    if (openssh->phase != OPENSSH_LOGIN || !(told || notice) || find(openssh, ASKER_TOLD)) {
        return;
    }
    if (told) {
        openssh->prompt_id[0] = 0;
        control_drop_prompt(openssh->tunnel);
    }
    after(openssh);
    tunnel_set_state(
        openssh->tunnel, LINK_TUNNEL_CONNECTING, LINK_CAUSE_NONE, "ssh logs in", 0);
}

static void on_asker(evutil_socket_t fd, short what, void *argument)
{
    (void)what;
    char request[NONCE_TEXT_SIZE + ASKPASS_TEXT_MOST];
    struct asker *asker = argument;
    ssize_t n = recv((int)fd, request, sizeof request, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        gone(asker);
    } else if (asker->state == ASKER_NEW) {
        take_request(asker, request, (size_t)n);
    }
}

/* Whether the peer runs in the session of our ssh. */
static bool is_ours(const struct openssh *openssh, int fd)
{
    struct ucred peer;
    return openssh->pid && !unix_peer(fd, &peer) && getsid(peer.pid) == openssh->pid;
}

static void on_listener(evutil_socket_t listener, short what, void *argument)
{
    (void)what;
    struct openssh *openssh = argument;
    int fd = unix_accept_same_uid((int)listener, NULL);
    struct asker *asker = find(openssh, ASKER_NONE);
    if (fd < 0) {
        return;
    }
    if (!asker || !is_ours(openssh, fd)) {
        close(fd);
        return;
    }
    *asker = (struct asker){.openssh = openssh, .state = ASKER_NEW, .fd = fd};
    asker->event = event_new(openssh->tunnel->base, fd, EV_READ | EV_PERSIST, on_asker, asker);
    if (!asker->event || event_add(asker->event, NULL)) {
        leave(asker);
    }
}

int openssh_answer(
    struct openssh *openssh, const char *id, const char *const answers[], size_t count)
{
    struct asker *asker = find(openssh, ASKER_TOLD);
    if (!asker || strcmp(id, openssh->prompt_id) != 0) {
        return -ESTALE;
    }
    if (count != 1 || strlen(answers[0]) >= ANSWER_MOST) {
        return -EINVAL;
    }
    if (send_answer(asker, answers[0])) {
        return -ESTALE;
    }
    openssh->human = openssh->human || !asker->host_key;
    openssh->tunnel->human = openssh->human; /* told from now on, however this ends */
    leave(asker);
    openssh->prompt_id[0] = 0;
    after(openssh);
    return 0;
}

int openssh_ask_start(struct openssh *openssh, struct error *err)
{
    char path[64];
    for (int i = 0; i < ASKERS_MOST; i++) {
        openssh->askers[i].fd = -1;
    }
    openssh_folder_path(openssh, "ask", path);
    openssh->ask_fd = unix_listen(path, SOCK_SEQPACKET, BACKLOG, err);
    if (openssh->ask_fd < 0) {
        return openssh->ask_fd;
    }
    openssh->ask_event = event_new(
        openssh->tunnel->base, openssh->ask_fd, EV_READ | EV_PERSIST, on_listener, openssh);
    return openssh->ask_event && !event_add(openssh->ask_event, NULL)
               ? 0
               : error_set(err, -ENOMEM, "out of memory");
}

void openssh_ask_finish(struct openssh *openssh)
{
    for (int i = 0; i < ASKERS_MOST; i++) {
        if (openssh->askers[i].state != ASKER_NONE) {
            leave(&openssh->askers[i]);
        }
    }
    if (openssh->ask_event) {
        event_free(openssh->ask_event);
        openssh->ask_event = NULL;
    }
    if (openssh->ask_fd >= 0) {
        close(openssh->ask_fd);
        openssh->ask_fd = -1;
    }
}
