/* Interface descriptions: what is refused, and how values are checked. */
#include "tests/unit/check.h"

#include <string.h>

#include "proto/interfaces.h"
#include "proto/varlink_idl.h"

static int check_value(struct idl_interface *interface, const char *json, char *parameter)
{
    cJSON *value = cJSON_Parse(json);
    int code = idl_check_call(interface, "M", value, parameter, 64);
    cJSON_Delete(value);
    return code;
}

int main(void)
{
    struct idl_interface *interface = NULL;
    struct error err = {0};
    char parameter[64];
    const char *bad[] = {"", "interface", "interface a.b method",
        "interface a.b type T (x: Nope)", "interface a.b method M(a: int)",
        "interface a.b type T (a: int, b)", "interface a.b type T (a: int) type T (a: int)",
        "interface a.b method M() -> (a: [int])"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(idl_parse(bad[i], &interface, &err) != 0);
    }
    CHECK(!idl_parse(gears_manager_interface, &interface, &err));
    CHECK(!strcmp(idl_name(interface), "org.gears.Manager"));
    idl_destroy(interface);
    CHECK(!idl_parse("interface a.b\ntype T (x: int, y: ?[]string)\n"
                     "method M(t: T, e: (one, two), m: ?[string]bool) -> ()",
        &interface, &err));
    CHECK(!check_value(interface, "{\"t\":{\"x\":1},\"e\":\"two\"}", parameter));
    CHECK(check_value(interface, "{\"t\":{\"x\":1.5},\"e\":\"two\"}", parameter));
    CHECK(!strcmp(parameter, "t"));
    CHECK(check_value(interface, "{\"t\":{\"x\":1},\"e\":\"three\"}", parameter));
    CHECK(!strcmp(parameter, "e"));
    CHECK(check_value(interface, "{\"t\":{\"x\":1},\"e\":\"one\",\"z\":1}", parameter));
    CHECK(!strcmp(parameter, "z"));
    CHECK(check_value(interface, "{\"e\":\"one\"}", parameter));
    CHECK(!check_value(interface,
        "{\"t\":{\"x\":1,\"y\":[\"a\"]},\"e\":\"one\",\"m\":{\"k\":true}}", parameter));
    idl_destroy(interface);
    return check_result();
}
