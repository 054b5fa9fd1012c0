/* common/home, host and file: names on disk, who may own what, folders short enough for
 * sockets. */
#include <errno.h>

#include "common/file.h"
#include "common/home.h"
#include "tests/unit/scratch.h"

static char root[PATH_MAX];

static void check_host(const char *node, const char *hosts, const char *expected)
{
    char name[HOST_NAME_SIZE] = "";
    struct error err = {0};
    if (expected) {
        CHECK_INT(host_name_from(node, hosts, name, &err), 0);
        CHECK_STRING(name, expected);
    } else {
        CHECK_INT(host_name_from(node, hosts, name, &err), -EINVAL);
        CHECK(err.text[0]);
    }
}

static void test_host(void)
{
    static const char hosts[] = "127.0.0.1 localhost\n"
                                "# 10.0.0.9 login01.wrong.example login01\n"
                                "10.0.0.2\tLogin01.Frontier.olcf.example  login01 # mine\n"
                                "10.0.0.3 plain other\n";
    char boot[BOOT_ID_SIZE], again[BOOT_ID_SIZE];
    struct error err;
    check_host("andes-login3.olcf.ornl.gov", "", "andes-login3.olcf");
    check_host("login01", hosts, "login01.frontier");
    check_host("LOGIN01", hosts, "login01.frontier");
    check_host("other", hosts, "other"); /* no dot there either */
    check_host("here", "", "here");
    check_host("here.", "", "here");
    check_host("a.b.c.d", "", "a.b");
    check_host("", "", NULL);
    check_host("../etc", "", NULL);
    check_host(".hidden", "", NULL);
    check_host("a b", "", NULL);
    check_host("a/b", "", NULL);
    CHECK_INT(host_boot_id(boot, &err), 0);
    CHECK_INT(host_boot_id(again, &err), 0);
    CHECK_INT((long long)strlen(boot), 36);
    CHECK_STRING(boot, again);
}

static void test_init(void)
{
    struct home home;
    struct error err;
    char path[PATH_MAX], expected[PATH_MAX + 128], *large = calloc(1, PATH_MAX);
    setenv("GEARS_HOME", "/a/gears///", 1);
    CHECK_INT(home_init(&home, &err), 0);
    CHECK_STRING(home.root, "/a/gears");
    CHECK_INT(home_path(&home, path, "run", "own/%s.sck", "lab"), 0);
    snprintf(expected, sizeof expected, "/a/gears/run/%s/own/lab.sck", home.host);
    CHECK_STRING(path, expected);
    CHECK_INT(home_path(&home, path, "state", "%s", ""), 0);
    snprintf(expected, sizeof expected, "/a/gears/state/%s", home.host);
    CHECK_STRING(path, expected);
    memset(large, 'x', PATH_MAX - 1);
    CHECK_INT(home_path(&home, path, "run", "%s", large), -ENAMETOOLONG);
    setenv("GEARS_HOME", "gears", 1);
    CHECK_INT(home_init(&home, &err), -EINVAL);
    CHECK_HOLDS(err.text, "absolute");
    *large = '/';
    setenv("GEARS_HOME", large, 1);
    CHECK_INT(home_init(&home, &err), -ENAMETOOLONG);
    unsetenv("GEARS_HOME");
    setenv("HOME", "/home/me", 1);
    CHECK_INT(home_init(&home, &err), 0);
    CHECK_STRING(home.root, "/home/me/gears");
    unsetenv("HOME");
    CHECK_INT(home_init(&home, &err), -EINVAL);
    free(large);
}

static void check_refused(const char *path, const char *words)
{
    struct error err = {0};
    CHECK_INT(dir_ensure_private(path, &err), -EPERM);
    CHECK_HOLDS(err.text, words);
}

static void test_folders(void)
{
    struct home home;
    struct error err;
    struct stat st;
    char path[PATH_MAX], link[PATH_MAX + 16];
    setenv("GEARS_HOME", root, 1);
    CHECK_INT(home_init(&home, &err), 0);
    CHECK_INT(home_prepare(&home, &err), 0);
    CHECK_INT(home_prepare(&home, &err), 0); /* again changes nothing */
    home_path(&home, path, "state", "secret");
    CHECK(!stat(path, &st) && (st.st_mode & 07777) == 0700);
    CHECK_INT(dir_check_private(path, &err), 0);
    chmod(path, 0750);
    check_refused(path, path);
    CHECK(home_prepare(&home, &err) == -EPERM);
    chmod(path, 0700);
    snprintf(link, sizeof link, "%s/link", root);
    CHECK_INT(symlink(path, link), 0);
    CHECK(dir_ensure_private(link, &err) < 0); /* whatever it leads to */
    CHECK_HOLDS(err.text, link);
    if (!geteuid()) { /* only root can make another's folder */
        CHECK_INT(chown(path, 65534, (gid_t)-1), 0);
        check_refused(path, path);
        CHECK_INT(chown(path, 0, (gid_t)-1), 0);
    }
    chmod(root, 0777);
    CHECK_INT(home_prepare(&home, &err), -EPERM);
    CHECK_HOLDS(err.text, "chmod go-w");
    chmod(root, 0755);
    CHECK_INT(home_prepare(&home, &err), 0);
}

static void test_short(void)
{
    struct home home;
    struct error err;
    struct stat st;
    char own[PATH_MAX], first[PATH_MAX], second[PATH_MAX], pointer[PATH_MAX];
    CHECK_INT(home_init(&home, &err), 0);
    CHECK_INT(home_short_dir(&home, "jr-lab", PATH_MAX - 1, own, &err), 0);
    CHECK(!strncmp(own, root, strlen(root)));
    CHECK_INT(home_short_dir(&home, "jr-lab", 20, first, &err), 0);
    CHECK(
        !strncmp(first, "/tmp/gears-", 11) && !stat(first, &st) && st.st_mode % 01000 == 0700);
    CHECK_INT(home_short_dir(&home, "jr-lab", 20, second, &err), 0);
    CHECK_STRING(second, first); /* remembered */
    chmod(first, 0755);
    CHECK_INT(home_short_dir(&home, "jr-lab", 20, second, &err), 0);
    CHECK(strcmp(second, first) != 0); /* what others could have entered is not used again */
    rmdir(first);
    rmdir(second);
    CHECK_INT(home_short_dir(&home, "jr-lab", 20, first, &err), 0);
    CHECK(!stat(first, &st)); /* a cleaner had removed it */
    rmdir(first);
    home_path(&home, pointer, "state", "short-jr-lab");
    scratch_write(pointer, "/etc", 0600);
    CHECK_INT(home_short_dir(&home, "jr-lab", 20, first, &err), 0);
    CHECK(!strncmp(first, "/tmp/gears-", 11));
    rmdir(first);
}

static void test_files(void)
{
    char path[PATH_MAX + 16], *data = NULL;
    struct error err;
    struct stat st;
    size_t length = 0;
    snprintf(path, sizeof path, "%s/file", root);
    CHECK_INT(file_write_atomic(path, "a\0b", 3, 0640, &err), 0);
    CHECK(!stat(path, &st) && (st.st_mode & 07777) == 0640);
    CHECK_INT(file_read(path, 3, &data, &length, &err), 0);
    CHECK(length == 3 && data && !memcmp(data, "a\0b", 4));
    free(data);
    data = NULL;
    CHECK_INT(file_read(path, 2, &data, &length, &err), -EFBIG);
    CHECK_INT(file_write_atomic(path, "new", 3, 0600, &err), 0);
    CHECK_INT(file_read(path, 100, &data, NULL, &err), 0);
    CHECK_STRING(data, "new");
    free(data);
    CHECK(file_read(root, 100, &data, NULL, &err) < 0); /* no regular file */
    CHECK_INT(file_read("/nowhere/x", 100, &data, NULL, &err), -ENOENT);
}

int main(void)
{
    scratch_folder(root);
    test_host();
    test_init();
    test_folders();
    test_short();
    test_files();
    scratch_remove(root);
    return check_result();
}
