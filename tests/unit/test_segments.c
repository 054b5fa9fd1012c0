/* common/segments: which log segments stay within the budgets. */
#include <errno.h>
#include <fcntl.h>

#include "common/segments.h"
#include "tests/unit/scratch.h"

static char root[PATH_MAX];

static void put(const char *service, int number, size_t bytes)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", root, service);
    CHECK(!mkdir(path, 0700) || errno == EEXIST);
    snprintf(path, sizeof path, "%s/%s/%016d.log", root, service, number);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    CHECK_INT(ftruncate(fileno(file), (off_t)bytes), 0);
    fclose(file);
}

static void check_left(const char *service, const char *expected)
{
    char path[PATH_MAX], left[200] = "";
    snprintf(path, sizeof path, "%s/%s", root, service);
    size_t count;
    segment_name *names = segments_list(path, &count);
    for (size_t i = 0; i < count; i++) {
        snprintf(left + strlen(left), sizeof left - strlen(left), "%d ", atoi(names[i]));
    }
    free(names);
    CHECK_STRING(left, expected);
}

static void test_list(void)
{
    char path[PATH_MAX];
    size_t count = 7;
    snprintf(path, sizeof path, "%s/absent", root);
    CHECK(segments_list(path, &count) == NULL);
    CHECK_INT((long long)count, 0);
    put("list", 3, 1);
    put("list", 1, 1);
    put("list", 2, 1);
    snprintf(path, sizeof path, "%s/list/notes.log", root);
    CHECK_INT(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
    check_left("list", "1 2 3 ");
    snprintf(path, sizeof path, "%s/fresh", root);
    int fd = segment_open(path);
    CHECK(fd >= 0);
    CHECK_INT(close(fd), 0);
    free(segments_list(path, &count));
    CHECK_INT((long long)count, 1);
}

static void test_prune(void)
{
    char path[PATH_MAX];
    for (int i = 1; i <= 5; i++) {
        put("own", i, 100);
    }
    snprintf(path, sizeof path, "%s/own", root);
    segments_prune(path, 600, 100);
    check_left("own", "1 2 3 4 5 ");
    segments_prune(path, 400, 100);
    check_left("own", "3 4 5 ");
    segments_prune(path, 50, 100);
    check_left("own", "");
}

/* The oldest go first whosever they are; nobody's newest goes. */
static void test_prune_all(void)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/all", root);
    CHECK_INT(mkdir(path, 0700), 0);
    put("all/a", 1, 100);
    put("all/a", 4, 100);
    put("all/a", 6, 100);
    put("all/b", 2, 100);
    put("all/b", 3, 100);
    put("all/b", 5, 100);
    put("all/c", 0, 100);
    segments_prune_all(path, 800, 100);
    check_left("all/a", "1 4 6 ");
    segments_prune_all(path, 600, 100);
    check_left("all/a", "4 6 ");
    check_left("all/b", "3 5 ");
    check_left("all/c", "0 ");
    segments_prune_all(path, 0, 100);
    check_left("all/a", "6 ");
    check_left("all/b", "5 ");
    check_left("all/c", "0 ");
}

int main(void)
{
    scratch_folder(root);
    test_list();
    test_prune();
    test_prune_all();
    scratch_remove(root);
    return check_result();
}
