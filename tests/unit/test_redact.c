/* What leaves in a support archive, and what must not. */
#include "client/redact.h"

#include "tests/unit/check.h"

static void redacts(const char *line, const char *wanted)
{
    struct secrets secrets = {0};
    struct text out = {0};
    secrets_add(&secrets, "0123456789abcdef");
    secrets_add(&secrets, "short");
    redact_line(&secrets, line, &out);
    CHECK_STRING(text_string(&out), wanted);
    text_finish(&out);
    secrets_finish(&secrets);
}

static void all(const char *text, const char *wanted)
{
    struct text out = {0};
    redact_text(&(struct secrets){0}, text, &out);
    CHECK_STRING(text_string(&out), wanted);
    text_finish(&out);
}

int main(void)
{
    redacts("", "");
    redacts("jupyter says short 0123456789abcdef!", "jupyter says short [redacted]!");
    redacts("http://localhost:38888/lab?token=abc&reset=1",
        "http://localhost:38888/lab?token=[redacted]&reset=1");
    redacts("token%3Dabc", "token%3D[redacted]");
    redacts("{\"token\": \"abc\", \"port\": 1}", "{\"token\": \"[redacted]\", \"port\": 1}");
    redacts("command = prog --api-token abc --port 1",
        "command = prog --api-token [redacted] --port 1");
    redacts("environment = AWS_SECRET_ACCESS_KEY=abc A=b",
        "environment = AWS_SECRET_ACCESS_KEY=[redacted] A=b");
    redacts("JUPYTER_TOKEN_FILE=/h/t", "JUPYTER_TOKEN_FILE=[redacted]");
    redacts("Authorization: token abc", "Authorization: [redacted]");
    redacts("Set-Cookie: a=b; c=d", "Set-Cookie: [redacted]");
    redacts("Enter PASSCODE: 1234567890", "Enter PASSCODE: [redacted]");
    redacts("password=x passwd: y", "password=[redacted] passwd: [redacted]");
    redacts("\"hashed_password\": \"argon2:$argon2id$v=19\"",
        "\"hashed_password\": \"[redacted]\"");
    redacts("https://me:pw@host/x", "https://me:[redacted]@host/x");
    redacts("run at http://localhost:38888/lab", "run at http://localhost:38888/lab");
    redacts("the token is kept in a file", "the token is kept in a file");
    redacts("/ccs/home/me/gears/state", "/ccs/home/me/gears/state");
    all("a\ntoken=b\n\nc", "a\ntoken=[redacted]\n\nc\n");
    all("a\n1 o -----BEGIN OPENSSH PRIVATE KEY-----\n1 o b3Bl\n1 o -----END OPENSSH PRIVATE "
        "KEY-----\nz\n",
        "a\n[redacted]\nz\n");
    all("\"-----BEGIN RSA PRIVATE KEY-----\\nMII\\n-----END RSA PRIVATE KEY-----\"\nz",
        "[redacted]\nz\n");
    all("-----BEGIN PRIVATE KEY-----\nMII", "[redacted]\n");
    all("MII\n-----END PRIVATE KEY-----\nz", "[redacted]\nz\n"); /* the end of a log */
    all("-----BEGIN PUBLIC KEY-----\nMII\n-----END PUBLIC KEY-----",
        "-----BEGIN PUBLIC KEY-----\nMII\n-----END PUBLIC KEY-----\n");
    redacts("cause=\"hop to andes needs your PASSCODE; run: gearsctl login andes\"",
        "cause=\"hop to andes needs your PASSCODE; run: gearsctl login andes\"");
    redacts("identity=/u/me/.ssh/id_ed25519", "identity=/u/me/.ssh/id_ed25519");
    return check_result();
}
