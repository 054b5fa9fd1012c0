/* What is understood of ssh's own words. */
#include <string.h>

#include "daemon/tunnel/openssh_words.h"
#include "tests/unit/check.h"

static char touched[300];

static void on_touch(void *context, const char *line)
{
    (void)context;
    snprintf(touched, sizeof touched, "%s", line);
}

static struct openssh_words feed(const char *text)
{
    struct openssh_words words = {0};
    words_feed(&words, text, strlen(text), on_touch, NULL);
    words_finish(&words);
    return words;
}

static void check_cause(const char *text, enum link_tunnel_cause cause, const char *last)
{
    struct openssh_words words = feed(text);
    CHECK_INT(words.cause, cause);
    CHECK_STRING(words.last, last);
}

static void knows_why(void)
{
    check_cause("ssh: connect to host a port 22: Connection refused\r\n", LINK_CAUSE_REFUSED,
        "ssh: connect to host a port 22: Connection refused");
    check_cause("kex_exchange_identification: Connection closed by remote host\n"
                "Connection closed by 10.0.0.1 port 22\n",
        LINK_CAUSE_REFUSED, "Connection closed by 10.0.0.1 port 22");
    check_cause("Connection timed out during banner exchange\n", LINK_CAUSE_NETWORK_DOWN,
        "Connection timed out during banner exchange");
    check_cause("ssh: Could not resolve hostname x: Name or service not known",
        LINK_CAUSE_NETWORK_DOWN,
        "ssh: Could not resolve hostname x: Name or service not known");
    check_cause("Unable to negotiate with 10.0.0.1 port 22: no matching cipher found. Their "
                "offer: 3des-cbc\n",
        LINK_CAUSE_NO_COMMON_ALGORITHM,
        "Unable to negotiate with 10.0.0.1 port 22: no matching cipher found. Their offer: "
        "3des-cbc");
    check_cause("No ED25519 host key is known for a and you have requested strict checking.\n"
                "Host key verification failed.\n",
        LINK_CAUSE_HOST_KEY_UNKNOWN, "Host key verification failed.");
    check_cause("something new\n", LINK_CAUSE_NONE, "something new");
    check_cause("", LINK_CAUSE_NONE, "");
}

static void the_worst_cause_counts(void)
{
    struct openssh_words words =
        feed("@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!  @\n"
             "SHA256:abc.\nOffending ED25519 key in /k:1\n"
             "Host key verification failed.\n");
    CHECK(words.cause == LINK_CAUSE_HOST_KEY_CHANGED);
    CHECK_STRING(words.detail, "SHA256:abc., Offending ED25519 key in /k:1");
    CHECK(feed("u@h: Permission denied (publickey,keyboard-interactive).\n").asks_more);
    CHECK(!feed("u@h: Permission denied (publickey).\n").asks_more);
}

static void learns_how_it_logged_in(void)
{
    struct openssh_words words =
        feed("Authenticated to h ([10.0.0.1]:22) using \"publickey\".\nTransferred: sent 1\n");
    CHECK_STRING(words.address, "10.0.0.1");
    CHECK_STRING(words.method, "publickey");
    CHECK_STRING(words.last, "");
    words = feed("Authenticated to h (via proxy) using \"keyboard-interactive\".\n");
    CHECK_STRING(words.address, "");
    CHECK_STRING(words.method, "keyboard-interactive");
    words = feed("Authenticated to jump ([10.0.0.1]:22) using \"publickey\".\n"
                 "Authenticated to h (via proxy).\n");
    CHECK_STRING(words.address, "");
    CHECK_STRING(words.method, "");
    CHECK_INT(words.logins, 2);
    words = feed("Authenticated to h ([fe80::1%eth0]:22).\n");
    CHECK_STRING(words.address, "fe80::1%eth0");
    CHECK_STRING(words.method, "");
}

static void counts_refused_channels(void)
{
    struct openssh_words words =
        feed("channel 3: open failed: connect failed: open failed\n"
             "channel 4: open failed: administratively prohibited: x\n");
    CHECK(words.refused == 2 && !words.last[0]);
    CHECK_STRING(words_take_refused(&words), "administratively prohibited: x");
    CHECK(words_take_refused(&words));
    CHECK(!words_take_refused(&words));
}

/* Whoever it was for may have left. */
static void forgets_refused_channels(void)
{
    static const char refused[] = "channel 3: open failed: connect failed: open failed\n";
    struct openssh_words words = {.now_ms = 5000};
    words_feed(&words, refused, sizeof refused - 1, NULL, NULL);
    words.now_ms += REFUSED_MS;
    words_feed(&words, refused, sizeof refused - 1, NULL, NULL);
    words.now_ms++;
    CHECK(words_take_refused(&words));
    CHECK(!words_take_refused(&words));
    for (int i = 0; i < REFUSED_MOST + 10; i++) {
        words_feed(&words, refused, sizeof refused - 1, NULL, NULL);
    }
    CHECK(words.refused == REFUSED_MOST);
    words_limit_refused(&words, 1);
    CHECK(words_take_refused(&words));
    CHECK(!words_take_refused(&words));
}

static void keeps_what_a_human_is_to_read(void)
{
    struct openssh_words words =
        feed("Welcome\n\n\x1b[2Jto Andes\nConfirm user presence for key "
             "ECDSA-SK SHA256:x\n");
    static const char said[] = "Welcome\n\n\x1b[2Jto Andes\n";
    CHECK(words.said_length == sizeof said - 1);
    CHECK(!memcmp(words.said, said, sizeof said - 1));
    CHECK_STRING(touched, "Confirm user presence for key ECDSA-SK SHA256:x");
    char much[9000];
    memset(much, 'x', sizeof much);
    for (size_t i = 99; i < sizeof much; i += 100) {
        much[i] = '\n';
    }
    words_feed(&words, much, sizeof much, NULL, NULL);
    CHECK(words.said_length <= WORDS_SAID_MOST);
    memset(much, 'y', sizeof much);
    words_feed(&words, much, sizeof much, NULL, NULL);
    words_finish(&words);
    CHECK(strlen(words.last) < sizeof words.last);
}

static void knows_its_own_question(void)
{
    CHECK(words_is_host_key("The authenticity of host 'a (10.0.0.1)' can't be established.\n"
                            "ED25519 key fingerprint is SHA256:x.\nAre you sure you want to "
                            "continue connecting (yes/no/[fingerprint])? "));
    CHECK(words_is_host_key("The authenticity of host 'a' can't be established.\nAre you sure "
                            "you want to continue connecting (yes/no)? "));
    CHECK(words_is_host_key("Please type 'yes', 'no' or the fingerprint: "));
    CHECK(!words_is_host_key("(u@h) Use this PIN (yes/no)? "));
    CHECK(!words_is_host_key("Enter PASSCODE: "));
    CHECK(!words_is_host_key(""));
}

int main(void)
{
    knows_why();
    the_worst_cause_counts();
    learns_how_it_logged_in();
    counts_refused_channels();
    forgets_refused_channels();
    keeps_what_a_human_is_to_read();
    knows_its_own_question();
    return check_result();
}
