/* Taking option words apart before a command sees them. Called once by main.c; what is not
 * understood is left as it is, for the command to refuse. */
#include "client/options.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"

/* Whether the usage line has the option, and *takes: a value behind it. */
static bool find_option(const char *usage, const char *option, size_t length, bool *takes)
{
    for (const char *at = strchr(usage, '-'); at; at = strchr(at + 1, '-')) {
        bool begins = at > usage && strchr(" [|", at[-1]);
        if (begins && !strncmp(at, option, length) && strchr(" ]|", at[length])) {
            *takes = at[length] == ' ' && at[length + 1] != '[';
            return true;
        }
    }
    return false;
}

/* −1 when its value is one too many; else how many words went to `out`. */
static int split_long(const char *command, const char *usage, char *word, char **out)
{
    size_t length = strcspn(word, "=");
    bool takes;
    if (!word[length] || length < 3 || !find_option(usage, word, length, &takes)) {
        out[0] = word;
        return 1;
    }
    word[length] = 0;
    if (!takes) {
        cli_say("%s: %s takes no value; usage: gearsctl %s", command, word, usage);
        return -1;
    }
    out[0] = word;
    out[1] = word + length + 1;
    return 2;
}

/* Letters of the usage line, the last of which may have its value in the same word. */
static int split_letters(const char *usage, char *word, char **out)
{
    static char letters[26][3];
    int count = 0;
    out[0] = word;
    for (size_t i = 1; word[i]; i++) {
        char option[3] = {'-', word[i], 0};
        bool takes;
        if (word[i] < 'a' || word[i] > 'z' || !find_option(usage, option, 2, &takes)) {
            out[0] = word;
            return 1;
        }
        out[count++] = memcpy(letters[word[i] - 'a'], option, sizeof option);
        if (takes && word[i + 1]) {
            out[count++] = word + i + 1;
            break;
        }
    }
    return count;
}

char **options_split(const char *command, const char *usage, int *argc, char **argv)
{
    size_t room = 2;
    int count = 0;
    bool raw = false;
    for (int i = 0; i < *argc; i++) {
        room += 1 + strlen(argv[i]); /* each letter may become a word */
    }
    char **out = calloc(room, sizeof *out);
    for (int i = 0; out && i < *argc; i++) {
        char *word = argv[i];
        raw = raw || !strcmp(word, "--");
        if (i < 2 || raw || word[0] != '-' || !word[1] || (word[1] != '-' && !word[2])) {
            out[count++] = word;
            continue;
        }
        int added = word[1] == '-' ? split_long(command, usage, word, out + count)
                                   : split_letters(usage, word, out + count);
        if (added < 0) {
            free(out);
            return NULL;
        }
        count += added;
    }
    if (!out) {
        cli_say("out of memory");
    }
    *argc = count;
    return out;
}
