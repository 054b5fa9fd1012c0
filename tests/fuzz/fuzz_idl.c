/* An interface description, and behind a NUL a value for each of its methods. What is accepted
 * must be accepted again from its own text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/varlink_depth.h"
#include "proto/varlink_idl.h"

static void check_values(const struct idl_interface *interface, const char *json, size_t length)
{
    cJSON *value = varlink_text_is_sane(json, length, 32)
                       ? cJSON_ParseWithLengthOpts(json, length + 1, NULL, true)
                       : NULL;
    const char *name;
    for (size_t i = 0; (name = idl_method(interface, i)); i++) {
        char in[24] = "", out[24] = "";
        int code = idl_check_call(interface, name, value, in, sizeof in);
        idl_check_reply(interface, name, value, out, sizeof out);
        if (!idl_has_method(interface, name) ||
            (code && cJSON_IsObject(value) && !varlink_text_is_sane(in, strlen(in), 32))) {
            abort();
        }
    }
    cJSON_Delete(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = {""};
    struct idl_interface *interface = NULL, *again = NULL;
    char *text = malloc(size + 1);
    if (!text) {
        return 0;
    }
    if (size) {
        memcpy(text, data, size);
    }
    text[size] = 0;
    if (idl_parse(text, &interface, &err)) {
        if (!err.text[0]) {
            abort(); /* refused without words */
        }
    } else {
        size_t used = strlen(text);
        if (used < size) {
            check_values(interface, text + used + 1, strlen(text + used + 1));
        }
        if (idl_parse(idl_text(interface), &again, NULL) ||
            strcmp(idl_name(interface), idl_name(again)) != 0) {
            abort();
        }
        idl_destroy(again);
        idl_destroy(interface);
    }
    free(text);
    return 0;
}
