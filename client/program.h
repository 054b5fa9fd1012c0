/* Other programs in the foreground of a command, and questions to whoever sits at it. */
#ifndef CLIENT_PROGRAM_H
#define CLIENT_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

/* Run argv[0] (found by PATH unless it has a slash), its standard input replaced by `input`
 * when that is not NULL, and wait for it. Its exit status; EXIT_INTERRUPTED when ^C ended it;
 * 127 after a line when it cannot be run. */
int program_run(const char *const argv[], const char *input);
/* As program_run, output and errors to /dev/null. */
int program_run_quiet(const char *const argv[]);
/* What argv prints on stdout, at most size - 1 bytes, NUL-terminated; its exit status. It is
 * killed when this process is, as a check of doctor's that takes too long. */
int program_read(const char *const argv[], char *out, size_t size);
/* As program_read, with what it prints on stderr. */
int program_read_all(const char *const argv[], char *out, size_t size);

/* y or n on the terminal. 0 for yes, EXIT_FAILED for no, and EXIT_HUMAN without a terminal
 * after a line that names `command`, which does the same without asking. */
int program_confirm(const char *question, const char *command);

#endif
