/* Looking at a private key file without opening it: whether it needs a passphrase, and its
 * public half where that stands in clear. Pure, on memory. */
#ifndef TUNNEL_KEYFILE_H
#define TUNNEL_KEYFILE_H

#include "daemon/tunnel/sshkey.h"

enum { KEYFILE_MOST = 64 * 1024 };

struct keyfile {
    bool encrypted;
    bool rsa;           /* by the words of a PEM head */
    size_t blob_length; /* 0: the public half is not in it */
    uint8_t blob[SSHKEY_BLOB_MOST];
};

/* 0, or -EBADMSG: it is no private key. */
int keyfile_look(const char *text, size_t length, struct keyfile *keyfile);

#endif
