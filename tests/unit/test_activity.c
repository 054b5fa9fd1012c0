/* Reading when a lab was last used. */
#include "check.h"
#include "daemon/service/manager_private.h"

static void test_what_jupyter_says(void)
{
    CHECK_INT(activity_parse("{\"started\": \"2026-11-24T20:00:00.000000Z\", "
                             "\"last_activity\": \"2026-11-24T20:44:46.861000Z\", "
                             "\"connections\": 0, \"kernels\": 1}"),
        1795553086861000);
    CHECK_INT(activity_parse("{\"last_activity\":\"2026-11-24T20:44:46Z\"}"), 1795553086000000);
    CHECK_INT(
        activity_parse("{\"last_activity\":\"2026-11-24T20:44:46.5Z\"}"), 1795553086500000);
    CHECK_INT(activity_parse("{\"last_activity\":\"2026-11-24T20:44:46.1234567Z\"}"),
        1795553086123456);
}

static void test_what_is_none(void)
{
    CHECK_INT(activity_parse(NULL), 0);
    CHECK_INT(activity_parse(""), 0);
    CHECK_INT(activity_parse("{\"version\": \"2.21.1\"}"), 0);
    CHECK_INT(activity_parse("{\"last_activity\": null}"), 0);
    CHECK_INT(activity_parse("{\"last_activity\": \"yesterday\"}"), 0);
    CHECK_INT(activity_parse("{\"last_activity\": \"2026-11-24"), 0);
    CHECK_INT(activity_parse("{\"last_activity\""), 0);
}

int main(void)
{
    test_what_jupyter_says();
    test_what_is_none();
    return check_result();
}
