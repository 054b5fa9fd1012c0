/* Sections of gears.conf: which may stand in which file, and the item whose keys follow. Called
 * by config.c at each "[line]". */
#include <stdlib.h>
#include <string.h>

#include "daemon/core/config_private.h"

/* Room for one more item and for its origin beside it. */
static bool grow(struct loader *loader, enum config_table_id id)
{
    struct config *config = loader->config;
    struct loaded *loaded = &loader->loaded[id];
    if (config_item_count(config, id) < loaded->capacity) {
        return true;
    }
    size_t capacity = loaded->capacity ? 2 * loaded->capacity : 8;
    void *items, *origins = realloc(loaded->origins, capacity * sizeof *loaded->origins);
    loaded->origins = origins ? origins : loaded->origins;
    if (id == TABLE_SERVICES) {
        items = realloc(config->services, capacity * sizeof *config->services);
        config->services = items ? items : config->services;
    } else {
        items = realloc(config->clusters, capacity * sizeof *config->clusters);
        config->clusters = items ? items : config->clusters;
    }
    loaded->capacity = items && origins ? capacity : loaded->capacity;
    loader->failed |= !items || !origins;
    return items && origins;
}

void config_section_add(
    struct loader *loader, enum config_table_id id, const char *name, const char *kind)
{
    struct config *config = loader->config;
    size_t count = config_item_count(config, id);
    if (!grow(loader, id)) {
        return;
    }
    loader->loaded[id].origins[count] = (struct origin){0};
    if (id == TABLE_SERVICES) {
        config->services[count] = service_config_create(name, kind);
        loader->failed |= !config->services[count];
        config->service_count += config->services[count] != NULL;
    } else {
        config->clusters[count] = cluster_config_create(name);
        loader->failed |= !config->clusters[count];
        config->cluster_count += config->clusters[count] != NULL;
    }
}

/* The item of that name, new or not; false: there can be none. */
static bool find_item(struct loader *loader, enum config_table_id id, const char *name)
{
    struct error err;
    size_t most = id == TABLE_SERVICES ? SERVICES_LIMIT : CONFIG_CLUSTERS;
    if (name_check(name, &err)) {
        config_error(loader, "%s", err.text);
        return false;
    }
    loader->place = config_item_find(loader->config, id, name);
    if (loader->place == most) {
        config_error(loader, "more than %zu %ss", most, config_tables[id].noun);
        return false;
    }
    if (loader->place == config_item_count(loader->config, id)) {
        config_section_add(loader, id, name, "command");
    }
    return !loader->failed;
}

static void open_item(struct loader *loader, enum config_table_id id, const char *name)
{
    loader->skip = true;
    if (!find_item(loader, id, name)) {
        return;
    }
    struct place *before = &loader->loaded[id].origins[loader->place].section;
    if (before->line && before->file == loader->at.file) {
        config_error(loader, "[%s:%s] stands twice in this file, first in line %d",
            config_tables[id].noun, name, before->line);
        return;
    }
    *before = loader->at;
    loader->skip = false;
    loader->table = id;
    loader->item = config_item_get(loader->config, id, loader->place);
    if (id == TABLE_CLUSTERS) {
        struct cluster_config *cluster = loader->item;
        cluster->packed |= loader->source == SOURCE_PACK;
        cluster->said |= loader->source != SOURCE_PACK;
    }
}

static void open_defaults(struct loader *loader)
{
    loader->skip = loader->defaults_seen;
    if (loader->defaults_seen) {
        config_error(loader, "[defaults] stands twice in this file");
    }
    loader->defaults_seen = true;
}

/* A pack describes the cluster that its file is called after, and nothing else. */
static bool fits_pack(struct loader *loader, const char *section)
{
    if (loader->source != SOURCE_PACK ||
        (!strncmp(section, "cluster:", 8) && !strcmp(section + 8, loader->pack))) {
        return true;
    }
    config_error(loader, "[%.60s] may not stand in a site pack of this name, only [cluster:%s]",
        section, loader->pack);
    return false;
}

void config_section_open(struct loader *loader, const char *section)
{
    loader->in_section = true;
    loader->item = NULL;
    loader->skip = loader->refused = false;
    loader->key[0] = 0;
    text_finish(&loader->seen);
    if (!fits_pack(loader, section)) {
        loader->skip = true;
    } else if (!strncmp(section, "service:", 8)) {
        open_item(loader, TABLE_SERVICES, section + 8);
    } else if (!strncmp(section, "cluster:", 8)) {
        open_item(loader, TABLE_CLUSTERS, section + 8);
    } else if (!strcmp(section, "defaults")) {
        open_defaults(loader);
    } else {
        loader->skip = true;
        config_error(loader,
            !strncmp(section, "pool:", 5)
                ? "[%.60s]: pools are not part of this version"
                : "there is no section [%.60s]; write [defaults], [service:NAME] or "
                  "[cluster:NAME]",
            section);
    }
}
