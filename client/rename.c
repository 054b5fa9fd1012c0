/* The commands that a far gearsd recommends, as they are to be typed here. */
#include "client/rename.h"

#include <string.h>

#include "common/text.h"

char *rename_hints(const char *message, const char *name, const char *cluster)
{
    static const char program[] = "gearsctl ";
    struct text out = {0};
    size_t length = strlen(name);
    for (const char *found; (found = strstr(message, program));) {
        const char *verb = found + sizeof program - 1;
        const char *word = verb + strcspn(verb, " ");
        word += *word == ' ';
        text_append(&out, message, (size_t)(word - message));
        message = word;
        if (length && !strncmp(word, name, length) &&
            (!word[length] || strchr(" ;,.)", word[length]))) {
            text_printf(&out, "%s@%s", name, cluster);
            message += length;
        }
    }
    text_append(&out, message, strlen(message));
    return text_take(&out);
}
