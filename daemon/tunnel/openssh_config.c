/* The ssh_config of our ssh, in its folder: what Gears forces stands first and so wins, then
 * come the user's own and the system's. A file and no options, because ssh hands the name of
 * its file, and nothing else, to the ssh that it runs for a jump host: that is to be no master
 * of the user's and no less patient either. Called by openssh_spawn.c. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/text.h"
#include "daemon/tunnel/openssh_private.h"

/* A login, and then a master that serves its control socket and nothing else. What ssh_config
 * says of the connection itself counts; what it says of sessions and forwards does not. */
static const char forced[] = "Host *\n"
                             "ControlMaster no\n" /* the server's ssh has -M and -S */
                             "ControlPath none\n"
                             "ControlPersist no\n"
                             "ForwardAgent no\n"
                             "ForwardX11 no\n"
                             "AddKeysToAgent no\n" /* a passphrase opens a key this once */
                             "ClearAllForwardings yes\n"
                             "ExitOnForwardFailure no\n"
                             "Tunnel no\n"
                             "GatewayPorts no\n"
                             "PermitLocalCommand no\n"
                             "RequestTTY no\n"
                             "UpdateHostKeys no\n"
                             "StreamLocalBindMask 0177\n"
                             "StreamLocalBindUnlink yes\n"
                             "TCPKeepAlive no\n"       /* silence is judged by keepalive.c, */
                             "ServerAliveInterval 0\n" /* or ssh would throw it away */
                             "ConnectionAttempts 1\n"
                             "LogLevel VERBOSE\n"; /* by which method, to which address */

static void compose(struct text *text, const struct tunnel *tunnel)
{
    const char *file = getenv("GEARS_SSH_CONFIG");
    text_printf(text, "%s", forced);
    /* Behind a proxy it would bound the whole way there, with what humans type on it: openssh.c
     * bounds that alone. */
    if (tunnel->hops[tunnel->hop_count - 1]->proxied) {
        text_printf(text, "ConnectTimeout none\n");
    } else {
        text_printf(text, "ConnectTimeout %lld\n", (long long)(tunnel->step_ms + 999) / 1000);
    }
    text_printf(text, "BatchMode %s\n", tunnel->unattended ? "yes" : "no");
    /* The server decides how often it asks. */
    text_printf(text, "NumberOfPasswordPrompts %d\n", tunnel->unattended ? 0 : 20);
    if (file && file[0]) {
        text_printf(text, "Include \"%s\"\n", file);
    } else {
        text_printf(text, "Include ~/.ssh/config\nInclude /etc/ssh/ssh_config\n");
    }
}

int openssh_config_write(const struct openssh *openssh, struct error *err)
{
    struct text text = {0};
    compose(&text, openssh->tunnel);
    int fd = openat(
        openssh->folder_fd, OPENSSH_CONFIG, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ssize_t n = fd < 0 || text.failed ? -1 : write(fd, text.data, text.length);
    int code = text.failed ? -ENOMEM : n < 0 ? -errno : (size_t)n < text.length ? -EIO : 0;
    if (fd >= 0) {
        close(fd);
    }
    text_finish(&text);
    return code ? error_errno(err, code, "cannot write %s/" OPENSSH_CONFIG, openssh->folder)
                : 0;
}
