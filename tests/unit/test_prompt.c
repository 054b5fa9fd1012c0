/* Servers' texts for humans, and the heads of private key files. */
#include <errno.h>
#include <stdlib.h>

#include "daemon/tunnel/keyfile.h"
#include "daemon/tunnel/prompt.h"
#include "tests/unit/check.h"

static void check_text(const char *bytes, const char *wanted)
{
    char *text = prompt_text(bytes, strlen(bytes), 1000);
    CHECK_STRING(text, wanted);
    free(text);
}

static void keeps_what_is_harmless(void)
{
    check_text("Enter PASSCODE: ", "Enter PASSCODE: ");
    check_text("one\r\ntwo\n\nthree", "one\ntwo\n\nthree");
    check_text("C:\\path \"quoted\" %s%n", "C:\\path \"quoted\" %s%n");
    check_text("G\xc3\xbcltig \xe2\x82\xac \xf0\x9f\x94\x91",
        "G\xc3\xbcltig \xe2\x82\xac \xf0\x9f\x94\x91");
    check_text("", "");
}

static void makes_the_rest_visible(void)
{
    check_text("a\x1b[2Jb\x07\x7f", "a\\x1b[2Jb\\x07\\x7f");
    check_text("tab\there\rcr", "tab\\x09here\\x0dcr");
    check_text("end\r", "end\\x0d");
    check_text("\xff\xfe", "\\xff\\xfe");
    check_text("\xc2\x9b"
               "2J",
        "\\xc2\\x9b2J"); /* a control character of eight bits */
    check_text("\xe2\x80\xae"
               "x",
        "\\xe2\\x80\\xaex");                       /* right to left from here */
    check_text("\xc0\x80", "\\xc0\\x80");          /* overlong */
    check_text("\xed\xa0\x80", "\\xed\\xa0\\x80"); /* half a surrogate */
    check_text("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");
    check_text("cut \xe2\x82", "cut \\xe2\\x82");
    char *text = prompt_text("a\0b", 3, 100);
    CHECK_STRING(text, "a\\x00b");
    free(text);
}

static void cuts(void)
{
    char *text = prompt_text("0123456789", 10, 8);
    CHECK_STRING(text, "01234...");
    free(text);
    text = prompt_text("0123\x1b\x1b\x1b", 7, 10);
    CHECK_STRING(text, "0123...");
    free(text);
    text = prompt_line("\n  Unauthorized use\r\n\tis  forbidden.\n\n", 38, 100);
    CHECK_STRING(text, "Unauthorized use \\x09is forbidden.");
    free(text);
    text = prompt_line("\n \n", 3, 100);
    CHECK_STRING(text, "");
    free(text);
}

/* Made by ssh-keygen; the private halves are not in them any more. */
static const char plain[] =
    "-----BEGIN OPENSSH PRIVATE KEY-----\n"
    "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n"
    "QyNTUxOQAAACA6SDeRqHKb3z+QeVSj85DQ7VaQt/Vf0ZcYghBFBBfDsQAAAAA=\n"
    "-----END OPENSSH PRIVATE KEY-----\n";

static void looks_at_key_files(void)
{
    struct keyfile *keyfile = calloc(1, sizeof *keyfile);
    char fingerprint[SSHKEY_FINGERPRINT_SIZE], text[1000];
    CHECK_INT(keyfile_look(plain, strlen(plain), keyfile), 0);
    CHECK(!keyfile->encrypted && keyfile->blob_length == 51);
    sshkey_fingerprint(keyfile->blob, keyfile->blob_length, fingerprint);
    CHECK_STRING(fingerprint, "SHA256:1lhExFhl/m70FRAxCHrzSyAZhyhciZorUMjloWS5kDA");
    snprintf(text, sizeof text, "%s", plain);
    memcpy(strstr(text, "BG5vbmU"), "BG5vbnU", 7); /* "none" becomes "nonu" */
    CHECK_INT(keyfile_look(text, strlen(text), keyfile), 0);
    CHECK(keyfile->encrypted);
    for (size_t cut = 36; cut < 150; cut++) {
        int code = keyfile_look(plain, cut, keyfile);
        CHECK(code == -EBADMSG || keyfile->blob_length == 51);
    }
    const char *pem = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n";
    CHECK_INT(keyfile_look(pem, strlen(pem), keyfile), 0);
    CHECK(keyfile->encrypted && !keyfile->blob_length && !keyfile->rsa);
    pem = "-----BEGIN RSA PRIVATE KEY-----\nMII\n";
    CHECK_INT(keyfile_look(pem, strlen(pem), keyfile), 0);
    CHECK(!keyfile->encrypted && keyfile->rsa);
    CHECK_INT(keyfile_look("ssh-ed25519 AAAA", 16, keyfile), -EBADMSG);
    CHECK_INT(keyfile_look("", 0, keyfile), -EBADMSG);
    free(keyfile);
}

int main(void)
{
    keeps_what_is_harmless();
    makes_the_rest_visible();
    cuts();
    looks_at_key_files();
    return check_result();
}
