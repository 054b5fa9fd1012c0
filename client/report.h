/* `gearsctl daemon report --cluster NAME`, run by a hop's tunnel at its other end. */
#ifndef CLIENT_REPORT_H
#define CLIENT_REPORT_H

#include "client/client.h"

/* argv[0] is "daemon". Prints a line "@gears-report 1 {…}" of its own: host, node (its full
 * name or null), boot_id, build, version, pid, socket, run, home, gearsctl_build. 0 or an exit
 * code after one line on stderr. */
int report_run(struct cli *cli, int argc, char **argv);

#endif
