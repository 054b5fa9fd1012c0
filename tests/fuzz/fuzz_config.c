/* gears.conf: the site's file, a NUL, the user's, perhaps a NUL and a site pack. A good
 * configuration written out as text must be read back as the same; a bad one must say where it
 * is bad. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/config.h"

enum { ERROR_LINES_MOST = 21 };

static size_t count_lines(const char *text)
{
    size_t count = 1;
    while ((text = strchr(text, '\n'))) {
        count++;
        text++;
    }
    return count;
}

static const struct config_file *find_file(const struct config_files *files, const char *line)
{
    const struct config_file *all[] = {files->packs, &files->site, &files->user};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        size_t n = strlen(all[i]->name);
        if (!strncmp(line, all[i]->name, n) && line[n] == ':') {
            return all[i]->text ? all[i] : NULL;
        }
    }
    return NULL;
}

/* "FILE:LINE: words", LINE one of that file's. */
static void check_error(const char *line, const struct config_files *files)
{
    const struct config_file *file = find_file(files, line);
    char *end;
    if (!file) {
        abort();
    }
    const char *digits = line + strlen(file->name) + 1;
    unsigned long number = strtoul(digits, &end, 10);
    if (end == digits || !number || number > count_lines(file->text) ||
        strncmp(end, ": ", 2) != 0 || end[2] == '\n') {
        abort();
    }
}

static void check_errors(const char *errors, const struct config_files *files)
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
            check_error(line, files);
        }
    }
}

/* Written out, read again beside the same packs, written out again: the same, and the user
 * could have said it. */
static void check_format(const struct config *config, const struct config_files *files)
{
    struct text text = {0}, again = {0}, errors = {0};
    struct config *copy = NULL;
    config_format(config, &text);
    struct config_files shown = *files;
    shown.site.text = NULL;
    shown.user.text = text_string(&text);
    if (config_parse(&shown, &copy, &errors)) {
        abort();
    }
    config_format(copy, &again);
    if (strcmp(text_string(&text), text_string(&again)) != 0 ||
        config->service_count != copy->service_count ||
        config->cluster_count != copy->cluster_count) {
        abort();
    }
    config_destroy(copy);
    text_finish(&text);
    text_finish(&again);
    text_finish(&errors);
}

static void check_clusters(const struct config *config)
{
    for (size_t i = 0; i < config->cluster_count; i++) {
        const struct cluster_config *cluster = config->clusters[i];
        if (name_check(cluster->name, NULL) || name_check(cluster->service, NULL) ||
            cluster->port < 1024 || cluster->port > 65000 || cluster->keepalive_ms < 1000 ||
            cluster->keepalive_count < 1 || cluster->keepalive_count > 100 ||
            cluster->wait_ms < 0 || cluster->wait_ms > 600000 ||
            cluster->connect_timeout_ms < 1000 || (!cluster->packed && !cluster->said) ||
            (cluster->host && *cluster->host == '-') ||
            (cluster->hub && *cluster->hub == '-')) {
            abort();
        }
        struct cluster_config *copy = cluster_config_copy(cluster);
        cluster_config_destroy(copy);
    }
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
    char *zero = memchr(text, 0, size);
    char *second = zero ? memchr(zero + 1, 0, size - (size_t)(zero + 1 - text)) : NULL;
    const struct config_file pack = {"packs/andes.conf", second ? second + 1 : NULL};
    const struct config_files files = {
        &pack, 1, {"site", zero ? text : NULL}, {"user", zero ? zero + 1 : text}};
    int code = config_parse(&files, &config, &errors);
    if (!code) {
        if (errors.length) {
            abort();
        }
        check_values(config);
        check_clusters(config);
        check_format(config, &files);
        config_destroy(config);
    } else if (code == -EINVAL) {
        check_errors(text_string(&errors), &files);
    } else {
        abort();
    }
    text_finish(&errors);
    free(text);
    return 0;
}
