/* gears.conf: every kind of error, with the exact line it is told for. */
#include <errno.h>

#include "daemon/core/config.h"
#include "tests/unit/check.h"

/* Parse bad text and compare all of what is said. `pack` is that of andes. */
static void expect_all(
    int line, const char *pack, const char *site, const char *user, const char *expected)
{
    const struct config_file packs[] = {{"share/andes.conf", pack}};
    const struct config_files files = {packs, 1, {"site", site}, {"user", user}};
    struct config *config = NULL;
    struct text errors = {0};
    int code = config_parse(&files, &config, &errors);
    check_integers(code, -EINVAL, __FILE__, line, "code");
    check_strings(text_string(&errors), expected, __FILE__, line, "errors");
    text_finish(&errors);
    if (!code) {
        config_destroy(config);
    }
}

static void expect(int line, const char *site, const char *user, const char *expected)
{
    expect_all(line, NULL, site, user, expected);
}
#define EXPECT(text, expected) expect(__LINE__, NULL, text, expected)

static void test_sections(void)
{
    EXPECT("[pool:p]", "user:1: [pool:p]: pools are not part of this version\n");
    EXPECT("[sevice:lab]\nx = 1\n", "user:1: there is no section [sevice:lab]; write "
                                    "[defaults], [service:NAME] or [cluster:NAME]\n");
    EXPECT("port = 1\n[defaults]\n", "user:1: \"port\" stands above the first section\n");
    EXPECT("[defaults\nport = x\n", "user:1: the section's name does not end with ]\n");
    EXPECT("[service:lab]\nenv = a\n[defaults]\n[service:lab]\nenv = b\n",
        "user:4: [service:lab] stands twice in this file, first in line 1\n");
    EXPECT("[defaults]\n[defaults]\nport = 2000\n",
        "user:2: [defaults] stands twice in this file\n");
    EXPECT("[service:La b]\n",
        "user:1: \"La b\" is not a name; use a-z 0-9 _ . - and start with a letter or digit\n");
    EXPECT("[service:relay]\n", "user:1: the name \"relay\" is taken by Gears itself\n");
    EXPECT(
        "[service:empty]\n\n", "user:1: service empty needs command = …, or kind = jupyter\n");
}

static void test_lines(void)
{
    char text[600];
    EXPECT("[service:lab]\njunk\n; fine\nmore junk ; a = b\n",
        "user:2: neither a [section] nor a KEY = VALUE\n"
        "user:4: neither a [section] nor a KEY = VALUE\n");
    int n = snprintf(text, sizeof text, "[service:lab]\nmodules = a\nsetup = ");
    memset(text + n, 'x', 192);
    snprintf(text + n + 192, sizeof text - (size_t)n - 192, "\n  lost\nenv = b\n");
    EXPECT(
        text, "user:3: the line has 200 bytes, 199 is the most; go on in an indented line\n");
    EXPECT("[service:lab]\n  env = a\n  workspace = /b\n",
        "user:3: an indented line goes on the value of env; begin workspace in column 1\n");
    EXPECT("[service:lab]\nenabled = yes\n   no\n",
        "user:3: enabled has a value of one line; begin keys in column 1\n");
    EXPECT("[service:x]\ncommand = a ; b\n", "user:2: command: \" ;\" begins a comment here; "
                                             "write the ; right behind the word before "
                                             "it, comments in lines of their own\n");
    EXPECT("[service:lab]\nsetup = a\n  b ; c\n",
        "user:3: setup: \" ;\" begins a comment here; write the ; right behind the word before "
        "it, "
        "comments in lines of their own\n");
}

static void test_keys(void)
{
    EXPECT("[service:lab]\nstop_timout = 3s\n",
        "user:2: unknown key \"stop_timout\"; did you mean stop_timeout?\n");
    EXPECT("[service:lab]\nfoobarbaz = 3s\n", "user:2: unknown key \"foobarbaz\"\n");
    EXPECT("[service:lab]\nport = 4000\n", "user:2: the key port belongs into [defaults]\n");
    EXPECT(
        "[defaults]\ncommand = x\n", "user:2: the key command belongs into a [service:NAME]\n");
    EXPECT("[service:lab]\nenv = a\nrestart = no\nenv = b\n  c\n",
        "user:4: the key env stands twice in this section\n");
    EXPECT("[service:lab]\nmemory_max = 4G\n",
        "user:2: memory_max limits a whole tree and needs a delegated cgroup, which this "
        "version "
        "does not use; use limit_as with care or remove it\n");
    expect(__LINE__, "[defaults]\nlocks = idle_cull\n", "[service:lab]\n\nidle_cull = 0\n  0\n",
        "user:3: the key idle_cull is locked by the site (site); remove it\n");
    expect(__LINE__, "[defaults]\nlocks = idle_cul\n", NULL,
        "site:2: locks: there is no key \"idle_cul\"; did you mean idle_cull?\n");
    expect(__LINE__, NULL, "[defaults]\nlocks = port\ndisabled = no\n",
        "user:2: locks belongs into the site's file only (site)\n"
        "user:3: disabled belongs into the site's file only (site)\n");
}

static void test_values(void)
{
    EXPECT("[service:lab]\nstop_timeout = 3parsecs\n",
        "user:2: stop_timeout: \"3parsecs\" is not a duration; write 90s, 15m, 24h or 7d\n");
    EXPECT("[service:lab]\nstop_timeout = 30d\n",
        "user:2: stop_timeout: 30d is too long; 7d is the most\n");
    EXPECT("[service:lab]\nlog_budget = 0\n",
        "user:2: log_budget: 0 is too little; 64K is the least\n");
    EXPECT("[service:lab]\nlog_budget = big\nstop_signal = BOO\nenabled = maybe\n",
        "user:2: log_budget: \"big\" is not a size; write 512K, 64M or 2G\n"
        "user:3: stop_signal: \"BOO\" is not a signal; write TERM, INT or USR1\n"
        "user:4: enabled = maybe: write yes or no\n");
    EXPECT("[service:lab]\nrestart = never\nkind = notebook\n",
        "user:2: restart = never: write always, on-failure or no\n"
        "user:3: kind = notebook: write jupyter or command\n");
    EXPECT("[service:lab]\nworkspace = work\nenv = ../x\n",
        "user:2: workspace = work: write an absolute path or one with ~\n"
        "user:3: env = ../x: write an environment's name, an absolute path or one with ~\n");
    EXPECT("[service:lab]\nenvironment = A=1\n  B C=2\n  D=\"x\nlimit_nofile = lots\n",
        "user:3: environment: \"B\" is not NAME=value; quote values with spaces\n"
        "user:4: environment: a quote is not closed in this line\n"
        "user:5: limit_nofile: \"lots\" is not a size; write 512K, 64M or 2G, or unlimited\n");
    EXPECT("[defaults]\nport = 80\nlog_total = x\n",
        "user:2: port: 80 is outside 1024 to 65000\n"
        "user:3: log_total: \"x\" is not a size; write 512K, 64M or 2G\n");
}

static void test_whole(void)
{
    EXPECT("[service:lab]\nenv = a\nafter = dbb\n",
        "user:3: service lab is after dbb, which is not defined\n");
    EXPECT("[service:a]\ncommand = a\nafter = b\n[service:b]\ncommand = b\nafter = c lab\n"
           "[service:c]\ncommand = c\n\nafter = a\n",
        "user:10: a circle: a after b after c after a\n");
    EXPECT("[service:lab]\nafter = lab\n", "user:2: a circle: lab after lab\n");
    EXPECT("[service:lab]\nenv = a\ncommand = x\nready = started\n",
        "user:3: service lab is of kind jupyter, which has no command; add kind = command\n"
        "user:4: service lab is of kind jupyter, which knows itself when it is ready; remove "
        "this\n");
    EXPECT("[service:x]\ncommand = x\nready = socket\n",
        "user:3: ready = socket needs {socket} or {port} in the command of x\n");
    EXPECT("[service:x]\ncommand = x {port}\nready = soon\n",
        "user:3: ready = soon: write socket, started, notify, log:REGEX or http:/PATH\n");
    EXPECT("[service:x]\ncommand = x\nready = log:\n",
        "user:3: ready = log: needs a regular expression\n");
    EXPECT("[service:x]\ncommand = x\nready = log:((a{200}){200}){200}\n",
        "user:3: ready = log: the expression repeats too much, or what may match nothing; a "
        "simpler one will "
        "do\n");
    expect(__LINE__, "[service:x]\ncommand = x\n", "\n[service:x]\nready = socket\n",
        "user:3: ready = socket needs {socket} or {port} in the command of x\n");
}

static void test_cluster_keys(void)
{
    EXPECT("[cluster:a]\nmax_agee = 1h\ntransprt = openssh\nfoobarbaz = 1\n",
        "user:2: unknown key \"max_agee\"; did you mean max_age?\n"
        "user:3: unknown key \"transprt\"; did you mean transport?\n"
        "user:4: unknown key \"foobarbaz\"\n");
    EXPECT("[cluster:a]\nhost = x\nhost = y\n",
        "user:3: the key host stands twice in this section\n");
    EXPECT("[cluster:a]\ncommand = x\nlog_total = 1G\nlimit_core = 1\nidle_cull = 1h\n",
        "user:2: the key command belongs into a [service:NAME]\n"
        "user:3: the key log_total belongs into [defaults]\n"
        "user:4: the key limit_core belongs into a [service:NAME]\n"
        "user:5: the key idle_cull belongs into a [service:NAME]\n");
    EXPECT("[defaults]\nmembers = x\n[service:lab]\nhub = x\n",
        "user:2: the key members belongs into a [cluster:NAME]\n"
        "user:4: the key hub belongs into a [cluster:NAME]\n");
    EXPECT("[cluster:An des]\n[cluster:b]\nport = 40000\n[cluster:b]\n",
        "user:1: \"An des\" is not a name; use a-z 0-9 _ . - and start with a letter or "
        "digit\n"
        "user:4: [cluster:b] stands twice in this file, first in line 2\n");
    EXPECT("[cluster:a]\nhost = x\n  port = 4000\nhub = x\n  y\n",
        "user:3: an indented line goes on the value of host; begin port in column 1\n"
        "user:5: hub has a value of one line; begin keys in column 1\n");
    expect(__LINE__, "[defaults]\nlocks = max_age, forward transport direct\n",
        "[defaults]\nmax_age = 0\n[cluster:a]\nforward = tb\ntransport = openssh\ndirect = "
        "yes\nmax_age = 7d\n",
        "user:2: the key max_age is locked by the site (site); remove it\n"
        "user:4: the key forward is locked by the site (site); remove it\n"
        "user:5: the key transport is locked by the site (site); remove it\n"
        "user:6: the key direct is locked by the site (site); remove it\n"
        "user:7: the key max_age is locked by the site (site); remove it\n");
}

static void test_cluster_values(void)
{
    EXPECT("[cluster:a]\nhost = -oProxyCommand=x\nhub = a b\nmembers = n1 -x n2;y\nhosts = "
           "login* $(x)\n",
        "user:2: host: \"-oProxyCommand=x\" is not a host's name\n"
        "user:3: hub: \"a b\" is not a host's name\n"
        "user:4: members: \"-x\" is not a host's name\n"
        "user:4: members: \"n2;y\" is not a host's name\n"
        "user:5: hosts: \"$(x)\" is not a pattern of host names\n");
    EXPECT("[cluster:a]\nservice = La\nforward = tb x/y\n",
        "user:2: service: \"La\" is not a name; use a-z 0-9 _ . - and start with a letter or "
        "digit\n"
        "user:3: forward: \"x/y\" is not a name; use a-z 0-9 _ . - and start with a letter or "
        "digit\n");
    EXPECT("[cluster:a]\nkeepalive = 500ms\nkeepalive_count = 0\nport = 80\nwait = 11m\n"
           "connect_timeout = 0\ntransport = plink\ndirect = maybe\ndead_after = soon\n",
        "user:2: keepalive: 500ms is too short; 1s is the least\n"
        "user:3: keepalive_count: 0 is outside 1 to 100\n"
        "user:4: port: 80 is outside 1024 to 65000\n"
        "user:5: wait: 11m is too long; 10m is the most\n"
        "user:6: connect_timeout: 0 is too short; 1s is the least\n"
        "user:7: transport = plink: write libssh2 or openssh\n"
        "user:8: direct = maybe: write yes or no\n"
        "user:9: dead_after: \"soon\" is not a duration; write 90s, 15m, 24h or 7d\n");
    EXPECT("[cluster:a]\nhome = gears\nprogram = gearsctl\nhost =\n",
        "user:2: home = gears: write an absolute path, or one with ~/ for the home there\n"
        "user:3: program = gearsctl: write an absolute path, or one with ~/ for the home "
        "there\n"
        "user:4: host has no value\n");
    EXPECT("[cluster:a]\nfingerprints = SHA256:abc MD5:00\n",
        "user:2: fingerprints: \"SHA256:abc\" is not a fingerprint; write SHA256: and 43 "
        "characters, as ssh-keygen -l shows it\n"
        "user:2: fingerprints: \"MD5:00\" is not a fingerprint; write SHA256: and 43 "
        "characters, as ssh-keygen -l shows it\n");
    EXPECT("[cluster:a]\nforward = a b c d e f g h\n i j k l m n o p q r\n",
        "user:3: forward: more than 16\n");
}

static void test_clusters_together(void)
{
    EXPECT("[cluster:a]\nforward = tb lab\n",
        "user:2: forward: lab has a socket already; name each service once, and not the one of "
        "the key service\n");
    EXPECT("[cluster:a]\nforward = tb tb\n",
        "user:2: forward: tb has a socket already; name each service once, and not the one of "
        "the key service\n");
    EXPECT("[cluster:a]\n\n[cluster:b]\nhost = b\nport = 38888\n",
        "user:5: cluster b has the laptop's port 38888, which a has already (user:1); write "
        "port = 38889\n");
    EXPECT("[cluster:a]\nport = 38888\n[cluster:b]\n[cluster:c]\nport = 38889\n",
        "user:3: cluster b has the laptop's port 38888, which a has already (user:2); write "
        "port = 38890\n");
    /* The user's section counts, though the pack's was read first. */
    expect_all(__LINE__, "[cluster:andes]\nport = 38888\n", NULL,
        "[cluster:mine]\n[cluster:andes]\ndirect = yes\n",
        "user:1: cluster mine has the laptop's port 38888, which andes has already "
        "(share/andes.conf:2); write port = 38889\n");
    expect(__LINE__, "[cluster:a]\nport = 40000\n", "[cluster:b]\nport = 40000\n",
        "user:2: cluster b has the laptop's port 40000, which a has already (site:2); write "
        "port = 38888\n");
}

static void test_packs(void)
{
    expect_all(__LINE__, "; x\n[cluster:frontier]\nport = 1\n[defaults]\n", NULL, NULL,
        "share/andes.conf:2: [cluster:frontier] may not stand in a site pack of this name, "
        "only "
        "[cluster:andes]\n"
        "share/andes.conf:4: [defaults] may not stand in a site pack of this name, only "
        "[cluster:andes]\n");
    expect_all(__LINE__, "[cluster:andes]\nmenbers = a\nport = x\n", NULL,
        "[cluster:andes]\nwat = 1\n",
        "share/andes.conf:2: unknown key \"menbers\"; did you mean members?\n"
        "share/andes.conf:3: port: \"x\" is not a whole number\n"
        "user:2: unknown key \"wat\"; did you mean wait?\n");
}

static void test_too_many_clusters(void)
{
    struct text text = {0};
    for (int i = 0; i < 65; i++) {
        text_printf(&text, "[cluster:c%d]\nport = %d\n", i, 40000 + i);
    }
    EXPECT(text_string(&text), "user:129: more than 64 clusters\n");
    text_finish(&text);
}

/* All are told, but no more than twenty. */
static void test_many(void)
{
    struct text text = {0}, expected = {0};
    text_printf(&text, "[service:lab]\n");
    for (int i = 0; i < 25; i++) {
        text_printf(&text, "junk\n");
        if (i < 20) {
            text_printf(&expected, "user:%d: neither a [section] nor a KEY = VALUE\n", i + 2);
        }
    }
    text_printf(&expected, "and 5 more\n");
    EXPECT(text_string(&text), text_string(&expected));
    text_finish(&text);
    text_finish(&expected);
}

int main(void)
{
    test_sections();
    test_lines();
    test_keys();
    test_values();
    test_whole();
    test_cluster_keys();
    test_cluster_values();
    test_clusters_together();
    test_packs();
    test_too_many_clusters();
    test_many();
    return check_result();
}
