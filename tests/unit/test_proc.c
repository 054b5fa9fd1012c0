/* common/proc: processes told apart by their start, trees found whole. Each child says through
 * a pipe when it stands and ends when its own input does. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "common/proc.h"
#include "tests/unit/scratch.h"

/* A shell with a child in another session; it prints the child's pid, then waits for input. */
struct tree {
    pid_t pid, grandchild;
    int input;
};

static void start(struct tree *tree)
{
    int in[2], out[2];
    char digits[32] = "";
    if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC)) {
        exit(1);
    }
    tree->pid = fork();
    if (!tree->pid) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        setenv("GEARS_KEEPER", "unit-test-nonce", 1);
        execl("/bin/sh", "sh", "-c",
            "exec 3<&0; setsid sh -c 'echo $$; read line' <&3 & exec 1>&-; wait; exit 3",
            (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    tree->input = in[1];
    CHECK(read(out[0], digits, sizeof digits - 1) > 0);
    tree->grandchild = atoi(digits);
    close(out[0]);
}

static void test_self(void)
{
    struct proc_stat st, again;
    CHECK_INT(proc_stat_read(getpid(), &st), 0);
    CHECK_INT(st.pid, getpid());
    CHECK_INT(st.ppid, getppid());
    CHECK_INT(st.session, getsid(0));
    CHECK(st.start_time > 0 && st.rss_bytes > 0);
    CHECK_INT(proc_stat_read(getpid(), &again), 0);
    CHECK(again.start_time == st.start_time);
    CHECK(proc_is_alive(getpid(), st.start_time));
    CHECK(!proc_is_alive(getpid(), st.start_time + 1)); /* a pid used again */
    CHECK(!proc_is_alive(0, 0) && !proc_is_alive(-1, 0));
    CHECK(proc_stat_read(4194304 + 1, &st) < 0);
}

static bool holds(const struct proc_list *list, pid_t pid)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].pid == pid) {
            return true;
        }
    }
    return false;
}

static void test_tree(void)
{
    struct tree tree;
    struct proc_list list = {0}, none = {0}, marked = {0};
    struct proc_stat stale;
    char words[128], expected[32];
    uint64_t rss = 0;
    double cpu = -1;
    int status = 0;
    start(&tree);
    CHECK_INT(proc_list_descendants(getpid(), &list), 0);
    CHECK(holds(&list, tree.pid) && holds(&list, tree.grandchild));
    CHECK(!holds(&list, getpid()));
    CHECK_INT(proc_list_by_environ("GEARS_KEEPER=unit-test-nonce", &marked), 0);
    CHECK(holds(&marked, tree.pid) && holds(&marked, tree.grandchild));
    CHECK_INT(proc_list_by_environ("GEARS_KEEPER=unit-test-nonc", &none), 0);
    CHECK_INT((long long)none.count, 0); /* the whole value counts */
    proc_tree_usage(tree.pid, &rss, &cpu);
    CHECK(rss > 0 && cpu >= 0);
    snprintf(expected, sizeof expected, "sh(%d)", (int)tree.grandchild);
    proc_list_describe(&marked, words, sizeof words);
    CHECK_HOLDS(words, expected);
    proc_list_describe(&marked, words, 8);
    CHECK(strlen(words) < 8);

    CHECK_INT(proc_stat_read(tree.pid, &stale), 0);
    stale.start_time++;
    CHECK_INT((long long)proc_list_signal(&(struct proc_list){&stale, 1, 1}, SIGKILL), 0);
    close(tree.input); /* both end by themselves */
    CHECK_INT(waitpid(tree.pid, &status, 0), tree.pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    proc_tree_usage(tree.pid, &rss, &cpu);
    CHECK(rss == 0 && cpu == 0);
    free(list.items);
    free(none.items);
    free(marked.items);
}

/* A zombie is listed, as it is still there to be reaped, but does not run. */
static void test_zombie(void)
{
    struct proc_list list = {0};
    struct proc_stat st;
    siginfo_t info;
    pid_t pid = fork();
    if (!pid) {
        _exit(0);
    }
    CHECK_INT(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    CHECK_INT(proc_stat_read(pid, &st), 0);
    CHECK_INT(st.state, 'Z');
    CHECK(!proc_is_alive(pid, st.start_time));
    CHECK_INT(proc_list_descendants(getpid(), &list), 0);
    CHECK(holds(&list, pid));
    CHECK_INT((long long)proc_list_signal(&list, SIGKILL), 0);
    CHECK_INT(waitpid(pid, NULL, 0), pid);
    CHECK(proc_stat_read(pid, &st) < 0);
    free(list.items);
}

int main(void)
{
    test_self();
    test_tree();
    test_zombie();
    return check_result();
}
