/* common/record: what is written is read back, and nothing half-written is ever believed. */
#include <errno.h>

#include "common/record.h"
#include "tests/unit/scratch.h"

/* "end 5" counts the lines between it and the first. */
static const char whole[] = "gears-record 1\n"
                            "service=lab\n"
                            "words=two\\nlines \\\\ \\x01\\r\n"
                            "restarts=-7\n"
                            "lost=a.ipynb\n"
                            "lost=\n"
                            "end 5\n";

static struct record *make(void)
{
    struct record *record = record_create();
    CHECK_INT(record_add(record, "service", "lab"), 0);
    CHECK_INT(record_add(record, "words", "two\nlines \\ \x01\r"), 0);
    CHECK_INT(record_add_integer(record, "restarts", -7), 0);
    CHECK_INT(record_add(record, "lost", "a.ipynb"), 0);
    CHECK_INT(record_add(record, "lost", ""), 0);
    return record;
}

static void check_made(const struct record *record)
{
    CHECK_STRING(record_find(record, "service", 0), "lab");
    CHECK_STRING(record_find(record, "words", 0), "two\nlines \\ \x01\r");
    CHECK_STRING(record_find(record, "lost", 0), "a.ipynb");
    CHECK_STRING(record_find(record, "lost", 1), "");
    CHECK_STRING(record_find(record, "lost", 2), NULL);
    CHECK_STRING(record_find(record, "none", 0), NULL);
    CHECK_INT(record_integer(record, "restarts", 1), -7);
    CHECK_INT(record_integer(record, "service", 1), 1);
    CHECK_INT(record_integer(record, "none", 2), 2);
}

static void test_round_trip(void)
{
    struct record *record = make(), *again = NULL;
    struct error err;
    size_t length = 0;
    char *text = record_format(record, &length);
    CHECK_STRING(text, whole);
    CHECK_INT((long long)length, sizeof whole - 1);
    CHECK_INT(record_parse(text, length, &again, &err), 0);
    if (again) {
        check_made(again);
    }
    free(text);
    record_destroy(record);
    record_destroy(again);
}

/* A crash may leave any prefix, a bad disk any byte. */
static void test_damage(void)
{
    struct record *record = NULL;
    struct error err;
    for (size_t length = 0; length < sizeof whole - 1; length++) {
        CHECK_INT(record_parse(whole, length, &record, &err), -EBADMSG);
    }
    static const char *const bad[] = {"gears-record 2\nend 0\n", "gears-record 1\nend 1\n",
        "gears-record 1\nx\nend 1\n", "gears-record 1\nX=1\nend 1\n",
        "gears-record 1\nx=\\q\nend 1\n", "gears-record 1\nx=\\x00\nend 1\n",
        "gears-record 1\nx=\\x1\nend 1\n", "gears-record 1\nx=a\tb\nend 1\n",
        "gears-record 1\nend 0\nend 0\n", "gears-record 1\n=1\nend 1\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (!CHECK_INT(record_parse(bad[i], strlen(bad[i]), &record, &err), -EBADMSG)) {
            fprintf(stderr, "    %s", bad[i]);
            record_destroy(record);
        }
    }
    CHECK_INT(record_parse(bad[2], strlen(bad[2]), &record, &err), -EBADMSG);
    CHECK_HOLDS(err.text, "line 2");
    CHECK_INT(record_parse("gears-record 1\na=\0b\nend 1\n", 26, &record, &err), -EBADMSG);
}

static void test_limits(void)
{
    struct record *record = record_create();
    char key[80];
    memset(key, 'k', sizeof key);
    key[65] = 0;
    CHECK_INT(record_add(record, key, "x"), -EINVAL);
    key[64] = 0;
    CHECK_INT(record_add(record, key, "x"), 0);
    CHECK_INT(record_add(record, "", "x"), -EINVAL);
    CHECK_INT(record_add(record, "a b", "x"), -EINVAL);
    int code = 0, count = 1;
    while (!code && count < 2000) {
        code = record_add(record, "x", "y");
        count += !code;
    }
    CHECK_INT(code, -E2BIG);
    CHECK_INT(count, 1024);
    CHECK(!record_format(record, NULL));
    record_destroy(record);
    record = record_create();
    char *large = calloc(1, 70000);
    memset(large, 'v', 69999);
    CHECK_INT(record_add(record, "x", large), -E2BIG);
    free(large);
    record_destroy(record);
}

/* Plain text takes its own length, what is escaped as much as it has in the file. */
static void test_long_values(void)
{
    struct record *record = record_create(), *again = NULL;
    struct error err;
    char *large = calloc(1, 65001), *text;
    size_t length;
    memset(large, 'v', 65000);
    CHECK_INT(record_add(record, "x", large), 0);
    CHECK_INT(record_add(record, "y", ""), 0);
    text = record_format(record, &length);
    CHECK_INT(record_parse(text, length, &again, &err), 0);
    CHECK_STRING(record_find(again, "x", 0), large);
    record_destroy(again);
    record_destroy(record);
    free(text);
    record = record_create();
    memset(large, 1, 16000);
    large[16000] = 0;
    CHECK_INT(record_add(record, "x", large), 0);
    large[2000] = 0;
    CHECK_INT(record_add(record, "y", large), -E2BIG);
    CHECK_INT(record_add(record, "z", "small"), 0);
    CHECK_INT(record_store(record, "/nowhere/r.rec", &err), -E2BIG);
    CHECK_HOLDS(err.text, "\"y\" does not fit");
    record_destroy(record);
    free(large);
}

static void test_files(void)
{
    char folder[PATH_MAX], path[PATH_MAX + 16];
    struct record *record = make(), *again = NULL;
    struct error err;
    struct stat st;
    scratch_folder(folder);
    snprintf(path, sizeof path, "%s/lab.rec", folder);
    CHECK_INT(record_load(path, &again, &err), -ENOENT);
    CHECK_INT(record_store(record, path, &err), 0);
    CHECK(!stat(path, &st) && (st.st_mode & 07777) == 0600);
    CHECK_INT(record_load(path, &again, &err), 0);
    check_made(again);
    record_destroy(again);
    scratch_write(path, "gears-record 1\nservice=lab\n", 0600);
    CHECK_INT(record_load(path, &again, &err), -EBADMSG);
    CHECK_INT(record_store(record, path, &err), 0); /* over a damaged one */
    CHECK_INT(record_load(path, &again, &err), 0);
    record_destroy(again);
    snprintf(path, sizeof path, "%s/none/lab.rec", folder);
    CHECK_INT(record_store(record, path, &err), -ENOENT);
    record_destroy(record);
    scratch_remove(folder);
}

int main(void)
{
    test_round_trip();
    test_damage();
    test_limits();
    test_long_values();
    test_files();
    return check_result();
}
