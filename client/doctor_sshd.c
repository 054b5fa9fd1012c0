/* doctor's check of this host's sshd: whether a laptop's LocalForward to run/CLUSTER.sck is let
 * through, as sshd_config(5) decides. Measured with OpenSSH 9.2: each of the four keys refuses
 * sockets, the two that are named after TCP as well. */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "client/doctor.h"
#include "common/file.h"

enum { DEPTH_MOST = 16, FILES_MOST = 256, FILE_MOST = 1 << 20, VALUE_SIZE = 128 };
enum { STREAM_LOCAL, TCP, DISABLE, PERMIT_OPEN, KEYS };

static const struct {
    const char *name, *remedy;
} keys[KEYS] = {
    [STREAM_LOCAL] = {"AllowStreamLocalForwarding",
        "ask your site for \"AllowStreamLocalForwarding local\" on this host"},
    [TCP] = {"AllowTcpForwarding",
        "ask your site for \"AllowTcpForwarding local\" on this host"},
    [DISABLE] = {"DisableForwarding",
        "ask your site for \"DisableForwarding no\" on this host"},
    [PERMIT_OPEN] = {"PermitOpen", "ask your site for \"PermitOpen any\" on this host"},
};

struct place {
    char file[PATH_MAX];
    int line; /* 0: nowhere */
};

struct sshd {
    struct {
        char value[VALUE_SIZE];
        struct place at, match; /* where it is set for all, and first in a Match block */
        bool doubtful;          /* a file that could not be read comes before */
    } found[KEYS];
    int files;
    char unread[PATH_MAX + 80]; /* the first file that could not be read, and why; "" */
    bool absent;                /* there is no such configuration */
};

static void parse_file(struct sshd *sshd, const char *path, int depth, bool for_all);

/* The next word of *line, quotes removed; "" at the end. An '=' may stand behind the first. */
static void take_word(char **line, char *out, size_t size)
{
    char *at = *line + strspn(*line, " \t\r=");
    bool quoted = *at == '"';
    size_t length = quoted ? strcspn(++at, "\"") : strcspn(at, " \t\r=");
    snprintf(out, size, "%.*s", (int)length, at);
    *line = at + length + (quoted && at[length]);
}

/* Patterns are relative to /etc/ssh. */
static void include(struct sshd *sshd, char *words, int depth, bool for_all)
{
    char word[PATH_MAX / 2], pattern[PATH_MAX];
    for (take_word(&words, word, sizeof word); *word; take_word(&words, word, sizeof word)) {
        glob_t found;
        snprintf(pattern, sizeof pattern, "%s%s", *word == '/' ? "" : "/etc/ssh/", word);
        if (glob(pattern, 0, NULL, &found)) {
            continue;
        }
        for (size_t i = 0; i < found.gl_pathc; i++) {
            parse_file(sshd, found.gl_pathv[i], depth + 1, for_all);
        }
        globfree(&found);
    }
}

static void set_place(struct place *place, const char *path, int number)
{
    if (!place->line) {
        snprintf(place->file, sizeof place->file, "%s", path);
        place->line = number;
    }
}

/* The first value counts. */
static void take_key(
    struct sshd *sshd, const char *name, char *rest, const char *path, int number, bool for_all)
{
    for (size_t i = 0; i < KEYS; i++) {
        if (strcasecmp(name, keys[i].name) != 0) {
            continue;
        }
        if (!for_all) {
            set_place(&sshd->found[i].match, path, number);
        } else if (!sshd->found[i].at.line) {
            take_word(&rest, sshd->found[i].value, VALUE_SIZE);
            set_place(&sshd->found[i].at, path, number);
            sshd->found[i].doubtful = sshd->unread[0] != 0;
        }
    }
}

/* `for_all`: not inside a Match block; a block ends with the file that it is in. */
static void parse_file(struct sshd *sshd, const char *path, int depth, bool for_all)
{
    char *text = NULL, *save = NULL, name[64], what[64];
    int number = 0, code = -ELOOP;
    bool everybody = for_all;
    if (depth <= DEPTH_MOST && sshd->files++ < FILES_MOST) {
        code = file_read(path, FILE_MOST, &text, NULL, NULL);
    }
    sshd->absent = !depth && code == -ENOENT;
    if (code && !sshd->unread[0]) {
        snprintf(sshd->unread, sizeof sshd->unread, "%s: %s", path, strerror(-code));
    }
    for (char *line = text; line && *line; line = save) {
        size_t length = strcspn(line, "\n");
        save = line + length + (line[length] == '\n');
        line[length] = 0;
        number++;
        line += strspn(line, " \t");
        if (*line == '#') {
            continue;
        }
        take_word(&line, name, sizeof name);
        if (!strcasecmp(name, "Match")) {
            take_word(&line, what, sizeof what);
            everybody = for_all && !strcasecmp(what, "all");
        } else if (!strcasecmp(name, "Include")) {
            include(sshd, line, depth, everybody);
        } else {
            take_key(sshd, name, line, path, number, everybody);
        }
    }
    free(text);
}

static bool refuses(size_t key, const char *value)
{
    switch (key) {
    case DISABLE:
        return !strcasecmp(value, "yes") || !strcasecmp(value, "true");
    case PERMIT_OPEN:
        return strcasecmp(value, "any") != 0;
    default:
        return !strcasecmp(value, "no") || !strcasecmp(value, "false") ||
               !strcasecmp(value, "remote");
    }
}

static void judge(struct doctor *doctor, const struct sshd *sshd, size_t key)
{
    const struct place *at = &sshd->found[key].at, *match = &sshd->found[key].match;
    const char *name = keys[key].name, *value = sshd->found[key].value;
    bool bad = at->line && refuses(key, value);
    if (match->line) {
        doctor_note(doctor,
            "%s:%d sets %s in a Match block; whether that is for you, and lets a laptop "
            "forward to run/CLUSTER.sck, cannot be told from here",
            match->file, match->line, name);
    } else if (bad && sshd->found[key].doubtful) {
        doctor_note(doctor,
            "%s:%d says %s %s, which refuses forwards to run/CLUSTER.sck, unless a file that "
            "cannot be read says otherwise",
            at->file, at->line, name, value);
    } else if (bad) {
        doctor_find(doctor, keys[key].remedy,
            "%s %s in %s:%d: this host's sshd refuses a laptop's forward to run/CLUSTER.sck",
            name, value, at->file, at->line);
    }
}

void check_forwarding(struct doctor *doctor)
{
    static struct sshd sshd;
    const char *given = getenv("GEARS_SSHD_CONFIG"), *path = "/etc/ssh/sshd_config";
    if (given && *given) {
        path = given;
    }
    parse_file(&sshd, path, 0, true);
    if (sshd.absent && !(given && *given)) { /* where a distribution keeps its own below /usr */
        sshd = (struct sshd){0};
        parse_file(&sshd, "/usr/etc/ssh/sshd_config", 0, true);
    }
    if (sshd.absent) {
        doctor_note(
            doctor, "there is no %s here, so whether this host forwards cannot be told", path);
        return;
    }
    if (sshd.unread[0]) {
        doctor_note(doctor, "%s; so whether this host forwards to sockets is not fully known",
            sshd.unread);
    }
    for (size_t i = 0; i < KEYS; i++) {
        judge(doctor, &sshd, i);
    }
}
