/* What a server says to a human before it is trusted: names, instructions, prompts. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/tunnel/prompt.h"

/* Nothing is left that moves a cursor, and a text that was made safe stays as it is. */
static void check_prompt(const char *bytes, size_t size)
{
    char *text = prompt_text(bytes, size, 512);
    char *again = prompt_text(text, strlen(text), 4096);
    char *line = prompt_line(bytes, size, 512);
    if (strlen(text) > 512 || strcmp(text, again) != 0 || strchr(line, '\n')) {
        abort();
    }
    for (const char *at = text; *at; at++) {
        if ((unsigned char)*at < ' ' && *at != '\n') {
            abort();
        }
    }
    free(text);
    free(again);
    free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *bytes = malloc(size ? size : 1); /* exactly as long, so that a read behind it shows */
    if (!bytes) {
        exit(2);
    }
    if (size) {
        memcpy(bytes, data, size);
    }
    check_prompt(bytes, size);
    free(bytes);
    return 0;
}
