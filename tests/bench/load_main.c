/* Entry of the load generator. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/load.h"

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (argc >= 3 && !strcmp(argv[1], "serve")) {
        load_serve(argc - 2, argv + 2);
    }
    if (argc != 4) {
        load_die("usage: bench_load serve ADDRESS…\n"
                 "       bench_load down|up|echo|echo1k|once|idle ADDRESS AMOUNT");
    }
    load_run(argv[1], argv[2], strtoull(argv[3], NULL, 10));
    return 0;
}
