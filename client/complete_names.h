/* Live names for completion: of services, of clusters, and NAME@CLUSTER. */
#ifndef CLIENT_COMPLETE_NAMES_H
#define CLIENT_COMPLETE_NAMES_H

#include "client/client.h"

enum { COMPLETE_PATIENCE_MS = 1000 };

/* Print "word TAB meaning" when `word` begins with `prefix`. */
void complete_offer(const char *prefix, const char *word, const char *meaning);
/* From gearsd if it runs, else from the configuration; never a word on stderr. */
void complete_services(struct cli *cli, const char *prefix);
void complete_clusters(struct cli *cli, const char *prefix);

#endif
