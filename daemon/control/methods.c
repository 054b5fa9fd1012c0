/* The methods of org.gears.Manager by name. */
#include "daemon/control/control_private.h"

const struct varlink_method control_methods[] = {{"Hello", method_hello},
    {"Status", method_status}, {"Start", method_start}, {"Stop", method_stop},
    {"Restart", method_restart}, {"Enable", method_enable}, {"Disable", method_disable},
    {"Signal", method_signal}, {"ResetFailed", method_reset_failed}, {"Run", method_run},
    {"Remove", method_remove}, {"Wait", method_wait}, {"Logs", method_logs},
    {"Events", method_events}, {"Url", method_url}, {"Forward", method_forward},
    {"Login", method_login}, {"AnswerPrompt", method_answer_prompt}, {"Logout", method_logout},
    {"Takeover", method_takeover}, {"Cluster", method_cluster},
    {"ConfigCheck", method_config_check}, {"ConfigShow", method_config_show},
    {"Reload", method_reload}, {"Upgrade", method_upgrade}, {"Shutdown", method_shutdown}, {0}};
