/* The description language: what is taken, what is refused and where, and values against it. */
#include "proto/varlink_idl.h"

#include <errno.h>
#include <stdlib.h>

#include "common/text.h"
#include "proto/interfaces.h"
#include "proto/varlink_service.h"
#include "tests/proto/certification.h"
#include "tests/proto/peer.h"
#include "tests/unit/check.h"

static int parse(const char *text, struct error *err)
{
    struct idl_interface *interface = NULL;
    int code = idl_parse(text, &interface, err);
    idl_destroy(interface);
    return code;
}

static void accepts(void)
{
    static const char *const good[] = {gears_manager_interface, test_interface,
        varlink_certification_interface, "interface a.b", "# c\ninterface a.b # d\n",
        "interface com.example.0example\nmethod F()->()",
        "interface a.b-c\nmethod\nF\n(\n)\n->\n(\n)\n",
        "interface a.b\ntype T (a: ?[]?[string]?(x, y), b: T2)\ntype T2 ()\nerror E (t: T)"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct error err = {""};
        if (!CHECK_INT(parse(good[i], &err), 0)) {
            fprintf(stderr, "    %s\n", err.text);
        }
    }
}

static void refuses(void)
{
    static const char *const bad[] = {"", "interface", "interface a", "interface 1.",
        "interfacea.b", "interface a..b", "interface .a.b", "interface a.b-",
        "interface a.b\nmethod", "interface a.b\nmethod f() -> ()", "interface a.b\nmethod F()",
        "interface a.b\nmethod F() -> (x)", "interface a.b\nmethod F(a: int -> ()",
        "interface a.b\nmethod F(a: Absent) -> ()", "interface a.b\nmethod F(a: ??int) -> ()",
        "interface a.b\nmethod F(a: [int]int) -> ()",
        "interface a.b\nmethod F(a: int, a: int) -> ()", "interface a.b\ntype T (a, a)",
        "interface a.b\ntype T (a: int, b)", "interface a.b\ntype T (a, b: int)",
        "interface a.b\ntype T (1a: int)", "interface a.b\ntype T (_a: int)",
        "interface a.b\ntype T (a: int)\ntype T (a: int)",
        "interface a.b\nmethod F() -> ()\nmethod F() -> ()", "interface a.b\nnonsense",
        "interface a.b\ntype T (a: int) nonsense", "interface a.b\nerror E int",
        "interface a.b\ntype T (a: int,)"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error err = {""};
        if (!CHECK_INT(parse(bad[i], &err), -EINVAL) || !CHECK(err.text[0])) {
            fprintf(stderr, "    \"%s\": %s\n", bad[i], err.text);
        }
    }
    struct error err = {""};
    parse("interface a.b\n\n# words\nmethod F(x: int) => ()\n", &err);
    CHECK(!strncmp(err.text, "line 4: ", 8));
}

static void is_bounded(void)
{
    struct text text = {0};
    text_printf(&text, "interface a.b\ntype T ");
    for (int i = 0; i < 100000; i++) {
        text_append(&text, "(a:", 3);
    }
    CHECK_INT(parse(text_string(&text), NULL), -EINVAL);
    text.length = 0;
    text_printf(&text, "interface a.b\ntype T (a: ");
    for (int i = 0; i < 100000; i++) {
        text_append(&text, "[]", 2);
    }
    CHECK_INT(parse(text_string(&text), NULL), -EINVAL);
    text.length = 0;
    text_printf(&text, "interface a.b\ntype T (");
    for (int i = 0; i < 1000; i++) {
        text_append(&text, "a", 1);
    }
    text_append(&text, ": int)", 6);
    CHECK_INT(parse(text_string(&text), NULL), -EINVAL);
    text_finish(&text);
}

/* `wrong`: the parameter that must be named; NULL: the value fits. */
static void checks(const struct idl_interface *interface, const char *method, const char *json,
    const char *wrong)
{
    char parameter[64] = "";
    cJSON *value = cJSON_Parse(json);
    int code = idl_check_call(interface, method, value, parameter, sizeof parameter);
    if (!CHECK_INT(code, wrong ? -EINVAL : 0) || (wrong && !CHECK_STRING(parameter, wrong))) {
        fprintf(stderr, "    %s %s\n", method, json);
    }
    cJSON_Delete(value);
}

static void values(void)
{
    struct idl_interface *i = NULL;
    CHECK_INT(idl_parse(test_interface, &i, NULL), 0);
    checks(i, "Echo", "{\"text\":\"\"}", NULL);
    checks(i, "Echo", "{}", "text");
    checks(i, "Echo", "{\"text\":null}", "text");
    checks(i, "Echo", "{\"text\":1}", "text");
    checks(i, "Echo", "{\"text\":\"a\",\"more\":1}", "more");
    checks(i, "Echo", "[]", "parameters");
    checks(i, "Add", "{\"a\":1}", NULL);
    checks(i, "Add", "{\"a\":1,\"b\":null}", NULL);
    checks(i, "Add", "{\"a\":-9007199254740991,\"b\":0}", NULL);
    checks(i, "Add", "{\"a\":1.5}", "a");
    checks(i, "Add", "{\"a\":1e999}", "a");
    checks(i, "Add", "{\"a\":9.25e18}", "a");
    checks(i, "Add", "{\"a\":-9.25e18}", "a");
    checks(i, "Add", "{\"a\":9223372036854775808}", "a");
    checks(i, "Add", "{\"a\":true}", "a");
    checks(i, "Add", "{\"a\":\"1\"}", "a");
    checks(i, "Add", "{\"A\":1}", "a");
    const char *shape = "{\"pair\":{\"key\":\"k\"},\"kind\":\"up\"}";
    checks(i, "Shapes", shape, NULL);
    checks(i, "Shapes", "{\"pair\":{\"key\":\"k\",\"value\":\"v\"},\"kind\":\"up\"}", "pair");
    checks(i, "Shapes", "{\"pair\":{\"key\":\"k\",\"x\":1},\"kind\":\"up\"}", "pair");
    checks(i, "Shapes", "{\"pair\":{},\"kind\":\"up\"}", "pair");
    checks(i, "Shapes", "{\"pair\":{\"key\":\"k\"},\"kind\":\"left\"}", "kind");
#define SHAPE "{\"pair\":{\"key\":\"k\"},\"kind\":\"down\","
    checks(i, "Shapes", SHAPE "\"pairs\":[{\"key\":\"a\"},{\"key\":\"b\",\"value\":2}]}", NULL);
    checks(i, "Shapes", SHAPE "\"pairs\":[{\"key\":\"a\"},null]}", "pairs");
    checks(i, "Shapes", SHAPE "\"pairs\":{}}", "pairs");
    checks(i, "Shapes", SHAPE "\"map\":{\"x\":1,\"y\":2.5}}", NULL);
    checks(i, "Shapes", SHAPE "\"map\":{\"x\":\"1\"}}", "map");
    checks(i, "Shapes", SHAPE "\"map\":{\"x\":1e999}}", "map");
    checks(i, "Shapes", SHAPE "\"map\":[1]}", "map");
    checks(i, "Shapes", SHAPE "\"any\":{\"x\":[1,{\"y\":null}]}}", NULL);
    checks(i, "Shapes", SHAPE "\"set\":{\"x\":{},\"y\":{}}}", NULL);
    checks(i, "Shapes", SHAPE "\"set\":{\"x\":{\"y\":1}}}", "set");
    char parameter[8];
    CHECK_INT(idl_check_call(i, "Absent", NULL, parameter, sizeof parameter), -ENOENT);
    CHECK_INT(idl_check_call(i, "Echo", NULL, parameter, sizeof parameter), -EINVAL);
    CHECK_INT(idl_check_call(i, "Hold", NULL, parameter, sizeof parameter), 0);
    CHECK_STRING(idl_name(i), "org.gears.test");
    CHECK_STRING(idl_text(i), test_interface);
    CHECK_STRING(idl_method(i, 0), "Echo");
    CHECK_STRING(idl_method(i, 5), NULL);
    CHECK(idl_has_method(i, "Hold") && !idl_has_method(i, "Pair"));
    idl_destroy(i);
}

/* Doubles end at 2^53: a reply's integers do not. */
static void integers(void)
{
    static const char text[] = "interface a.b\nmethod F() -> (a: int, b: int)";
    struct idl_interface *i = NULL;
    struct error err = {""};
    char parameter[8] = "";
    cJSON *reply = cJSON_CreateObject();
    CHECK_INT(idl_parse(text, &i, &err), 0);
    varlink_add_integer(reply, "a", INT64_MIN);
    varlink_add_integer(reply, "b", (1LL << 53) + 1);
    CHECK_INT(idl_check_reply(i, "F", reply, parameter, sizeof parameter), 0);
    char *printed = cJSON_PrintUnformatted(reply);
    CHECK_STRING(printed, "{\"a\":-9223372036854775808,\"b\":9007199254740993}");
    free(printed);
    cJSON_Delete(reply);
    idl_destroy(i);
}

int main(void)
{
    integers();
    accepts();
    refuses();
    is_bounded();
    values();
    return check_result();
}
