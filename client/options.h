/* Options as people write them, made as commands read them: each word one thing. */
#ifndef CLIENT_OPTIONS_H
#define CLIENT_OPTIONS_H

/* Up to "--": --name=value becomes --name value where `usage` (of the command) gives that
 * option a value, and letters in one word become options of their own: -n50 is -n 50, -fn 20 is
 * -f -n 20. argv[0] and argv[1] (the command) stay. Returns the new arguments, which live as
 * long as argv, with their count in *argc; NULL after a line about an option that takes no
 * value. */
char **options_split(const char *command, const char *usage, int *argc, char **argv);

#endif
