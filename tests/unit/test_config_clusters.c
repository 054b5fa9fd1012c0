/* gears.conf: clusters, from site packs, the site's file and the user's; packs that ship. */
#include <errno.h>

#include "daemon/core/config.h"
#include "tests/unit/scratch.h"

static const struct config_file packs[] = {
    {"share/clusters/andes.conf", "[cluster:andes]\nhost = andes.example\nport = 38888\n"
                                  "members = andes-login1.example,andes-login2.example\n"},
    {"share/clusters/frontier.conf", "[cluster:frontier]\nport = 38889\n"},
    {"share/clusters/none.conf", "; nothing yet\n"},
};
enum { PACKS = sizeof packs / sizeof *packs };

static struct config *parse(const char *site, const char *user)
{
    const struct config_files files = {packs, PACKS, {"site", site}, {"user", user}};
    struct config *config = NULL;
    struct text errors = {0};
    CHECK_INT(config_parse(&files, &config, &errors), 0);
    CHECK_STRING(text_string(&errors), "");
    text_finish(&errors);
    if (!config) {
        exit(check_result());
    }
    return config;
}

static void test_defaults(void)
{
    struct config *config = parse(NULL, NULL);
    CHECK_INT((long long)config->cluster_count, 2);
    const struct cluster_config *frontier = config_find_cluster(config, "frontier");
    CHECK(!config_find_cluster(config, "none"));
    CHECK(!frontier->host && !frontier->forward && !frontier->members && !frontier->hosts);
    CHECK(!frontier->fingerprints && !frontier->home && !frontier->program && !frontier->hub);
    CHECK_STRING(frontier->transport, "libssh2");
    CHECK_STRING(frontier->service, "lab");
    CHECK_INT(frontier->port, 38889);
    CHECK_INT(frontier->keepalive_ms, 30000);
    CHECK_INT(frontier->keepalive_count, 3);
    CHECK_INT(frontier->dead_after_ms, 30 * 60000);
    CHECK_INT(frontier->max_age_ms, 0);
    CHECK_INT(frontier->connect_timeout_ms, 15000);
    CHECK_INT(frontier->wait_ms, 30000);
    CHECK(!frontier->direct && frontier->packed && !frontier->said);
    config_destroy(config);
}

#define DIGEST "R9/5L+ZQ9+pR/jThxbLmmmxBtxRfVt3MsEGPEhv1uTQ"
static const char everything[] = "[defaults]\n"
                                 "keepalive = 10s\n"
                                 "keepalive_count = 5\n"
                                 "[cluster:mine]\n"
                                 "host = me@mine.example\n"
                                 "transport = openssh\n"
                                 "service = lab2\n"
                                 "forward = tb, docs\n"
                                 "  more\n"
                                 "members = n1.mine.example n2.mine.example\n"
                                 "hosts = n[12].mine n?.mine.*\n"
                                 "fingerprints = SHA256:" DIGEST "\n"
                                 "home = ~/far/gears\n"
                                 "program = /opt/gears/bin/gearsctl\n"
                                 "hub = hub1.example ; the real one\n"
                                 "direct = yes\n"
                                 "port = 40001\n"
                                 "keepalive = 20s\n"
                                 "dead_after = 0\n"
                                 "max_age = 24h\n"
                                 "connect_timeout = 1m\n"
                                 "wait = 0\n"
                                 "[cluster:andes]\n"
                                 "members = other.example\n";

static void check_everything(const struct config *config)
{
    const struct cluster_config *mine = config_find_cluster(config, "mine");
    CHECK_STRING(mine->host, "me@mine.example");
    CHECK_STRING(mine->transport, "openssh");
    CHECK_STRING(mine->service, "lab2");
    CHECK_STRING(mine->forward[1], "docs");
    CHECK_STRING(mine->forward[2], "more");
    CHECK(!mine->forward[3]);
    CHECK_STRING(mine->members[1], "n2.mine.example");
    CHECK_STRING(mine->hosts[0], "n[12].mine");
    CHECK_STRING(mine->fingerprints[0], "SHA256:" DIGEST);
    CHECK_STRING(mine->home, "~/far/gears"); /* the home there */
    CHECK_STRING(mine->program, "/opt/gears/bin/gearsctl");
    CHECK_STRING(mine->hub, "hub1.example");
    CHECK(mine->direct && mine->said);
    CHECK_INT(mine->port, 40001);
    CHECK_INT(mine->keepalive_ms, 20000);
    CHECK_INT(mine->keepalive_count, 5);
    CHECK_INT(mine->dead_after_ms, 0);
    CHECK_INT(mine->max_age_ms, 24 * 3600 * 1000);
    CHECK_INT(mine->connect_timeout_ms, 60000);
    CHECK_INT(mine->wait_ms, 0);
    const struct cluster_config *andes = config_find_cluster(config, "andes");
    CHECK_STRING(andes->host, "andes.example");
    CHECK_STRING(andes->members[0], "other.example");
    CHECK(!andes->members[1] && andes->packed && andes->said);
    CHECK_INT(andes->keepalive_ms, 10000);
}

/* What `config show` prints is a file that says the same. */
static void check_shown(const struct config *config, void (*check)(const struct config *))
{
    struct text shown = {0}, again = {0};
    config_format(config, &shown);
    struct config *second = parse(NULL, text_string(&shown));
    check(second);
    config_format(second, &again);
    CHECK_STRING(text_string(&again), text_string(&shown));
    CHECK_HOLDS(text_string(&shown), "[cluster:frontier]");
    text_finish(&shown);
    text_finish(&again);
    config_destroy(second);
}

static void test_everything(void)
{
    struct config *config = parse(NULL, everything);
    check_everything(config);
    check_shown(config, check_everything);
    struct cluster_config *copy = cluster_config_copy(config_find_cluster(config, "mine"));
    config_destroy(config);
    CHECK_STRING(copy->forward[2], "more");
    CHECK_STRING(copy->transport, "openssh");
    CHECK_INT(copy->max_age_ms, 24 * 3600 * 1000);
    CHECK(copy->direct && copy->said && !copy->packed);
    cluster_config_destroy(copy);
}

/* The site's file stands between a pack and the user's; what it says for all and locks holds
 * for the user's own clusters. */
static void test_site(void)
{
    struct config *config = parse("[defaults]\nmax_age = 24h\nlocks = max_age\n"
                                  "[cluster:andes]\nhub = hub2.example\nport = 39000\n",
        "[cluster:andes]\nport = 39001\n[cluster:mine]\n");
    const struct cluster_config *andes = config_find_cluster(config, "andes");
    CHECK_STRING(andes->host, "andes.example");
    CHECK_STRING(andes->hub, "hub2.example");
    CHECK_INT(andes->port, 39001);
    CHECK_INT(config_find_cluster(config, "mine")->max_age_ms, 24 * 3600 * 1000);
    config_destroy(config);
}

static void check_shared(const struct config *config)
{
    CHECK_INT(config_find_cluster(config, "mine")->port, 38889);
    CHECK_INT(config_find_cluster(config, "frontier")->port, 38889);
}

/* A pack that no file mentions forbids nobody its port. */
static void test_shared_port(void)
{
    struct config *config = parse(NULL, "[cluster:mine]\nport = 38889\n");
    struct text shown = {0};
    check_shared(config);
    config_format(config, &shown);
    CHECK_HOLDS(
        text_string(&shown), "; the site pack frontier is not shown: mine has its port");
    struct config *again = parse(NULL, text_string(&shown));
    check_shared(again);
    text_finish(&shown);
    config_destroy(again);
    config_destroy(config);
}

static void make_share(char root[PATH_MAX])
{
    char path[PATH_MAX + 32];
    scratch_folder(root);
    snprintf(path, sizeof path, "%s/etc", root);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/clusters", root);
    mkdir(path, 0700);
}

static void test_files(void)
{
    char root[PATH_MAX], path[PATH_MAX + 64];
    struct home here;
    struct config *config = NULL;
    struct text errors = {0};
    make_share(root);
    snprintf(here.root, sizeof here.root, "%s", root);
    snprintf(path, sizeof path, "%s/none", root);
    setenv("GEARS_SITE_CONFIG", path, 1);
    CHECK_INT(config_load(&here, root, &config, &errors), 0); /* a folder without packs */
    CHECK_INT((long long)config->cluster_count, 0);
    config_destroy(config);

    snprintf(path, sizeof path, "%s/clusters/b.conf", root);
    scratch_write(path, "[cluster:b]\nport = 39000\n", 0644);
    snprintf(path, sizeof path, "%s/clusters/a.conf.old", root);
    scratch_write(path, "rubbish\n", 0644);
    snprintf(path, sizeof path, "%s/etc/gears.conf", root);
    scratch_write(path, "[cluster:b]\nhost = b.example\n", 0644);
    CHECK_INT(config_load(&here, root, &config, &errors), 0);
    CHECK_INT((long long)config->cluster_count, 1);
    CHECK_INT(config->clusters[0]->port, 39000);
    CHECK_STRING(config->clusters[0]->host, "b.example");
    config_destroy(config);
    CHECK_INT(config_load(&here, NULL, &config, &errors), 0);
    CHECK_INT(config->clusters[0]->port, 38888);
    config_destroy(config);

    snprintf(path, sizeof path, "%s/clusters/a.conf", root);
    scratch_write(path, "[cluster:a]\nhosts\n", 0644);
    CHECK_INT(config_load(&here, root, &config, &errors), -EINVAL);
    strcat(path, ":2: neither a [section] nor a KEY = VALUE");
    CHECK_HOLDS(text_string(&errors), path);
    text_finish(&errors);
    scratch_remove(root);
}

/* The packs that Gears ships: without a mistake, each with a port of its own. */
static void test_shipped(void)
{
    static const char *const names[] = {"andes", "frontier", "perlmutter"};
    struct home nowhere = {.root = "/nonexistent"};
    struct config *config = NULL;
    struct text errors = {0};
    setenv("GEARS_SITE_CONFIG", "/nonexistent/gears.conf", 1);
    CHECK_INT(config_load(&nowhere, GEARS_SHARE, &config, &errors), 0);
    CHECK_STRING(text_string(&errors), "");
    text_finish(&errors);
    for (size_t i = 0; config && i < sizeof names / sizeof *names; i++) {
        const struct cluster_config *cluster = config_find_cluster(config, names[i]);
        if (CHECK(cluster && cluster->host && cluster->hosts)) {
            CHECK_INT(cluster->port, 38888 + (int)i);
            CHECK(cluster->packed && !cluster->said && !cluster->max_age_ms);
            CHECK(!cluster->direct || cluster->members); /* else no node has a name */
        }
    }
    CHECK_INT(config ? (long long)config->cluster_count : 0, 3);
    config_destroy(config);
}

int main(void)
{
    setenv("HOME", "/home/me", 1);
    test_defaults();
    test_everything();
    test_site();
    test_shared_port();
    test_files();
    test_shipped();
    return check_result();
}
