/* Lists of heap strings: argument vectors and environments of a start. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/kinds/prepare.h"

static void append(struct list *list, char *item)
{
    char **items = item ? realloc(list->items, (list->count + 2) * sizeof *items) : NULL;
    if (!items) {
        free(item);
        list->failed = true;
        return;
    }
    list->items = items;
    items[list->count++] = item;
    items[list->count] = NULL;
}

void list_add(struct list *list, const char *format, ...)
{
    char *item = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&item, format, args);
    va_end(args);
    append(list, n < 0 ? NULL : item);
}

void list_set(struct list *list, const char *format, ...)
{
    char *item = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&item, format, args);
    va_end(args);
    size_t key = n < 0 ? 0 : strcspn(item, "=") + 1;
    for (size_t i = 0; n >= 0 && i < list->count; i++) {
        if (!strncmp(list->items[i], item, key)) {
            free(list->items[i]);
            list->items[i] = item;
            return;
        }
    }
    append(list, n < 0 ? NULL : item);
}

void list_free(struct list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i]);
    }
    free(list->items);
    *list = (struct list){0};
}

char **list_take(struct list *list)
{
    char **items = list->items;
    if (list->failed || !items) {
        list_free(list);
        return NULL;
    }
    *list = (struct list){0};
    return items;
}
