/* bench_spawn COUNT PROGRAM [ARGUMENT…]: the wall time of a command, without a shell or an
 * interpreter in between. Prints the median in microseconds; its output is dropped. */
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    size_t count = argc > 2 ? strtoul(argv[1], NULL, 10) : 0;
    int64_t *took = count ? calloc(count, sizeof *took) : NULL;
    posix_spawn_file_actions_t actions;
    if (!took || posix_spawn_file_actions_init(&actions)) {
        fputs("usage: bench_spawn COUNT PROGRAM [ARGUMENT…]\n", stderr);
        return 2;
    }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    for (size_t i = 0; i < count; i++) {
        pid_t pid;
        int status = -1;
        int64_t start = now_ns();
        int code = posix_spawn(&pid, argv[2], &actions, NULL, argv + 2, environ);
        if (code || waitpid(pid, &status, 0) != pid || status) {
            fprintf(
                stderr, "bench_spawn: %s: %s (status %d)\n", argv[2], strerror(code), status);
            return 1;
        }
        took[i] = now_ns() - start;
    }
    qsort(took, count, sizeof *took, compare);
    printf("%.1f\n", (double)took[count / 2] / 1e3);
    posix_spawn_file_actions_destroy(&actions);
    free(took);
    return 0;
}
