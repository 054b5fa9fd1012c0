/* Taking secrets out of text that people will send around. */
#ifndef CLIENT_REDACT_H
#define CLIENT_REDACT_H

#include <stddef.h>

#include "common/text.h"

/* Secrets known by heart; zero-initialise. */
enum { SECRETS_MOST = 4096 };
struct secrets {
    char *items[SECRETS_MOST];
    size_t count;
};

/* Remember a secret; one of fewer than 8 bytes would blacken innocent text and is left to the
 * rules. Copied. */
void secrets_add(struct secrets *secrets, const char *secret);
void secrets_finish(struct secrets *secrets); /* wipes */

/* Append `line` (no newline) to `out` without known secrets and without what stands after words
 * such as token, password, PASSCODE, cookie, authorization, in addresses, options, assignments
 * and headers. Paths stay. */
void redact_line(const struct secrets *secrets, const char *line, struct text *out);
/* Every line of a text; of a private key (PEM) nothing is left but that there was one. */
void redact_text(const struct secrets *secrets, const char *text, struct text *out);

#endif
