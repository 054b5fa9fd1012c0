/* The support archive of `doctor --bundle`. */
#ifndef CLIENT_BUNDLE_H
#define CLIENT_BUNDLE_H

#include "client/client.h"

/* Make the tar.gz `file` (0600; one that is there is left alone) of versions, configuration,
 * status, hops, doctor's findings and the ends of logs, all without secrets. 0 or an exit code
 * after a line. */
int bundle_make(struct cli *cli, const char *file);

#endif
