/* url: the address to open, the one command that gives out the token. */
#include <stdio.h>

#include "client/client.h"

int cmd_url(struct cli *cli, int argc, char **argv)
{
    cJSON *reply;
    if (argc != 2) {
        return command_misuse(argv[0], "one NAME is needed");
    }
    int code = cli_check_name(argv[1]);
    code = code ? code : cli_call(cli, "Url", cli_name(argv[1]), &reply);
    if (code) {
        return code;
    }
    const char *base = json_text(reply, "forward");
    base = *base ? base : json_text(reply, "laptop");
    if (cli->json) {
        cJSON_AddNumberToObject(reply, "schema", 1);
        code = cli_print_json(reply, false);
    } else if (!*base) {
        cli_say("%s has no socket, so no address", argv[1]);
        code = EXIT_FAILED;
    } else {
        const char *token = json_text(reply, "token");
        printf("%s%s%s%s\n", base, json_text(reply, "path"), *token ? "?token=" : "", token);
    }
    cJSON_Delete(reply);
    return code;
}
