/* gears-tunnel in the place of ssh-askpass: ssh runs it for each question, and it hands that to
 * the tunnel whose ssh it is. */
#ifndef TUNNEL_ASKPASS_H
#define TUNNEL_ASKPASS_H

#include <stdbool.h>

/* In the environment: the folder with the tunnel's socket "ask", and what proves that it is
 * ours. */
#define ASKPASS_FOLDER "GEARS_TUNNEL_ASK"
#define ASKPASS_NONCE "GEARS_TUNNEL_NONCE"

/* A request is one packet: the nonce, one of these, and ssh's text. The answer is one packet,
 * '=' and what the human typed; without one the socket is just closed. */
enum { ASKPASS_QUESTION = '?', ASKPASS_NOTICE = '!', ASKPASS_ANSWER = '=' };
enum { ASKPASS_TEXT_MOST = 8192 };

bool askpass_is_wanted(void); /* this process was started by ssh */
int askpass_main(int argc, char **argv);

#endif
