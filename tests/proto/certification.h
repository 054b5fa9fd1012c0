/* org.varlink.certification, served through Gears' own protocol code. */
#ifndef TESTS_PROTO_CERTIFICATION_H
#define TESTS_PROTO_CERTIFICATION_H

#include "proto/varlink_service.h"

/* Made from org.varlink.certification.varlink at build time. */
extern const char varlink_certification_interface[];

/* A service with this one interface; NULL when it cannot be made. */
struct varlink_service *certification_create(void);

#endif
