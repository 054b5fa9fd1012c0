/* The end of a launch's strings. */
#include <stdlib.h>
#include <string.h>

#include "daemon/service/kind.h"

static void free_list(char **list)
{
    for (char **item = list; item && *item; item++) {
        free(*item);
    }
    free(list);
}

void launch_finish(struct launch *launch)
{
    free_list(launch->argv);
    free_list(launch->env);
    if (launch->token) {
        explicit_bzero(launch->token, strlen(launch->token));
    }
    char *strings[] = {launch->cwd, launch->socket, launch->ready_log, launch->http_path,
        launch->kernels_path, launch->token, launch->url_path, launch->activity_path,
        launch->shutdown_path, launch->env_name};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
        free(strings[i]);
    }
    *launch = (struct launch){0};
}
