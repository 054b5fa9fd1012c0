/* A cheap look at JSON text before it is parsed. */
#ifndef PROTO_VARLINK_DEPTH_H
#define PROTO_VARLINK_DEPTH_H

#include <stdbool.h>
#include <stddef.h>

/* Whether `text` is valid UTF-8 and nests at most `limit` levels: keeps the parser's recursion
 * and its output bounded. */
bool varlink_text_is_sane(const char *text, size_t length, int limit);

/* Drop a character that was cut at the end of `text` (valid UTF-8 otherwise). */
void varlink_text_mend(char *text);

/* Replace with '?', in place, every NUL and every byte that is not part of valid UTF-8, so that
 * the text may stand in a message. */
void varlink_text_repair(char *text, size_t length);

#endif
