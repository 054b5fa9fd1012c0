/* Parsers and formatters of small values (durations, sizes, names, signals); see text.h. */
#include "common/text.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t TEN_YEARS_MS = 3660LL * 86400 * 1000;

int duration_parse(const char *string, int64_t *milliseconds, struct error *err)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    int64_t total = 0;
    const char *at = string;
    if (!*at) {
        return error_set(err, -EINVAL, "a duration is empty; write 90s, 15m, 24h or 7d");
    }
    while (*at) {
        char *end;
        errno = 0;
        long long number = isdigit((unsigned char)*at) ? strtoll(at, &end, 10) : -1;
        if (number < 0 || errno || number > TEN_YEARS_MS) {
            goto bad;
        }
        int64_t ms = 0;
        size_t length = strspn(end, "abcdefghijklmnopqrstuvwxyz");
        for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
            if (strlen(units[i].unit) == length && !strncmp(end, units[i].unit, length)) {
                ms = units[i].ms;
            }
        }
        if (!length && !*end && at == string) {
            ms = 1000; /* a bare number is in seconds */
        }
        if (!ms || number > TEN_YEARS_MS / ms) {
            goto bad;
        }
        total += number * ms;
        if (total > TEN_YEARS_MS) {
            goto bad;
        }
        at = end + length;
    }
    *milliseconds = total;
    return 0;
bad:
    return error_set(
        err, -EINVAL, "\"%.40s\" is not a duration; write 90s, 15m, 24h or 7d", string);
}

void duration_format(int64_t ms, char *buffer, size_t size)
{
    long long s = ms / 1000;
    if (ms < 1000) {
        snprintf(buffer, size, "%lldms", (long long)ms);
    } else if (s < 60) {
        snprintf(buffer, size, "%llds", s);
    } else if (s < 3600) {
        snprintf(buffer, size, s % 60 ? "%lldm%llds" : "%lldm", s / 60, s % 60);
    } else if (s < 86400) {
        snprintf(buffer, size, s % 3600 / 60 ? "%lldh%lldm" : "%lldh", s / 3600, s % 3600 / 60);
    } else {
        snprintf(buffer, size, s % 86400 / 3600 ? "%lldd%lldh" : "%lldd", s / 86400,
            s % 86400 / 3600);
    }
}

int size_parse(const char *string, uint64_t *bytes, struct error *err)
{
    char *end = NULL;
    errno = 0;
    unsigned long long number =
        isdigit((unsigned char)*string) ? strtoull(string, &end, 10) : ULLONG_MAX;
    if (!end || errno) {
        goto bad;
    }
    unsigned shift = 0;
    if (*end) {
        const char *unit = strchr("KMGT", toupper((unsigned char)*end));
        if (!unit || (end[1] && strcmp(end + 1, "B") != 0 && strcmp(end + 1, "iB") != 0)) {
            goto bad;
        }
        shift = *unit == 'K' ? 10 : *unit == 'M' ? 20 : *unit == 'G' ? 30 : 40;
    }
    if (number > (UINT64_MAX >> 1) >> shift) {
        goto bad;
    }
    *bytes = (uint64_t)number << shift;
    return 0;
bad:
    return error_set(err, -EINVAL, "\"%.40s\" is not a size; write 512K, 64M or 2G", string);
}

int integer_parse(
    const char *string, long long low, long long high, long long *value, struct error *err)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll(string, &end, 10);
    if (end == string || *end || errno || isspace((unsigned char)*string)) {
        return error_set(err, -EINVAL, "\"%.40s\" is not a whole number", string);
    }
    if (number < low || number > high) {
        return error_set(err, -EINVAL, "%lld is outside %lld to %lld", number, low, high);
    }
    *value = number;
    return 0;
}

size_t numbers_parse(const char *string, uint64_t *numbers, size_t limit)
{
    size_t count = 0;
    while (count < limit) {
        char *end;
        uint64_t value = strtoull(string, &end, 10);
        if (end == string || (*end && !isspace((unsigned char)*end))) {
            break;
        }
        numbers[count++] = value;
        string = end;
    }
    return count;
}

int name_check(const char *name, struct error *err)
{
    size_t length = strlen(name);
    if (!length || length > 32) {
        return error_set(
            err, -EINVAL, "a name has 1 to 32 characters, \"%.40s\" has %zu", name, length);
    }
    if (strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_.-") != length ||
        !isalnum((unsigned char)name[0])) {
        return error_set(err, -EINVAL,
            "\"%s\" is not a name; use a-z 0-9 _ . - and start with a letter or digit", name);
    }
    if (string_equal(name, "gearsd") || string_equal(name, "relay") ||
        (length > 4 && !strcmp(name + length - 4, ".sck"))) {
        return error_set(err, -EINVAL, "the name \"%s\" is taken by Gears itself", name);
    }
    return 0;
}

static const struct {
    const char *name;
    int number;
} signals[] = {{"HUP", SIGHUP}, {"INT", SIGINT}, {"QUIT", SIGQUIT}, {"KILL", SIGKILL},
    {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"TERM", SIGTERM}, {"CONT", SIGCONT},
    {"STOP", SIGSTOP}, {"TSTP", SIGTSTP}, {"WINCH", SIGWINCH}, {"ABRT", SIGABRT},
    {"SEGV", SIGSEGV}, {"BUS", SIGBUS}, {"FPE", SIGFPE}, {"ILL", SIGILL}, {"PIPE", SIGPIPE},
    {"ALRM", SIGALRM}, {"CHLD", SIGCHLD}, {"TRAP", SIGTRAP}, {"XCPU", SIGXCPU},
    {"XFSZ", SIGXFSZ}, {"SYS", SIGSYS}, {"TTIN", SIGTTIN}, {"TTOU", SIGTTOU}};

int signal_parse(const char *string, int *number, struct error *err)
{
    const char *name = strncmp(string, "SIG", 3) ? string : string + 3;
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        if (!strcmp(signals[i].name, name)) {
            *number = signals[i].number;
            return 0;
        }
    }
    long long value;
    if (integer_parse(string, 1, 64, &value, NULL)) {
        return error_set(
            err, -EINVAL, "\"%.20s\" is not a signal; write TERM, INT or USR1", string);
    }
    *number = (int)value;
    return 0;
}

const char *signal_name(int number)
{
    static _Thread_local char digits[16];
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        if (signals[i].number == number) {
            return signals[i].name;
        }
    }
    snprintf(digits, sizeof digits, "%d", number);
    return digits;
}

bool string_equal(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

void visible_format(const char *bytes, size_t length, char *out, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)bytes[i];
        char piece[8];
        if (c >= 0x20 && c < 0x7f && c != '\\') {
            snprintf(piece, sizeof piece, "%c", c);
        } else if (c == '\n' || c == '\t' || c == '\r' || c == '\\') {
            const char *letter = strchr("\nn\tt\rr\\\\", c);
            snprintf(piece, sizeof piece, "\\%c", letter[1]);
        } else {
            snprintf(piece, sizeof piece, "\\x%02x", c);
        }
        size_t n = strlen(piece);
        if (used + n + sizeof "..." > size) {
            snprintf(out + used, size - used, "...");
            return;
        }
        memcpy(out + used, piece, n);
        used += n;
    }
    out[used] = 0;
}

enum { CLOSE_ENOUGH = 2 };

/* Levenshtein distance; words of more than 31 bytes, or of lengths that differ by more than is
 * ever asked for, count as far apart. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b), row[32];
    if (la > 31 || lb > 31 || la > lb + CLOSE_ENOUGH || lb > la + CLOSE_ENOUGH) {
        return 99;
    }
    for (size_t j = 0; j <= lb; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= la; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
        }
    }
    return row[lb];
}

const char *closest_find(const char *word, const char *const *candidates)
{
    const char *best = NULL;
    size_t distance = CLOSE_ENOUGH + 1;
    for (; *candidates; candidates++) {
        size_t d = edit_distance(word, *candidates);
        if (d < distance) {
            distance = d;
            best = *candidates;
        }
    }
    return best;
}
