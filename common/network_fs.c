/* Telling network file systems from local ones. The relay asks once, when it starts. */
#include "common/network_fs.h"

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

bool network_fs_is_type(long type)
{
    /* From statfs(2) and the file systems' own headers; f_type may be sign-extended. */
    static const uint32_t types[] = {
        0x6969,     /* NFS */
        0x0BD00BD0, /* Lustre */
        0x47504653, /* GPFS */
        0x19830326, /* BeeGFS */
        0x00C36400, /* Ceph */
        0xFF534D42, /* CIFS */
        0xFE534D42, /* SMB 2 */
        0x517B,     /* SMB */
        0x65735546, /* FUSE */
        0x5346414F, /* AFS */
        0x6B414653, /* the kernel's own AFS */
        0x73757245, /* Coda */
        0x01021997, /* 9P */
        0xAAD7AAEA, /* PanFS */
        0x20030528, /* OrangeFS */
        0x0187,     /* automounted: something else by the next look */
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if ((uint32_t)type == types[i]) {
            return true;
        }
    }
    return false;
}

bool network_fs_holds(const char *path)
{
    char folder[PATH_MAX];
    struct statfs fs;
    for (const char *end = path[0] == '/' ? path : NULL; end; end = strchr(end + 1, '/')) {
        snprintf(folder, sizeof folder, "%.*s", end == path ? 1 : (int)(end - path), path);
        if (!statfs(folder, &fs) && network_fs_is_type((long)fs.f_type)) {
            return true;
        }
    }
    return !statfs(path, &fs) && network_fs_is_type((long)fs.f_type);
}
