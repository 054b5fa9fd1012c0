/* completion: the scripts for shells, and what they call: "gearsctl __complete WORD…" prints
 * what the last word may become, one "word TAB meaning" a line; ":files", ":dirs" and
 * ":command" ask the shell for its own. Read from the usage lines, so that nothing is written
 * twice. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "client/complete_names.h"
#include "common/file.h"

enum { SCRIPT_MOST = 65536, WORD_MOST = 128 };

/* One word of a usage line: literals, or what a name in capitals stands for. */
static void offer_word(struct cli *cli, const char *prefix, const char *word)
{
    static const char *const signals[] = {
        "HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "TERM", "CONT", "STOP", "WINCH", NULL};
    char copy[WORD_MOST], *save = NULL;
    snprintf(copy, sizeof copy, "%s", word);
    copy[strcspn(copy, "\xe2")] = 0; /* "NAME…" */
    for (char *one = strtok_r(copy, "|", &save); one; one = strtok_r(NULL, "|", &save)) {
        if (!strcmp(one, "NAME")) {
            complete_services(cli, prefix);
        } else if (!strcmp(one, "CLUSTER")) {
            complete_clusters(cli, prefix);
        } else if (!strcmp(one, "DIR")) {
            puts(":dirs");
        } else if (!strcmp(one, "FILE")) {
            puts(":files");
        } else if (!strcmp(one, "CMD")) {
            puts(":command");
        } else if (!strcmp(one, "SIGNAL")) {
            for (size_t i = 0; signals[i]; i++) {
                complete_offer(prefix, signals[i], "signal");
            }
        } else if ((*one >= 'a' && *one <= 'z') || *one == '-') {
            complete_offer(prefix, one, "");
        }
    }
}

/* A usage line taken apart: "[--timeout D]" is an option with a value, "NAME…" repeats. */
struct usage {
    char text[256];
    char *options[16], *values[16], *words[8];
    size_t option_count, word_count;
    bool repeats; /* the last word */
};

static void parse_usage(const struct command *command, struct usage *usage)
{
    char *save = NULL;
    bool inside = false;
    *usage = (struct usage){0};
    snprintf(usage->text, sizeof usage->text, "%s", command->usage);
    strtok_r(usage->text, " ", &save); /* the command itself */
    for (char *word = strtok_r(NULL, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        bool opens = *word == '[', closes = strchr(word, ']') != NULL;
        word += opens;
        word[strcspn(word, "]")] = 0;
        if (*word == '-' && usage->option_count < 16) {
            usage->options[usage->option_count++] = word;
            inside = !closes && opens;
        } else if (inside && usage->option_count) {
            usage->values[usage->option_count - 1] = word;
            inside = false;
        } else if (usage->word_count < 8) {
            usage->words[usage->word_count++] = word;
            usage->repeats = strstr(word, "…") != NULL;
        }
    }
}

static int find_option(const struct usage *usage, const char *word)
{
    for (size_t i = 0; i < usage->option_count; i++) {
        if (!strcmp(usage->options[i], word)) {
            return (int)i;
        }
    }
    return -1;
}

static void offer_arguments(
    struct cli *cli, const struct command *command, int argc, char **argv, const char *prefix)
{
    static const char *const common[] = {"--help", "--json", "--no-autostart", NULL};
    struct usage usage;
    size_t place = 0;
    const char *value = NULL;
    parse_usage(command, &usage);
    for (int i = 0; i < argc; i++) {
        int option = find_option(&usage, argv[i]);
        if (!strcmp(argv[i], "--")) {
            puts(":command");
            return;
        }
        if (value) {
            value = NULL;
        } else if (option >= 0) {
            value = usage.values[option];
        } else if (*argv[i] != '-') {
            place++;
        }
    }
    if (value) {
        offer_word(cli, prefix, value);
    } else if (*prefix == '-') {
        for (size_t i = 0; i < usage.option_count; i++) {
            complete_offer(prefix, usage.options[i], "");
        }
        if (place < usage.word_count && strstr(usage.words[place], "|-")) {
            offer_word(cli, prefix, usage.words[place]);
        }
        for (size_t i = 0; common[i]; i++) {
            if (find_option(&usage, common[i]) < 0) {
                complete_offer(prefix, common[i], "");
            }
        }
    } else if (place < usage.word_count || (usage.repeats && usage.word_count)) {
        place = place < usage.word_count ? place : usage.word_count - 1;
        offer_word(cli, prefix, usage.words[place]);
    }
}

int cmd_complete(struct cli *cli, int argc, char **argv)
{
    static const char *const options[] = {
        "--help", "--version", "--json", "--no-autostart", "--color=", NULL};
    const char *prefix = argc > 1 ? argv[argc - 1] : "";
    int first = 1;
    watch_give_up_after(COMPLETE_PATIENCE_MS); /* a hung home must not hang a prompt */
    while (first < argc - 1 && *argv[first] == '-') {
        first += strcmp(argv[first], "--color") ? 1 : 2;
    }
    if (first < argc - 1) {
        const struct command *command = command_find(argv[first]);
        if (command && command->summary) {
            offer_arguments(cli, command, argc - 2 - first, argv + first + 1, prefix);
        }
        return 0;
    }
    for (size_t i = 0; *prefix == '-' && options[i]; i++) {
        complete_offer(prefix, options[i], "");
    }
    for (const struct command *c = commands; *prefix != '-' && c->name; c++) {
        if (c->summary) {
            complete_offer(prefix, c->name, c->summary);
        }
    }
    return 0;
}

int cmd_completion(struct cli *cli, int argc, char **argv)
{
    static const char *const shells[] = {"bash", "zsh", "fish"};
    char folder[PATH_MAX], path[PATH_MAX + 64], *script = NULL;
    struct error err;
    (void)cli;
    for (size_t i = 0; argc == 2 && i < sizeof shells / sizeof *shells; i++) {
        if (strcmp(argv[1], shells[i]) != 0) {
            continue;
        }
        cli_program_dir(folder);
        snprintf(path, sizeof path, "%s/../share/completions/gearsctl.%s", folder, argv[1]);
        if (file_read(path, SCRIPT_MOST, &script, NULL, &err)) {
            cli_say("%s", err.text);
            return EXIT_FAILED;
        }
        fputs(script, stdout);
        free(script);
        return cli_flush();
    }
    return command_misuse(argv[0], "say bash, zsh or fish");
}
