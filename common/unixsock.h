/* Unix sockets: paths that must fit, peers that must be us. */
#ifndef COMMON_UNIXSOCK_H
#define COMMON_UNIXSOCK_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include "common/error.h"

enum { UNIX_PATH_SIZE = sizeof((struct sockaddr_un *)0)->sun_path }; /* 107 bytes and a NUL */

/* Fill `address` with `path`. 0, or -ENAMETOOLONG with words naming the 107-byte limit. */
int unix_address(struct sockaddr_un *address, const char *path, struct error *err);

/* Connect. `type` is SOCK_STREAM or SOCK_SEQPACKET; the result is CLOEXEC and, when `nonblock`,
 * non-blocking (a full backlog then gives -EAGAIN: retry). Returns a descriptor the caller
 * closes, or a negative errno. */
int unix_connect(const char *path, int type, bool nonblock, struct error *err);

/* Bind and listen with mode 0600, replacing whatever stands at `path` atomically (bind beside,
 * then rename), so that there is no moment without a socket. The caller must hold the right to
 * the name. Non-blocking, CLOEXEC. Returns a descriptor or a negative errno. */
int unix_listen(const char *path, int type, int backlog, struct error *err);

/* Accept one connection, CLOEXEC and non-blocking, and refuse peers of another uid: returns the
 * descriptor, -EACCES (peer refused and closed; `peer_uid` tells whose), or another negative
 * errno
 * (-EAGAIN: none waiting). `peer_uid` may be NULL. */
int unix_accept_same_uid(int listener, uid_t *peer_uid);

/* The peer's credentials. 0 or a negative errno. */
int unix_peer(int fd, struct ucred *peer);

/* Which file a socket's path led to when it was bound: a successor may put its own there at any
 * moment. All zero: none. While the socket is open no other file can get its numbers. */
struct unix_file {
    dev_t dev;
    ino_t inode;
};

/* Note what stands at `path`; call it right after unix_listen or bind. 0 or a negative errno,
 * `file` is none then. */
int unix_file_note(const char *path, struct unix_file *file);
/* 0: `file` stands there; -ENOENT: nothing; -EEXIST: another's; another negative errno: it
 * cannot be told. */
int unix_file_look(const char *path, const struct unix_file *file);
/* Unlink `path` if `file` stands there; before the socket is closed. `file` is none then. */
void unix_file_remove(const char *path, struct unix_file *file);

#endif
