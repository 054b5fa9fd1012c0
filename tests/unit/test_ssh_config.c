/* What Gears takes from ssh_config: pure text, and real `ssh -G` with files of its own. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>

#include "common/clock.h"
#include "daemon/remote/ssh_config.h"
#include "tests/unit/scratch.h"

static char root[PATH_MAX];
static char home[PATH_MAX]; /* by the password file, as ssh takes it */

static struct ssh_settings parse(const char *text)
{
    struct ssh_settings settings = {0};
    struct error err = {0};
    CHECK_INT(ssh_config_parse("andes", text, &settings, &err), 0);
    CHECK_STRING(err.text, "");
    if (!settings.hop) {
        exit(check_result());
    }
    return settings;
}

static void drop(struct ssh_settings *settings)
{
    ssh_hop_destroy(settings->hop);
    free(settings->jump);
}

static void check_home(const char *path, const char *below)
{
    char expected[PATH_MAX + 64];
    snprintf(expected, sizeof expected, "%s%s", home, below);
    CHECK_STRING(path, expected);
}

static void test_parse(void)
{
    struct ssh_settings settings =
        parse("host andes\nuser me\nhostname andes.example\nport 2200\nhostkeyalias the-andes\n"
              "identityfile ~/.ssh/id_%h_%r_%n_%p\nidentityfile ${GEARS_TEST_DIR}/key%%\n"
              "identityfile %d/k\nidentitiesonly yes\nidentityagent /run/agent\n"
              "userknownhostsfile ~/.ssh/kh /tmp/%x \"/a b/c\"\n"
              "globalknownhostsfile /etc/ssh/one /etc/ssh/two\nproxyjump me@hub,other\n"
              "proxycommand none\n");
    struct ssh_hop *hop = settings.hop;
    CHECK_STRING(hop->name, "andes");
    CHECK_STRING(hop->host, "andes.example");
    CHECK_STRING(hop->user, "me");
    CHECK_STRING(hop->alias, "the-andes");
    CHECK_INT(hop->port, 2200);
    check_home(hop->identities[0], "/.ssh/id_andes.example_me_andes_2200");
    CHECK_STRING(hop->identities[1], "/some where/key%");
    check_home(hop->identities[2], "/k");
    CHECK(!hop->identities[3] && hop->identities_only);
    CHECK_STRING(hop->agent, "/run/agent");
    CHECK(!hop->agent_of_caller);
    check_home(hop->known_hosts[0], "/.ssh/kh");
    CHECK_STRING(hop->known_hosts[1], "/tmp/%x"); /* ssh has read the %% already */
    CHECK_STRING(hop->known_hosts[2], "/a b/c");
    CHECK_STRING(hop->known_hosts[3], "/etc/ssh/one");
    CHECK_STRING(hop->known_hosts[4], "/etc/ssh/two");
    CHECK(!hop->known_hosts[5]);
    CHECK_STRING(settings.jump, "me@hub,other");
    drop(&settings);
}

#define WHO "user me\nhostname h\n"

static void test_agents(void)
{
    static const struct {
        const char *text, *agent;
        bool of_caller;
    } cases[] = {{WHO, NULL, true}, {WHO "identityagent SSH_AUTH_SOCK\n", NULL, true},
        {WHO "identityagent $SSH_AUTH_SOCK\n", NULL, true},
        {WHO "identityagent none\n", NULL, false},
        {WHO "identityagent $GEARS_TEST_DIR\n", "/some where", false},
        {WHO "identityagent $GEARS_TEST_UNSET\n", NULL, false},
        {WHO "identityagent ${GEARS_TEST_DIR}/%r\n", "/some where/me", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ssh_settings settings = parse(cases[i].text);
        CHECK_STRING(settings.hop->agent, cases[i].agent);
        CHECK(settings.hop->agent_of_caller == cases[i].of_caller);
        CHECK_INT(settings.hop->port, 22);
        drop(&settings);
    }
}

static void test_none(void)
{
    struct ssh_settings settings = parse(
        WHO "identityfile none\nuserknownhostsfile none\nglobalknownhostsfile /g\nproxyjump "
            "none\nproxycommand none\nhostkeyalias none\n");
    CHECK(!settings.jump && !settings.hop->alias && !settings.hop->identities[0]);
    /* Not the site's: nothing is added. */
    CHECK_STRING(settings.hop->known_hosts[0], "/dev/null");
    CHECK_STRING(settings.hop->known_hosts[1], "/g");
    drop(&settings);
}

static void expect_bad(int line, const char *text, const char *words)
{
    struct ssh_settings settings = {0};
    struct error err = {0};
    int code = ssh_config_parse("andes", text, &settings, &err);
    check_integers(code, -EINVAL, __FILE__, line, "code");
    scratch_holds(err.text, words, __FILE__, line, "words");
    if (!code) {
        drop(&settings);
    }
}
#define BAD(text, words) expect_bad(__LINE__, text, words)

static void test_refused(void)
{
    char many[2000] = WHO;
    BAD("", "no hostname");
    BAD("hostname h\n", "no user");
    BAD(WHO "port 0\n", "Port: 0 is outside 1 to 65535");
    BAD(WHO "proxycommand nc %h %p\n", "transport = openssh");
    BAD(WHO "identityfile ~/%C\n", "Gears does not know %C");
    BAD(WHO "identityfile ~/x%\n", "Gears does not know %");
    BAD(WHO "identityfile id_rsa\n", "\"id_rsa\" is no absolute path");
    BAD(WHO "identityfile ~gears-nobody/x\n", "there is no user gears-nobody");
    BAD(WHO "identityfile ${GEARS_TEST_UNSET}/x\n", "GEARS_TEST_UNSET is not set");
    BAD(WHO "identityfile ${GEARS_TEST_DIR\n", "is not set");
    BAD(WHO "userknownhostsfile /with space/x\n", "\"space/x\" is no absolute path");
    for (int i = 0; i < 17; i++) {
        strcat(many, "identityfile /key\n");
    }
    BAD(many, "IdentityFile: more than 16");
}

static void test_jumps(void)
{
    static const struct {
        const char *list, *rest, *user, *host;
        int port;
    } good[] = {{"hub", "", "", "hub", 0}, {"me@hub:22", "", "me", "hub", 22},
        {"a,b@c:1,ssh://x@y@z:33/", "a,b@c:1", "x@y", "z", 33}, {"ssh://hub", "", "", "hub", 0},
        {"[::1]:33", "", "", "::1", 33}, {"u@[::1]", "", "u", "::1", 0},
        {"fe80::1", "", "", "fe80::1", 0}};
    static const char *const bad[] = {"", "a,", "@x", "x:0", "x:", "x:99999", "[::1", "[::1]3",
        "-oProxyCommand=x", "u@-x", "ssh://", "[]"};
    struct ssh_jump jump;
    struct error err;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        CHECK_INT(ssh_config_split_jump(good[i].list, &jump, &err), 0);
        CHECK_STRING(jump.rest, good[i].rest);
        CHECK_STRING(jump.user, good[i].user);
        CHECK_STRING(jump.host, good[i].host);
        CHECK_INT(jump.port, good[i].port);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err.text[0] = 0;
        if (!CHECK_INT(ssh_config_split_jump(bad[i], &jump, &err), -EINVAL) || !err.text[0]) {
            fprintf(stderr, "    for \"%s\": %s\n", bad[i], err.text);
        }
    }
}

/* With real ssh from here on. */
static void write_config(const char *text)
{
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/config", root);
    scratch_write(path, text, 0600);
    setenv("GEARS_SSH_CONFIG", path, 1);
}

static struct ssh_hop *hops[8];
static size_t count;

static void drop_hops(void)
{
    for (size_t i = 0; i < count; i++) {
        ssh_hop_destroy(hops[i]);
    }
    count = 0;
}

static void resolve(int line, const char *name, size_t expected)
{
    struct error err = {0};
    int code = ssh_config_resolve(name, "ssh", 20000, hops, 8, &count, &err);
    check_integers(code, 0, __FILE__, line, "code");
    check_strings(err.text, "", __FILE__, line, "words");
    if (!check_integers((long long)count, (long long)expected, __FILE__, line, "hops")) {
        exit(check_result());
    }
}

static void refuse(int line, const char *name, int code, const char *words)
{
    struct error err = {0};
    int got = ssh_config_resolve(name, "ssh", 20000, hops, 8, &count, &err);
    check_integers(got, code, __FILE__, line, "code");
    check_integers((long long)count, 0, __FILE__, line, "hops");
    scratch_holds(err.text, words, __FILE__, line, "words");
}

static void test_real(void)
{
    write_config("Host andes\n  HostName %h.example\n  User me\n  Port 2200\n"
                 "  IdentityFile ~/.ssh/gears-%r\n  UserKnownHostsFile ~/.ssh/gears-%h\n"
                 "  ProxyJump outer,jump@inner:2022\n"
                 "Host inner\n  User not-this\n  HostKeyAlias innermost\n  Port 99\n"
                 "  ProxyJump ignored\n"
                 "Host outer\n  HostName outer.example\n  User you\n  ProxyJump gate\n"
                 "Host gate\n  IdentityAgent none\n  User g\n");
    resolve(__LINE__, "andes", 4);
    CHECK_STRING(hops[0]->host, "gate");
    CHECK(!hops[0]->agent_of_caller && !hops[0]->agent);
    CHECK_STRING(hops[1]->host, "outer.example");
    CHECK_STRING(hops[1]->user, "you");
    CHECK_STRING(hops[2]->host, "inner");
    CHECK_STRING(hops[2]->user, "jump");
    CHECK_STRING(hops[2]->alias, "innermost");
    CHECK_INT(hops[2]->port, 2022);
    CHECK(hops[2]->identities[0] && hops[2]->agent_of_caller);
    CHECK_STRING(hops[3]->name, "andes");
    CHECK_STRING(hops[3]->host, "andes.example");
    CHECK_INT(hops[3]->port, 2200);
    check_home(hops[3]->identities[0], "/.ssh/gears-me");
    CHECK(!hops[3]->identities[1]);
    check_home(hops[3]->known_hosts[0], "/.ssh/gears-andes.example");
    drop_hops();
    resolve(__LINE__, "root@andes", 4);
    CHECK_STRING(hops[3]->user, "root");
    drop_hops();
    resolve(__LINE__, "unknown.example", 1);
    CHECK_STRING(hops[0]->host, "unknown.example");
    CHECK_INT(hops[0]->port, 22);
    drop_hops();
}

static void test_real_refusals(void)
{
    write_config("Host loop\n  ProxyJump back\nHost back\n  ProxyJump loop\n"
                 "Host self\n  HostName 127.0.0.1\n  Port 1\nHost s*\n  ProxyJump self\n"
                 "Host nc\n  ProxyCommand nc %h %p\n"
                 "Host jumps\n  ProxyJump nc\n"
                 "Host long\n  ProxyJump a,b,c,d,e,f,g,h\n");
    refuse(__LINE__, "loop", -ELOOP, "comes back to loop");
    refuse(__LINE__, "self", -ELOOP, "comes back to self; give it the line ProxyJump none");
    refuse(__LINE__, "nc", -EINVAL, "nc: ssh_config has a ProxyCommand");
    refuse(__LINE__, "jumps", -EINVAL, "nc: ssh_config has a ProxyCommand");
    refuse(__LINE__, "long", -ELOOP, "more than 8 hosts");
    refuse(__LINE__, "-oProxyCommand=x", -EINVAL, "is not a host's name");
    refuse(__LINE__, "", -EINVAL, "is not a host's name");
    write_config("Host *\n  Prot 33\n");
    refuse(__LINE__, "andes", -EINVAL, "Bad configuration option: prot");
}

/* For transport = openssh nothing is refused that ssh can do. */
static void test_server(void)
{
    struct ssh_hop *hop = NULL;
    struct error err = {0};
    write_config(
        "Host nc\n  HostName nc.example\n  User me\n  Port 2022\n  ProxyCommand nc %h\n"
        "  IdentityFile key-%C\n  IdentityAgent none\n");
    CHECK_INT(ssh_config_resolve_server("nc", "ssh", 20000, &hop, &err), 0);
    CHECK_STRING(err.text, "");
    if (CHECK(hop != NULL)) {
        CHECK_STRING(hop->name, "nc");
        CHECK_STRING(hop->host, "nc.example");
        CHECK_STRING(hop->user, "me");
        CHECK_INT(hop->port, 2022);
        CHECK(!hop->identities[0] && !hop->known_hosts[0] && !hop->agent_of_caller);
        CHECK(hop->proxied);
    }
    ssh_hop_destroy(hop);
    write_config("Host nc\n  ProxyJump none\nHost far\n  ProxyJump nc\n");
    for (int i = 0; i < 2; i++) {
        CHECK_INT(ssh_config_resolve_server(i ? "far" : "nc", "ssh", 20000, &hop, &err), 0);
        CHECK(hop->proxied == (i == 1));
        ssh_hop_destroy(hop);
    }
    CHECK_INT(ssh_config_resolve_server("-x", "ssh", 20000, &hop, &err), -EINVAL);
}

/* ssh -G runs Match exec: it sees no agent, and is killed with all it started. */
static void test_match_exec(void)
{
    char text[2 * PATH_MAX + 200], path[PATH_MAX + 16];
    struct error err = {0};
    snprintf(path, sizeof path, "%s/check", root);
    scratch_write(path,
        "#!/bin/sh\ntest -z \"${SSH_AUTH_SOCK+set}\" && test \"$GEARS_TEST_DIR\"\n", 0700);
    snprintf(text, sizeof text, "Match exec %s\n  User without-agent\n", path);
    write_config(text);
    setenv("SSH_AUTH_SOCK", "/run/agent", 1);
    resolve(__LINE__, "andes", 1);
    CHECK_STRING(hops[0]->user, "without-agent");
    drop_hops();
    unsetenv("SSH_AUTH_SOCK");

    /* Who has the pipe open for writing is alive. */
    snprintf(path, sizeof path, "%s/alive", root);
    CHECK_INT(mkfifo(path, 0600), 0);
    struct pollfd alive = {open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), POLLIN, 0};
    snprintf(text, sizeof text, "Match exec \"exec 3>%s; echo >&3; exec sleep 100\"\n", path);
    write_config(text);
    int64_t start = clock_monotonic_ms();
    CHECK_INT(ssh_config_resolve("andes", "ssh", 2500, hops, 8, &count, &err), -ETIMEDOUT);
    CHECK(clock_monotonic_ms() - start < 20000);
    CHECK_HOLDS(err.text, "ssh -G andes: no end in time; does a Match exec");
    CHECK_INT(read(alive.fd, text, sizeof text), 1); /* it was reached */
    CHECK_INT(poll(&alive, 1, 10000), 1);
    CHECK(alive.revents & POLLHUP);
    close(alive.fd);
}

/* Stand-ins for ssh that misbehave. */
static void test_programs(void)
{
    static const struct {
        const char *script;
        int code;
        const char *words;
    } cases[] = {
        {"#!/bin/sh\nwhile :; do echo hostname hostname hostname hostname; done\n", -EFBIG,
            "more than 256 KiB"},
        {"#!/bin/sh\nprintf 'a\\000b\\n'\n", -EINVAL, "NUL bytes"},
        {"#!/bin/sh\nprintf 'not\\033so\\nmore\\n' >&2; exit 3\n", -EINVAL, "not\\x1bso"},
        {"#!/bin/sh\nexit 3\n", -EINVAL, "it ended with status 3"},
        {"#!/bin/sh\nkill -9 $$\n", -EINVAL, "it was ended by signal 9"},
        {"#!/bin/sh\nhead -c 300000 /dev/zero >&2; exec sleep 100\n", -ETIMEDOUT, "no end"},
        {"#!/bin/sh\nexec sleep 100 >&- 2>&-\n", -ETIMEDOUT, "no end"},
    };
    char path[PATH_MAX + 16];
    struct error err = {0};
    snprintf(path, sizeof path, "%s/ssh", root);
    CHECK_INT(ssh_config_resolve("andes", path, 1000, hops, 8, &count, &err), -ENOENT);
    CHECK_HOLDS(err.text, "/ssh -G andes: cannot run it");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        scratch_write(path, cases[i].script, 0700);
        int64_t ms = cases[i].code == -ETIMEDOUT ? 400 : 20000;
        CHECK_INT(ssh_config_resolve("andes", path, ms, hops, 8, &count, &err), cases[i].code);
        CHECK_HOLDS(err.text, cases[i].words);
    }
}

int main(void)
{
    struct passwd *self = getpwuid(geteuid());
    snprintf(home, sizeof home, "%s", self ? self->pw_dir : "");
    setenv("GEARS_TEST_DIR", "/some where", 1);
    unsetenv("SSH_AUTH_SOCK");
    scratch_folder(root);
    test_parse();
    test_agents();
    test_none();
    test_refused();
    test_jumps();
    test_real();
    test_real_refusals();
    test_server();
    test_match_exec();
    test_programs();
    scratch_remove(root);
    return check_result();
}
