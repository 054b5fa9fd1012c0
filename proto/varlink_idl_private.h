/* What the parser makes and the checker reads. */
#ifndef PROTO_VARLINK_IDL_PRIVATE_H
#define PROTO_VARLINK_IDL_PRIVATE_H

#include <stdbool.h>

#include "proto/varlink_idl.h"

enum { IDL_DEPTH_LIMIT = 16 };

enum type_kind {
    TYPE_BOOL,
    TYPE_INT,
    TYPE_FLOAT,
    TYPE_STRING,
    TYPE_OBJECT,
    TYPE_ENUM,
    TYPE_STRUCT,
    TYPE_ARRAY,
    TYPE_MAP,
    TYPE_NAMED
};

struct type {
    struct type *allocated; /* chain of everything, for freeing */
    enum type_kind kind;
    bool nullable;
    char *name;           /* TYPE_NAMED; a field's or enum value's name on `fields` */
    struct type *element; /* array, map; a field's type */
    struct type *fields;  /* struct fields, enum values: chained by next */
    struct type *next;
};

struct member {
    struct member *next;
    char what; /* 't' type, 'm' method, 'e' error */
    char *name;
    struct type *in, *out;
};

struct idl_interface {
    char *name, *text;
    struct member *members;
    struct type *types;
};

struct member *idl_find_member(
    const struct idl_interface *interface, char what, const char *name);

#endif
