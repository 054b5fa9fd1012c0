/* Folders and files for one test, beside what check.h checks. */
#ifndef TESTS_UNIT_SCRATCH_H
#define TESTS_UNIT_SCRATCH_H

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/check.h"

/* The text holds `part`. */
#define CHECK_HOLDS(text, part) scratch_holds((text), (part), __FILE__, __LINE__, #text)

static inline void scratch_holds(
    const char *text, const char *part, const char *file, int line, const char *words)
{
    if (!check_that(text && strstr(text, part), file, line, words)) {
        fprintf(stderr, "    \"%s\" does not hold \"%s\"\n", text ? text : "(none)", part);
    }
}

/* A fresh private folder; exits when there can be none. */
static inline void scratch_folder(char out[PATH_MAX])
{
    const char *base = getenv("TMPDIR");
    snprintf(out, PATH_MAX, "%s/gears-test-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(out)) {
        perror(out);
        exit(1);
    }
}

/* Remove a file or a whole folder; symbolic links are not followed. */
static inline void scratch_remove(const char *path)
{
    struct stat st;
    DIR *dir = !lstat(path, &st) && S_ISDIR(st.st_mode) ? opendir(path) : NULL;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char below[PATH_MAX];
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            snprintf(below, sizeof below, "%s/%s", path, entry->d_name);
            scratch_remove(below);
        }
    }
    if (dir) {
        closedir(dir);
    }
    remove(path);
}

/* Write a small file. */
static inline void scratch_write(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");
    if (!file || fputs(text, file) < 0 || fclose(file) || chmod(path, mode)) {
        perror(path);
        exit(1);
    }
}

#endif
