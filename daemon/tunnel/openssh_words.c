/* Reading what ssh prints. Its words are the same since OpenSSH 7; what is not known here is
 * still passed on. Called by openssh.c and openssh_ask.c. */
#include "daemon/tunnel/openssh_words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/tunnel/prompt.h"

/* The first pattern found in a line counts, and of several lines the cause that stands here
 * first: "Host key verification failed." is said after all the others. */
static const struct {
    const char *pattern;
    enum link_tunnel_cause cause;
} meanings[] = {
    {"REMOTE HOST IDENTIFICATION HAS CHANGED", LINK_CAUSE_HOST_KEY_CHANGED},
    {" has changed and you have requested strict checking", LINK_CAUSE_HOST_KEY_CHANGED},
    {"REVOKED HOST KEY", LINK_CAUSE_HOST_KEY_CHANGED},
    {" marked as revoked", LINK_CAUSE_HOST_KEY_CHANGED},
    {" host key is known for ", LINK_CAUSE_HOST_KEY_UNKNOWN},
    {"Host key verification failed", LINK_CAUSE_HOST_KEY_UNKNOWN},
    {"Unable to negotiate with ", LINK_CAUSE_NO_COMMON_ALGORITHM},
    {"Permission denied (", LINK_CAUSE_AUTH_FAILED},
    {"Too many authentication failures", LINK_CAUSE_AUTH_FAILED},
    {"No more authentication methods", LINK_CAUSE_AUTH_FAILED},
    {"Could not resolve hostname", LINK_CAUSE_NETWORK_DOWN},
    {"Connection timed out", LINK_CAUSE_NETWORK_DOWN},
    {"Operation timed out", LINK_CAUSE_NETWORK_DOWN},
    {"No route to host", LINK_CAUSE_NETWORK_DOWN},
    {"Network is unreachable", LINK_CAUSE_NETWORK_DOWN},
    {"Host is down", LINK_CAUSE_NETWORK_DOWN},
    {"Connection refused", LINK_CAUSE_REFUSED},
    {"Connection closed by ", LINK_CAUSE_REFUSED},
    {"Connection reset by ", LINK_CAUSE_REFUSED},
    {"Not allowed at this time", LINK_CAUSE_REFUSED},
};
enum { MEANINGS = sizeof meanings / sizeof *meanings };

/* Beside the point, at an end. */
static const char *const asides[] = {"Transferred: sent ",
    "Bytes per second: ", "Authenticated to ", "Authenticated using ", "Disconnected from ",
    "Warning: Permanently added "};

static size_t rank(enum link_tunnel_cause cause)
{
    size_t i = 0;
    while (i < MEANINGS && meanings[i].cause != cause) {
        i++;
    }
    return i;
}

static void learn_cause(struct openssh_words *words, const char *line)
{
    for (size_t i = 0; i < MEANINGS; i++) {
        if (strstr(line, meanings[i].pattern)) {
            enum link_tunnel_cause cause = meanings[i].cause;
            words->cause = rank(cause) < rank(words->cause) ? cause : words->cause;
            break;
        }
    }
    const char *denied = strstr(line, "Permission denied (");
    if (denied) {
        words->asks_more = strstr(denied, "keyboard-interactive") || strstr(denied, "password");
    }
    size_t used = strlen(words->detail);
    if (!strncmp(line, "SHA256:", 7) || !strncmp(line, "Offending ", 10)) {
        snprintf(
            words->detail + used, sizeof words->detail - used, "%s%s", used ? ", " : "", line);
    }
}

/* Authenticated to NAME ([ADDRESS]:PORT) using "METHOD". Of several the last is the server. */
static void learn_login(struct openssh_words *words, const char *line)
{
    const char *address = strstr(line, " ([");
    const char *method = strstr(line, " using \"");
    words->logins++;
    words->address[0] = words->method[0] = 0; /* a jump host's ssh has told of its own */
    if (address) {
        size_t length = strcspn(address + 3, "]");
        snprintf(words->address, sizeof words->address, "%.*s", (int)length, address + 3);
    }
    if (method) {
        size_t length = strcspn(method + 8, "\"");
        snprintf(words->method, sizeof words->method, "%.*s", (int)length, method + 8);
    }
}

void words_limit_refused(struct openssh_words *words, size_t most)
{
    while (words->refused > most) {
        words->first_refused = (words->first_refused + 1) % REFUSED_MOST;
        words->refused--;
    }
}

/* channel 3: open failed: connect failed: open failed */
static bool learn_refused(struct openssh_words *words, const char *line)
{
    const char *reason = strstr(line, ": open failed: ");
    if (strncmp(line, "channel ", 8) != 0 || !reason) {
        return false;
    }
    words_limit_refused(words, REFUSED_MOST - 1);
    words->refused_ms[(words->first_refused + words->refused++) % REFUSED_MOST] = words->now_ms;
    snprintf(words->reason, sizeof words->reason, "%s", reason + 15);
    return true;
}

static bool is_aside(const char *line)
{
    for (size_t i = 0; i < sizeof asides / sizeof *asides; i++) {
        if (!strncmp(line, asides[i], strlen(asides[i]))) {
            return true;
        }
    }
    return !line[0];
}

static void keep_said(struct openssh_words *words)
{
    size_t room = sizeof words->said - words->said_length;
    if (words->length + 1 <= room) {
        memcpy(words->said + words->said_length, words->line, words->length);
        words->said_length += words->length;
        words->said[words->said_length++] = '\n';
    }
}

static void end_line(
    struct openssh_words *words, void (*touch)(void *context, const char *line), void *context)
{
    char *line = prompt_line(words->line, words->length, sizeof words->last - 1);
    if (line && !strncmp(line, "Authenticated to ", 17)) {
        learn_login(words, line);
    }
    if (line && !learn_refused(words, line)) {
        bool aside = is_aside(line);
        learn_cause(words, line);
        if (!aside) {
            snprintf(words->last, sizeof words->last, "%s", line);
        }
        if (touch && !strncmp(line, "Confirm user presence", 21)) {
            touch(context, line);
        } else if (!aside || !line[0]) {
            keep_said(words);
        }
    }
    words->length = 0;
    free(line);
}

void words_feed(struct openssh_words *words, const char *bytes, size_t length,
    void (*touch)(void *context, const char *line), void *context)
{
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] == '\n') {
            end_line(words, touch, context);
        } else if (bytes[i] != '\r' && words->length < sizeof words->line) {
            words->line[words->length++] = bytes[i];
        }
    }
}

void words_finish(struct openssh_words *words)
{
    if (words->length) {
        end_line(words, NULL, NULL);
    }
}

const char *words_take_refused(struct openssh_words *words)
{
    while (words->refused) {
        int64_t told_ms = words->refused_ms[words->first_refused];
        words_limit_refused(words, words->refused - 1);
        if (words->now_ms - told_ms <= REFUSED_MS) {
            return words->reason;
        }
    }
    return NULL;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), least = strlen(end);
    return length >= least && !strcmp(text + length - least, end);
}

bool words_is_host_key(const char *prompt)
{
    static const char again[] = "Please type 'yes'";
    return !strncmp(prompt, again, sizeof again - 1) ||
           (!strncmp(prompt, "The authenticity of host ", 25) &&
               (ends_with(prompt, "(yes/no/[fingerprint])? ") ||
                   ends_with(prompt, "(yes/no)? ")));
}
