/* url: the address to open, the one command that gives out the token; --open hands it to a
 * browser through a private file, as argv can be read by everybody on the host. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "client/client.h"
#include "client/program.h"
#include "client/target.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/nonce.h"

/* How long the file stays: after it was last read, and when nobody reads it. */
enum { READ_GRACE_MS = 5000, UNREAD_MS = 60000, WORDS_MOST = 32 };

static char *full_address(const cJSON *reply, const char *base)
{
    struct text text = {0};
    const char *token = json_text(reply, "token");
    if (!*base) {
        return NULL;
    }
    text_printf(
        &text, "%s%s%s%s", base, json_text(reply, "path"), *token ? "?token=" : "", token);
    return text_take(&text);
}

static void append_html(struct text *html, const char *raw)
{
    for (; *raw; raw++) {
        if (strchr("&<>\"'", *raw)) {
            text_printf(html, "&#%d;", *raw);
        } else {
            text_append(html, raw, 1);
        }
    }
}

static void make_page(struct text *html, const char *name, const char *address)
{
    text_printf(html,
        "<!doctype html><meta charset=\"utf-8\"><title>%s</title>\n"
        "<meta name=\"referrer\" content=\"no-referrer\">\n"
        "<meta http-equiv=\"refresh\" content=\"0;url=",
        name);
    append_html(html, address);
    text_printf(html, "\">\n<a href=\"");
    append_html(html, address);
    text_printf(html, "\">%s</a>\n", name);
}

/* What a killed remover left behind. */
static void remove_old_pages(const char *folder)
{
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        struct stat st;
        if (!strncmp(entry->d_name, "open-", 5) && strstr(entry->d_name, ".html") &&
            !fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
            time(NULL) - st.st_mtime > UNREAD_MS / 1000) {
            unlinkat(dirfd(dir), entry->d_name, 0);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

/* In a process of its own, whatever the browser does: remove the page soon after it was read,
 * and anyway after a while. Only calls that are safe in a child that does not exec. */
static void remove_later(const char *page)
{
    if (fork()) {
        return;
    }
    setsid();
    watch_undo_in_child();
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 1024; fd++) {
        if (fd == null || fd > 2 || dup2(null, fd) < 0) {
            close(fd);
        }
    }
    int inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    bool watched = inotify >= 0 &&
                   inotify_add_watch(inotify, page, IN_CLOSE_NOWRITE | IN_DELETE_SELF) >= 0;
    if (access(page, F_OK)) {
        _exit(0); /* removed before it could be watched */
    }
    int64_t until = clock_monotonic_ms() + UNREAD_MS, left;
    while ((left = until - clock_monotonic_ms()) > 0) {
        struct pollfd item = {.fd = inotify, .events = POLLIN};
        char events[4096];
        if (poll(&item, watched, (int)left) > 0) {
            while (read(inotify, events, sizeof events) > 0) {
            }
            struct stat st;
            if (stat(page, &st)) {
                break;
            }
            int64_t soon = clock_monotonic_ms() + READ_GRACE_MS;
            until = soon < until ? soon : until;
        }
    }
    unlink(page);
    _exit(0);
}

static void file_url(const char *path, struct text *url)
{
    text_printf(url, "file://");
    for (; *path; path++) {
        if (strchr("/-_.~", *path) || (*path >= '0' && *path <= '9') ||
            (*path >= 'a' && *path <= 'z') || (*path >= 'A' && *path <= 'Z')) {
            text_append(url, path, 1);
        } else {
            text_printf(url, "%%%02X", (unsigned char)*path);
        }
    }
}

static bool on_path(const char *program)
{
    const char *path = getenv("PATH");
    char *copy = strdup(strchr(program, '/') ? ""
                        : path               ? path
                                             : "/bin:/usr/bin"),
         *save = NULL;
    bool found = strchr(program, '/') && !access(program, X_OK);
    for (char *folder = copy ? strtok_r(copy, ":", &save) : NULL; folder && !found;
         folder = strtok_r(NULL, ":", &save)) {
        char file[PATH_MAX];
        snprintf(file, sizeof file, "%s/%s", folder, program);
        found = !access(file, X_OK);
    }
    free(copy);
    return found;
}

/* One entry of $BROWSER into words; %s stands for the address, else it comes last. */
static bool split_browser(char *entry, char *url, const char *words[WORDS_MOST + 2])
{
    size_t count = 0;
    bool placed = false;
    char *save = NULL;
    for (char *word = strtok_r(entry, " \t", &save); word && count < WORDS_MOST;
         word = strtok_r(NULL, " \t", &save)) {
        placed = placed || !strcmp(word, "%s");
        words[count++] = strcmp(word, "%s") ? word : url;
    }
    if (!placed) {
        words[count++] = url;
    }
    words[count] = NULL;
    return count > 1 && on_path(words[0]);
}

static int run_browser(const char *name, char *url)
{
    const char *wish = getenv("BROWSER"), *words[WORDS_MOST + 2];
    bool screen = getenv("DISPLAY") || getenv("WAYLAND_DISPLAY");
    char *list = strdup(wish && *wish ? wish : screen ? "xdg-open" : ""), *save = NULL;
    int code = EXIT_FAILED;
    bool found = false;
    for (char *entry = list ? strtok_r(list, ":", &save) : NULL; entry && !found;
         entry = strtok_r(NULL, ":", &save)) {
        found = split_browser(entry, url, words);
    }
    if (!found) {
        cli_say(
            "%s: there is no browser on this host; set BROWSER, or open on your laptop what "
            "\"gearsctl url %s\" prints",
            name, name);
    } else if ((code = program_run(words, NULL)) && code != EXIT_INTERRUPTED) {
        cli_say("%s: the browser command %s failed with status %d; open by hand what "
                "\"gearsctl url %s\" prints",
            name, words[0], code, name);
        code = EXIT_FAILED;
    }
    free(list);
    return code;
}

static int open_address(struct cli *cli, const char *name, const char *address)
{
    char folder[PATH_MAX], page[PATH_MAX], nonce[NONCE_TEXT_SIZE];
    struct text html = {0}, url = {0};
    struct error err;
    nonce_make(nonce);
    if (home_path(&cli->home, folder, "run", "%s", "") ||
        home_path(&cli->home, page, "run", "open-%s.html", nonce)) {
        cli_say("%s: path too long", cli->home.root);
        return EXIT_FAILED;
    }
    watch_home_begin(cli->home.root, "writing the page that leads the browser");
    remove_old_pages(folder);
    make_page(&html, name, address);
    int code = file_write_atomic(page, text_string(&html), html.length, 0600, &err);
    watch_end();
    if (html.data) {
        explicit_bzero(html.data, html.length);
    }
    text_finish(&html);
    if (code) {
        cli_say("%s: %s", name, err.text);
        return EXIT_FAILED;
    }
    remove_later(page);
    file_url(page, &url);
    code = url.failed ? EXIT_FAILED : run_browser(name, url.data);
    if (code) {
        unlink(page); /* nobody will read it */
    }
    text_finish(&url);
    return code;
}

static int print_address(struct cli *cli, const char *name, const cJSON *reply,
    const char *forward, const char *laptop)
{
    const char *best = forward ? forward : laptop;
    if (!cli->json) {
        watch_output_begin();
        puts(best);
        int code = cli_flush();
        watch_output_end();
        return code;
    }
    cJSON *out = cJSON_CreateObject();
    cJSON_AddNumberToObject(out, "schema", 1);
    cJSON_AddStringToObject(out, "name", name);
    cJSON_AddItemToObject(out, "cluster",
        cli->remote ? cJSON_CreateString(target_cluster(cli)) : cJSON_CreateNull());
    cJSON_AddStringToObject(out, "url", best);
    cJSON_AddItemToObject(
        out, "forward", forward ? cJSON_CreateString(forward) : cJSON_CreateNull());
    cJSON_AddItemToObject(
        out, "laptop", laptop ? cJSON_CreateString(laptop) : cJSON_CreateNull());
    const char *token = json_text(reply, "token");
    cJSON_AddItemToObject(
        out, "token", *token ? cJSON_CreateString(token) : cJSON_CreateNull());
    int code = cli_print_json(out, false);
    cJSON_Delete(out);
    return code;
}

/* The address leads to a page that says so, until it runs. */
static void hint_not_running(struct cli *cli, const char *name)
{
    cJSON *status = NULL;
    if (!cli_call(cli, "Status", cli_name(name), &status)) {
        const char *state = json_text(
            cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(status, "services"), 0),
            "state");
        if (!strcmp(state, "stopped") || !strcmp(state, "failed")) {
            cli_say("%s is %s; run: gearsctl start %s", cli->subject, state, cli->subject);
        }
    }
    cJSON_Delete(status);
}

/* Where a laptop that pasted `gearsctl ssh-config CLUSTER` finds the service: that entry has
 * the cluster's lab only. */
static char *laptop_address(const struct cli *cli, const char *name, const cJSON *reply)
{
    char base[64];
    if (!cli->remote) {
        return full_address(reply, json_text(reply, "laptop"));
    }
    if (strcmp(name, json_text(cli->remote, "service")) != 0) {
        return NULL;
    }
    snprintf(base, sizeof base, "http://localhost:%d", (int)json_number(cli->remote, "port"));
    return full_address(reply, base);
}

static int say_no_address(const struct cli *cli, const char *name)
{
    if (cli->remote) {
        cli_say("%s: no port on your laptop leads there; with \"forward = %s\" in "
                "[cluster:%s], add to the laptop's entry: LocalForward PORT %s/run/%s+%s.sck",
            cli->subject, name, target_cluster(cli), cli->home.root, target_cluster(cli), name);
    } else {
        cli_say("%s has no socket, so no address; use {socket} or {port} in its command", name);
    }
    return EXIT_FAILED;
}

static int say_no_browser(const struct cli *cli, const char *name)
{
    if (cli->remote) {
        cli_say("%s is reached from your laptop only; open there what \"gearsctl url %s\" "
                "prints",
            cli->subject, cli->subject);
    } else {
        cli_say("%s has no port on this host for a browser here; run: gearsctl forward %s",
            name, name);
    }
    return EXIT_FAILED;
}

int cmd_url(struct cli *cli, int argc, char **argv)
{
    const char *argument = NULL;
    char name[NAME_MOST];
    bool open = false;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--open")) {
            open = true;
        } else if (argv[i][0] == '-') {
            return command_unknown_option(argv[0], argv[i]);
        } else if (argument) {
            return command_misuse(argv[0], "one NAME only");
        } else {
            argument = argv[i];
        }
    }
    cJSON *reply = NULL;
    int code = argument ? target_take_service(cli, argument, TARGET_OPEN, name)
                        : command_misuse(argv[0], "a NAME is missing");
    code = code ? code : cli_call(cli, "Url", cli_name(name), &reply);
    if (code) {
        return code;
    }
    char *forward = cli->remote ? NULL : full_address(reply, json_text(reply, "forward"));
    char *laptop = laptop_address(cli, name, reply);
    hint_not_running(cli, name);
    if (!forward && !laptop) {
        code = say_no_address(cli, name);
    } else if (open && !forward) {
        code = say_no_browser(cli, name);
    } else {
        code = open ? open_address(cli, name, forward)
                    : print_address(cli, name, reply, forward, laptop);
    }
    free(forward);
    free(laptop);
    cJSON_Delete(reply);
    return code;
}
