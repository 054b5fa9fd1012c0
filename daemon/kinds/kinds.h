/* The table of kinds. */
#ifndef KINDS_KINDS_H
#define KINDS_KINDS_H

#include "daemon/service/kind.h"

extern const struct kind kind_jupyter, kind_command;

#endif
