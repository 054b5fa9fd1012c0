/* Sessions nested in sessions, freed from the innermost outwards. */
#include <stdlib.h>

#include "daemon/tunnel/login.h"

void ssh_link_destroy(struct ssh_link *link)
{
    while (link) {
        struct ssh_link *outer = link->outer;
        if (link->session) {
            transport_end_session(link->transport, link->session);
        }
        transport_destroy(link->transport);
        free(link); /* `through` goes with the outer session */
        link = outer;
    }
}
