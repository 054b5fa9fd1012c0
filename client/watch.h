/* What must work while a command is stuck, a home on a dead file server included: ^C, and the
 * word about what does not answer. So the command runs in a child, and the process that the
 * shell waits for touches no file: a thread or a signal handler would not do, as the kernel may
 * hold the whole process in a system call that nothing ends, and interrupting the call where
 * that is possible would break it where it would have gone on. */
#ifndef CLIENT_WATCH_H
#define CLIENT_WATCH_H

#include <stdbool.h>
#include <sys/types.h>
#include <termios.h>

enum { WATCH_SLOW_MS = 2000 };

/* Split in two and return in the child; the caller has one thread and has printed nothing. The
 * parent takes SIGINT, SIGTERM, SIGHUP and SIGQUIT, those that were ignored excepted: it sets
 * the terminal back, ends the child, and ends with status 130 after SIGINT, by the signal after
 * the others. Else it ends as the child does. */
void watch_start(void);
/* Between fork and exec: the signals as the caller of gearsctl had them. */
void watch_undo_in_child(void);

/* If nothing comes of `doing` within WATCH_SLOW_MS, say so on stderr, naming `root`. Until
 * watch_end. */
void watch_home_begin(const char *root, const char *doing);
/* As watch_home_begin, for waiting on gearsd: the home is named only if a look at it hangs;
 * else, when `words` is not NULL, those are said. */
void watch_daemon_begin(const char *root, const char *words);
void watch_end(void);
/* End with EXIT_TIMED_OUT, without a word, unless done by then. */
void watch_give_up_after(int ms);

/* The line an interrupted command leaves on stderr; NULL for none. Copied. */
void watch_set_farewell(const char *words);
/* How to set the terminal back when interrupted; NULL when it was set back. */
void watch_set_terminal(const struct termios *before);
/* A program we wait for, which is sent what interrupts us; 0 for none. */
void watch_set_program(pid_t pid);
/* However the command ends, or ^C ends it: the process that the shell waits for becomes the
 * user's login shell. The other signals end it all the same. */
void watch_set_shell(const char *path);
/* Around whole objects or lines on stdout, so that an interruption does not cut one. */
void watch_output_begin(void);
void watch_output_end(void);

#endif
