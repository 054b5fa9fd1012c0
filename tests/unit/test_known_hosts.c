/* known_hosts: which lines are about a name, what they say, and what is written. */
#include <stdlib.h>

#include "daemon/tunnel/known_hosts.h"
#include "tests/unit/scratch.h"

#define ED25519                                                                                \
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDpIN5GocpvfP5B5VKPzkNDtVpC39V/RlxiCEEUEF8Ox"
#define ECDSA                                                                                  \
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBPhFcbOK+mbR2nvr" \
    "W4twDE2Y3YvhhSZzxqw6uT6Wzq/dWttAWTQxLGjvk97dfC1Tk9BkesTq7s3aGFezxxKdc6g="

/* "LINE MARK TYPE;" of each entry found. */
static void note(void *context, const struct known_entry *entry)
{
    char *out = context, fingerprint[SSHKEY_FINGERPRINT_SIZE];
    size_t used = strlen(out);
    sshkey_fingerprint(entry->blob, entry->blob_length, fingerprint);
    snprintf(out + used, 4000 - used, "%d%s %s;", entry->line,
        entry->mark == KNOWN_REVOKED     ? "r"
        : entry->mark == KNOWN_AUTHORITY ? "a"
                                         : "",
        entry->type);
    CHECK(!strncmp(fingerprint, "SHA256:", 7) && strlen(fingerprint) == 50);
}

static const char *scan(const char *text, const char *name)
{
    static char out[4096];
    out[0] = 0;
    known_hosts_scan(text, strlen(text), name, note, out);
    return out;
}

static void finds_names(void)
{
    static const char text[] = "# a comment\n"
                               "\n"
                               "andes " ED25519 " a comment\n"
                               "frontier,10.0.0.3\t" ECDSA "\r\n"
                               "  [andes]:2222 " ED25519 "\n"
                               "andes " ECDSA; /* no newline at the end */
    CHECK_STRING(scan(text, "andes"), "3 ssh-ed25519;6 ecdsa-sha2-nistp256;");
    CHECK_STRING(scan(text, "ANDES"), "3 ssh-ed25519;6 ecdsa-sha2-nistp256;");
    CHECK_STRING(scan(text, "10.0.0.3"), "4 ecdsa-sha2-nistp256;");
    CHECK_STRING(scan(text, "[andes]:2222"), "5 ssh-ed25519;");
    CHECK_STRING(scan(text, "[andes]:2223"), "");
    CHECK_STRING(scan(text, "ande"), "");
    CHECK_STRING(scan(text, "andes2"), "");
}

static void matches_patterns(void)
{
    static const struct {
        const char *list, *name;
        int found;
    } cases[] = {{"*.olcf.ornl.gov", "andes.olcf.ornl.gov", 1},
        {"*.olcf.ornl.gov", "olcf.ornl.gov", 0}, {"andes-login?", "andes-login3", 1},
        {"andes-login?", "andes-login", 0}, {"andes-login?", "andes-login33", 0},
        {"*,!evil", "evil", 0}, {"!evil,*", "evil", 0}, {"!evil,*", "good", 1},
        {"!evil", "good", 0}, {"**a*b**", "xaxxbx", 1}, {"a*b*c", "abcbc", 1},
        {"a*b*c", "abcb", 0}, {"[*]:22??", "[h]:2222", 1}, {",,a,", "a", 1}, {"", "a", 0},
        {"*", "", 1}, {"!", "a", 0}, {"A?", "ab", 1},
        {"*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaa", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[300];
        snprintf(text, sizeof text, "%s %s\n", cases[i].list, ED25519);
        if (!CHECK_INT(*scan(text, cases[i].name) != 0, cases[i].found)) {
            fprintf(stderr, "    %s %s\n", cases[i].list, cases[i].name);
        }
    }
}

static void reads_hashes(void)
{
    /* Made by ssh-keygen -H. */
    static const char text[] =
        "|1|vXZIlWDMZtWx4w2SqlMPuUCs6gs=|8kn8YEbtE70usKSg1SsdQcOr0qQ= " ED25519 "\n"
        "|1|vXZIlWDMZtWx4w2SqlMPuUCs6gs=|8kn8YEbtE70usKSg1SsdQcOr0aQ= " ED25519 "\n"
        "|1|vXZIlWDMZtWx4w2SqlMPuUCs6gs= " ED25519 "\n"
        "|1|| " ED25519 "\n|1| " ED25519 "\n| " ED25519 "\n|2|x|y " ED25519 "\n";
    CHECK_STRING(scan(text, "[andes.olcf]:2222"), "1 ssh-ed25519;");
    CHECK_STRING(scan(text, "[ANDES.olcf]:2222"), "1 ssh-ed25519;");
    CHECK_STRING(scan(text, "andes.olcf"), "");
}

static void reads_marks(void)
{
    static const char text[] = "@revoked * " ED25519 "\n"
                               "@cert-authority *.org,andes " ECDSA "\n"
                               "@unknown andes " ED25519 "\n"
                               "@revoked\n"
                               "@revoked andes\n";
    CHECK_STRING(scan(text, "andes"), "1r ssh-ed25519;2a ecdsa-sha2-nistp256;");
    CHECK_STRING(scan(text, "hub"), "1r ssh-ed25519;");
}

static void passes_over_garbage(void)
{
    static const char *const bad[] = {"andes", "andes ssh-ed25519", "andes ssh-ed25519 !!!!",
        "andes ssh-ed25519 AAAA",
        "andes ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIDpIN5GocpvfP5B5VKPzkND",
        "andes 2048 65537 1234567890", "andes ssh-ed25519 AAAAC3NzaC1lZDI1NTE5",
        "\x01\x02 \xff"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[600];
        snprintf(text, sizeof text, "%s\nandes %s\n", bad[i], ED25519);
        if (!CHECK_STRING(scan(text, "andes"), "2 ssh-ed25519;")) {
            fprintf(stderr, "    %s\n", bad[i]);
        }
    }
    size_t size = KNOWN_HOSTS_LINE_MOST + 400;
    char *text = malloc(size);
    memset(text, 'x', size);
    memcpy(text, "andes,", 6);
    snprintf(text + size - 200, 200, " %s\nandes %s\n", ED25519, ECDSA);
    CHECK_STRING(scan(text, "andes"), "2 ecdsa-sha2-nistp256;");
    free(text);
}

static void names_and_writes(void)
{
    char name[40];
    CHECK(known_hosts_name(NULL, "andes", 22, name, sizeof name));
    CHECK_STRING(name, "andes");
    CHECK(known_hosts_name("", "andes", 2222, name, sizeof name));
    CHECK_STRING(name, "[andes]:2222");
    CHECK(known_hosts_name("alias", "andes", 2222, name, sizeof name));
    CHECK_STRING(name, "alias");
    CHECK(known_hosts_name(NULL, "::1", 2222, name, sizeof name));
    CHECK_STRING(name, "[::1]:2222");
    const char *const bad[] = {"", "a b", "a,b", "*", "a\nb", "!a", "|1|x", "#", "@revoked",
        "a-name-that-is-longer-than-the-room-that-there-is"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(!known_hosts_name(NULL, bad[i], 22, name, sizeof name));
    }
    uint8_t blob[SSHKEY_BLOB_MOST];
    size_t length = sshkey_parse(ECDSA " words", strlen(ECDSA) + 6, blob);
    char *line = known_hosts_line("andes", blob, length);
    CHECK_STRING(line, "andes " ECDSA "\n");
    free(line);
    CHECK(!known_hosts_line("andes", blob, 5));
}

static void shows_keys(void)
{
    uint8_t blob[SSHKEY_BLOB_MOST];
    char type[SSHKEY_TYPE_SIZE], fingerprint[SSHKEY_FINGERPRINT_SIZE];
    size_t length = sshkey_parse(ED25519, strlen(ED25519), blob);
    CHECK_INT((long long)length, 51);
    CHECK(sshkey_type(blob, length, type));
    CHECK_STRING(type, "ssh-ed25519");
    CHECK_STRING(sshkey_type_words(type), "Ed25519");
    CHECK_STRING(sshkey_type_words("x"), "x");
    sshkey_fingerprint(blob, length, fingerprint);
    CHECK_STRING(fingerprint, "SHA256:1lhExFhl/m70FRAxCHrzSyAZhyhciZorUMjloWS5kDA");
    CHECK_INT((long long)base64_decode("QQ==", 4, blob, 9), 1);
    CHECK_INT((long long)base64_decode("QUI", 3, blob, 9), 2);
    CHECK_INT((long long)base64_decode("QUJD", 4, blob, 9), 3);
    CHECK(base64_decode("QUJD", 4, blob, 2) == SIZE_MAX);
    CHECK(base64_decode("QUJDR", 5, blob, 9) == SIZE_MAX);
    CHECK_INT((long long)base64_decode("", 0, blob, 9), 0);
}

int main(void)
{
    finds_names();
    matches_patterns();
    reads_hashes();
    reads_marks();
    passes_over_garbage();
    names_and_writes();
    shows_keys();
    return check_result();
}
