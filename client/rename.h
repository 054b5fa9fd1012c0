/* Words of a gearsd behind a hop, for who reads them at this end. */
#ifndef CLIENT_RENAME_H
#define CLIENT_RENAME_H

/* `message` with each "gearsctl VERB name" made "gearsctl VERB name@cluster". Heap, the caller
 * frees; NULL when out of memory. */
char *rename_hints(const char *message, const char *name, const char *cluster);

#endif
