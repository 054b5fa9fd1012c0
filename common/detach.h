/* What a helper process does first: become nobody's child. */
#ifndef COMMON_DETACH_H
#define COMMON_DETACH_H

/* Go on in a grandchild: no parent that waits, a session of its own, / as its folder, umask
 * 077, /dev/null as descriptors 0 to 2 and nothing else open but `keep` (3), which becomes
 * close-on-exec. The caller's own process ends. */
void detach(int keep);

#endif
