/* The texts of the .varlink files, compiled in. */
#ifndef PROTO_INTERFACES_H
#define PROTO_INTERFACES_H

extern const char gears_manager_interface[];

#endif
