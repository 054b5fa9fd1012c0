/* What goes to stdout and stderr: whole lines and objects; noticing that nobody takes them. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "common/clock.h"

void cli_say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    flockfile(stderr);
    fputs("gearsctl: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    funlockfile(stderr);
    va_end(args);
}

int cli_flush(void)
{
    static bool told;
    errno = 0;
    if (!fflush(stdout) && !ferror(stdout)) {
        return 0;
    }
    if (errno != EPIPE && errno && !told) { /* a reader that has left knows */
        told = true;
        cli_say("cannot write the output: %s", strerror(errno));
    }
    return EXIT_FAILED;
}

int cli_print_json(const cJSON *object, bool lines)
{
    char *text = lines ? cJSON_PrintUnformatted(object) : cJSON_Print(object);
    if (!text) {
        cli_say("out of memory");
        return EXIT_FAILED;
    }
    watch_output_begin();
    puts(text);
    int code = cli_flush();
    watch_output_end();
    free(text);
    return code;
}

const char *json_text(const cJSON *object, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
    return text ? text : "";
}

double json_number(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

cJSON *json_time(const cJSON *object, const char *key)
{
    double us = json_number(object, key);
    char text[32];
    if (us <= 0) {
        return cJSON_CreateNull();
    }
    clock_format_utc((int64_t)us, text, sizeof text);
    return cJSON_CreateString(text);
}

cJSON *json_copy(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return item ? cJSON_Duplicate(item, true) : cJSON_CreateNull();
}

bool json_bool(const cJSON *object, const char *key)
{
    return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, key));
}

const char *cli_full_name(const cJSON *service, char out[FULL_NAME_MOST])
{
    const char *cluster = json_text(service, "cluster");
    snprintf(out, FULL_NAME_MOST, "%s%s%s", json_text(service, "name"), *cluster ? "@" : "",
        cluster);
    return out;
}

cJSON *cli_name(const char *name)
{
    cJSON *parameters = cJSON_CreateObject();
    cJSON_AddStringToObject(parameters, "name", name);
    return parameters;
}
