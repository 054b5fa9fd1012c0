/* A PAM module for tests: one-time PASSCODEs, as a token server would check them.
 * tests/support/passcodes.py compiles it and keeps its files; a private sshd loads it.
 *
 * Arguments: codes=FILE with lines "user code" (a code is taken out when it was right) or
 * "user code keep" (a password); events=FILE, to which each question and verdict is appended;
 * banner=FILE, said before the first question. A code that starts with 9 asks for the next
 * tokencode, one that starts with 8 begins the dialogue of a first login. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define PAM_SM_AUTH
#include <security/pam_ext.h>
#include <security/pam_modules.h>

enum { FILE_SIZE = 1 << 16, LINE_SIZE = 512 };

struct request {
    pam_handle_t *pam;
    const char *user, *service;
    const char *codes, *events, *banner;
};

/* "SECONDS.MICROS SERVICE USER WORDS", in one write so that none falls between. */
static void note(const struct request *request, const char *words)
{
    struct timespec now;
    char line[LINE_SIZE];
    clock_gettime(CLOCK_REALTIME, &now);
    int length = snprintf(line, sizeof line, "%lld.%06ld %s %s %s\n", (long long)now.tv_sec,
        now.tv_nsec / 1000, request->service, request->user, words);
    int fd = open(request->events, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || length < 0 || write(fd, line, (size_t)length) != length) {
        perror(request->events);
    }
    if (fd >= 0) {
        close(fd);
    }
}

static void forget(char *answer)
{
    if (answer) {
        explicit_bzero(answer, strlen(answer));
        free(answer);
    }
}

/* The answer on the heap, NULL when the other side broke off. */
static char *ask(const struct request *request, const char *what, int style, const char *text)
{
    char *answer = NULL, words[64];
    snprintf(words, sizeof words, "asked %s", what);
    note(request, words);
    if (pam_prompt(request->pam, style, &answer, "%s", text) != PAM_SUCCESS) {
        answer = NULL;
        note(request, "cancelled");
    }
    return answer;
}

/* Whether `line` (without its newline) allows this user this code; *keep: for ever. */
static bool line_fits(const char *line, const char *user, const char *code, bool *keep)
{
    char wanted[LINE_SIZE];
    int length = snprintf(wanted, sizeof wanted, "%s %s", user, code);
    bool fits = length > 0 && (size_t)length < sizeof wanted && !strchr(code, ' ') &&
                !strncmp(line, wanted, (size_t)length);
    const char *rest = fits ? line + length : NULL;
    *keep = rest && !strcmp(rest, " keep");
    explicit_bzero(wanted, sizeof wanted);
    return rest && (!*rest || *keep);
}

/* Look the code up in what the file says and take it out: whether it was there. */
static bool take_from(char *text, const char *user, const char *code, char *left)
{
    bool taken = false;
    char *save = NULL;
    left[0] = 0;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        bool keep = false;
        bool fits = !taken && line_fits(line, user, code, &keep);
        taken = taken || fits;
        if (!fits || keep) {
            strcat(strcat(left, line), "\n"); /* never longer than the text was */
        }
    }
    return taken;
}

static bool take_code(const struct request *request, const char *code)
{
    static char text[FILE_SIZE], left[FILE_SIZE];
    int fd = open(request->codes, O_RDWR | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX)) {
        perror(request->codes);
        return false;
    }
    ssize_t size = read(fd, text, sizeof text - 2);
    bool taken = false;
    if (size > 0) {
        text[size] = 0;
        taken = take_from(text, request->user, code, left);
    }
    if (taken && (ftruncate(fd, 0) || pwrite(fd, left, strlen(left), 0) < 0)) {
        perror(request->codes);
        taken = false;
    }
    close(fd);
    return taken;
}

/* Two questions without echo and one with, as when a token is used for the first time. */
static bool choose_pin(const struct request *request)
{
    char *pin = ask(request, "pin", PAM_PROMPT_ECHO_OFF,
        "You need a new PIN.\nEnter a new PIN of 4 to 8 digits: ");
    char *again = pin ? ask(request, "again", PAM_PROMPT_ECHO_OFF, "Enter it again: ") : NULL;
    char *yes =
        again ? ask(request, "confirm", PAM_PROMPT_ECHO_ON, "Use this PIN (y/n)? ") : NULL;
    bool good = yes && !strcmp(pin, again) && (yes[0] == 'y' || yes[0] == 'Y');
    forget(pin);
    forget(again);
    forget(yes);
    return good;
}

static bool ask_next(const struct request *request)
{
    char *code = ask(request, "tokencode", PAM_PROMPT_ECHO_OFF,
        "Wait for the tokencode to change,\nthen enter the new tokencode: ");
    bool good = code && take_code(request, code);
    forget(code);
    return good;
}

static bool authenticate(const struct request *request)
{
    char *code = ask(request, "passcode", PAM_PROMPT_ECHO_OFF, "Enter PASSCODE: ");
    if (!code) {
        return false;
    }
    char kind = code[0];
    bool good = take_code(request, code);
    forget(code);
    if (good && kind == '9') {
        return ask_next(request);
    }
    return good && (kind != '8' || choose_pin(request));
}

static void say_banner(const struct request *request)
{
    char text[LINE_SIZE] = "";
    FILE *file = request->banner ? fopen(request->banner, "re") : NULL;
    if (file) {
        text[fread(text, 1, sizeof text - 1, file)] = 0;
        fclose(file);
        pam_prompt(request->pam, PAM_TEXT_INFO, NULL, "%s", text);
    }
}

static const char *value_of(int argc, const char **argv, const char *name)
{
    size_t length = strlen(name);
    for (int i = 0; i < argc; i++) {
        if (!strncmp(argv[i], name, length) && argv[i][length] == '=') {
            return argv[i] + length + 1;
        }
    }
    return NULL;
}

int pam_sm_authenticate(pam_handle_t *pam, int flags, int argc, const char **argv)
{
    (void)flags;
    const void *service = NULL;
    struct request request = {
        .pam = pam,
        .codes = value_of(argc, argv, "codes"),
        .events = value_of(argc, argv, "events"),
        .banner = value_of(argc, argv, "banner"),
    };
    if (!request.codes || !request.events ||
        pam_get_user(pam, &request.user, NULL) != PAM_SUCCESS ||
        pam_get_item(pam, PAM_SERVICE, &service) != PAM_SUCCESS) {
        return PAM_SERVICE_ERR;
    }
    request.service = service;
    say_banner(&request);
    bool good = authenticate(&request);
    note(&request, good ? "accepted" : "refused");
    return good ? PAM_SUCCESS : PAM_AUTH_ERR;
}

int pam_sm_setcred(pam_handle_t *pam, int flags, int argc, const char **argv)
{
    (void)pam;
    (void)flags;
    (void)argc;
    (void)argv;
    return PAM_SUCCESS;
}
