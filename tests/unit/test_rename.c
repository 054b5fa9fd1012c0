/* Hints of a far gearsd name the service as it is called at this end. */
#include "client/rename.h"

#include <stdlib.h>

#include "tests/unit/check.h"

static void renames(const char *message, const char *wanted)
{
    char *text = rename_hints(message, "lab", "andes");
    CHECK_STRING(text ? text : "", wanted);
    free(text);
}

int main(void)
{
    renames("", "");
    renames("nothing to do", "nothing to do");
    renames("lab is stopped; run: gearsctl start lab", "lab is stopped; run: gearsctl start "
                                                       "lab@andes");
    renames("run: gearsctl signal lab CONT", "run: gearsctl signal lab@andes CONT");
    renames("gearsctl stop lab, then gearsctl remove lab.",
        "gearsctl stop lab@andes, then gearsctl remove lab@andes.");
    renames("see: gearsctl logs labels", "see: gearsctl logs labels");
    renames("see: gearsctl config check", "see: gearsctl config check");
    renames("run: gearsctl", "run: gearsctl");
    renames("run: gearsctl init", "run: gearsctl init");
    char *text = rename_hints("gearsctl start ", "", "andes");
    CHECK_STRING(text, "gearsctl start ");
    free(text);
    return check_result();
}
