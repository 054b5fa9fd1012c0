/* gears.conf: the site's file, a NUL, the user's. A good configuration written out as text must
 * be read back as the same; a bad one must say where it is bad. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/config.h"

enum { ERROR_LINES_MOST = 21 };

static const struct home home = {.root = "/gears"};

static size_t count_lines(const char *text)
{
    size_t count = 1;
    while ((text = strchr(text, '\n'))) {
        count++;
        text++;
    }
    return count;
}

/* "FILE:LINE: words", LINE one of that file's. */
static void check_error(const char *line, const char *site, const char *user)
{
    const char *text = !strncmp(line, "site:", 5) ? site : user;
    char *end;
    if ((strncmp(line, "site:", 5) != 0 && strncmp(line, "user:", 5) != 0) || !text) {
        abort();
    }
    unsigned long number = strtoul(line + 5, &end, 10);
    if (end == line + 5 || !number || number > count_lines(text) ||
        strncmp(end, ": ", 2) != 0 || end[2] == '\n') {
        abort();
    }
}

static void check_errors(const char *errors, const char *site, const char *user)
{
    size_t count = 0;
    if (!*errors || errors[strlen(errors) - 1] != '\n') {
        abort(); /* refused without words */
    }
    for (const char *line = errors; *line; line = strchr(line, '\n') + 1) {
        if (++count > ERROR_LINES_MOST) {
            abort();
        }
        if (count < ERROR_LINES_MOST) {
            check_error(line, site, user);
        }
    }
}

/* Written out, read again, written out again: the same, and the user could have said it. */
static void check_format(const struct config *config)
{
    struct text text = {0}, again = {0}, errors = {0};
    struct config *copy = NULL;
    config_format(config, &text);
    if (config_parse(&home, "site", NULL, "user", text_string(&text), &copy, &errors)) {
        abort();
    }
    config_format(copy, &again);
    if (strcmp(text_string(&text), text_string(&again)) != 0 ||
        config->service_count != copy->service_count) {
        abort();
    }
    config_destroy(copy);
    text_finish(&text);
    text_finish(&again);
    text_finish(&errors);
}

static void check_values(const struct config *config)
{
    if (config->port < 1024 || config->port > 65000 || !config_find(config, "lab")) {
        abort();
    }
    for (size_t i = 0; i < config->service_count; i++) {
        const struct service_config *service = config->services[i];
        if (!service->name || !service->kind || name_check(service->name, NULL) ||
            service->limit_count > CONFIG_LIMITS || service->stop_signal < 1 ||
            service->stop_timeout_ms < 0 || service->start_timeout_ms < 0) {
            abort();
        }
        struct service_config *copy = service_config_copy(service);
        service_config_destroy(copy);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text errors = {0};
    struct config *config = NULL;
    char *text = malloc(size + 1);
    if (!text) {
        return 0;
    }
    if (size) {
        memcpy(text, data, size);
    }
    text[size] = 0;
    const char *zero = memchr(text, 0, size);
    const char *site = zero ? text : NULL, *user = zero ? zero + 1 : text;
    int code = config_parse(&home, "site", site, "user", user, &config, &errors);
    if (!code) {
        if (errors.length) {
            abort();
        }
        check_values(config);
        check_format(config);
        config_destroy(config);
    } else if (code == -EINVAL) {
        check_errors(text_string(&errors), site, user);
    } else {
        abort();
    }
    text_finish(&errors);
    free(text);
    return 0;
}
