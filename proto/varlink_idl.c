/* A recursive-descent parser of varlink descriptions; varlink_check.c holds values against what
 * it makes. Its recursion is bounded, as are names. */
#include "proto/varlink_idl_private.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_LIMIT = 128 };

enum name_kind { NAME_FIELD, NAME_MEMBER, NAME_INTERFACE };

struct parser {
    const char *at;
    int line;
    struct idl_interface *interface;
    struct error *err;
};

static int fail(struct parser *p, const char *words)
{
    return error_set(p->err, -EINVAL, "line %d: %s", p->line, words);
}

static void skip(struct parser *p)
{
    for (;; p->at++) {
        if (*p->at == '#') {
            p->at += strcspn(p->at, "\n");
        }
        if (*p->at == '\n') {
            p->line++;
        } else if (!*p->at || !isspace((unsigned char)*p->at)) {
            return;
        }
    }
}

static bool accept(struct parser *p, const char *token)
{
    skip(p);
    size_t n = strlen(token);
    if (strncmp(p->at, token, n) != 0 ||
        (isalpha((unsigned char)token[0]) && isalnum((unsigned char)p->at[n]))) {
        return false;
    }
    p->at += n;
    return true;
}

/* Letters and digits, between them single separators; a member begins with a capital, an
 * interface has at least two labels. */
static bool name_is_sane(const char *name, size_t n, enum name_kind kind)
{
    bool dot = false;
    if (!isalpha((unsigned char)name[0]) ||
        (kind == NAME_MEMBER && !isupper((unsigned char)name[0])) ||
        !isalnum((unsigned char)name[n - 1])) {
        return false;
    }
    for (size_t i = 1; i < n; i++) {
        bool alone = isalnum((unsigned char)name[i]) || isalnum((unsigned char)name[i - 1]);
        bool dashes = kind == NAME_INTERFACE && name[i] == '-' && name[i - 1] == '-';
        if ((kind == NAME_MEMBER && name[i] == '_') || (!alone && !dashes)) {
            return false;
        }
        dot = dot || name[i] == '.';
    }
    return dot || kind != NAME_INTERFACE;
}

static char *take_name(struct parser *p, enum name_kind kind)
{
    const char *extra = kind == NAME_INTERFACE ? ".-" : "_";
    skip(p);
    size_t n = 0;
    while (isalnum((unsigned char)p->at[n]) || (p->at[n] && strchr(extra, p->at[n]))) {
        n++;
    }
    if (!n || n > NAME_LIMIT || !name_is_sane(p->at, n, kind)) {
        fail(p, "a name was expected");
        return NULL;
    }
    char *name = strndup(p->at, n);
    if (!name) {
        fail(p, "out of memory");
    }
    p->at += n;
    return name;
}

static struct type *make_type(struct parser *p)
{
    struct type *type = calloc(1, sizeof *type);
    if (type) {
        type->allocated = p->interface->types;
        p->interface->types = type;
    }
    return type;
}

static int parse_type(struct parser *p, struct type **out, int depth);

/* "(" [ name [":" type] {"," …} ] ")": a struct when the names have types, else an enum. */
static int parse_list(struct parser *p, struct type *list, int depth)
{
    struct type **last = &list->fields;
    list->kind = TYPE_STRUCT;
    if (accept(p, ")")) {
        return 0;
    }
    do {
        struct type *field = make_type(p);
        if (!field || !(field->name = take_name(p, NAME_FIELD))) {
            return -EINVAL;
        }
        for (const struct type *f = list->fields; f; f = f->next) {
            if (!strcmp(f->name, field->name)) {
                return fail(p, "the name stands twice");
            }
        }
        if (accept(p, ":")) {
            int code = parse_type(p, &field->element, depth + 1);
            if (code) {
                return code;
            }
        }
        if (last != &list->fields && (list->kind == TYPE_ENUM) != !field->element) {
            return fail(p, "a list has types for all of its names or for none");
        }
        list->kind = field->element ? TYPE_STRUCT : TYPE_ENUM;
        *last = field;
        last = &field->next;
    } while (accept(p, ","));
    return accept(p, ")") ? 0 : fail(p, "\")\" was expected");
}

static int parse_type(struct parser *p, struct type **out, int depth)
{
    static const struct {
        const char *word;
        enum type_kind kind;
    } simple[] = {{"bool", TYPE_BOOL}, {"int", TYPE_INT}, {"float", TYPE_FLOAT},
        {"string", TYPE_STRING}, {"object", TYPE_OBJECT}};
    struct type *type = *out = make_type(p);
    if (!type) {
        return error_set(p->err, -ENOMEM, "out of memory");
    }
    if (depth > IDL_DEPTH_LIMIT) {
        return fail(p, "types are nested too deeply");
    }
    if (accept(p, "?")) {
        type->nullable = true;
    }
    if (accept(p, "[]") || accept(p, "[string]")) {
        type->kind = p->at[-2] == '[' ? TYPE_ARRAY : TYPE_MAP;
        return parse_type(p, &type->element, depth + 1);
    }
    if (accept(p, "(")) {
        return parse_list(p, type, depth);
    }
    for (size_t i = 0; i < sizeof simple / sizeof *simple; i++) {
        if (accept(p, simple[i].word)) {
            type->kind = simple[i].kind;
            return 0;
        }
    }
    type->kind = TYPE_NAMED;
    type->name = take_name(p, NAME_MEMBER);
    return type->name ? 0 : -EINVAL;
}

struct member *idl_find_member(
    const struct idl_interface *interface, char what, const char *name)
{
    for (struct member *m = interface->members; m; m = m->next) {
        if (m->what == what && !strcmp(m->name, name)) {
            return m;
        }
    }
    return NULL;
}

static int parse_member(struct parser *p, struct member ***last)
{
    char what = accept(p, "type")     ? 't'
                : accept(p, "method") ? 'm'
                : accept(p, "error")  ? 'e'
                                      : 0;
    if (!what) {
        return fail(p, "\"type\", \"method\" or \"error\" was expected");
    }
    struct member *member = calloc(1, sizeof *member);
    if (!member) {
        return error_set(p->err, -ENOMEM, "out of memory");
    }
    **last = member;
    *last = &member->next;
    member->name = take_name(p, NAME_MEMBER);
    if (!member->name) {
        member->name = strdup("");
        return -EINVAL;
    }
    if (idl_find_member(p->interface, what, member->name)) {
        return fail(p, "the name stands twice"); /* `what` of this one is not set yet */
    }
    member->what = what;
    int code = parse_type(p, &member->in, 0);
    if (!code && what == 'm') {
        code =
            accept(p, "->") ? parse_type(p, &member->out, 0) : fail(p, "\"->\" was expected");
    }
    if (!code && what != 't' &&
        (member->in->kind != TYPE_STRUCT ||
            (member->out && member->out->kind != TYPE_STRUCT))) {
        return fail(p, "parameters are a list of names with types");
    }
    return code;
}

/* Every named type must exist. */
static int check_names(struct idl_interface *interface, struct error *err)
{
    for (struct type *t = interface->types; t; t = t->allocated) {
        if (t->kind == TYPE_NAMED && t->name && !idl_find_member(interface, 't', t->name)) {
            return error_set(err, -EINVAL, "there is no type \"%s\"", t->name);
        }
    }
    return 0;
}

int idl_parse(const char *text, struct idl_interface **out, struct error *err)
{
    struct idl_interface *interface = calloc(1, sizeof *interface);
    struct parser p = {text, 1, interface, err};
    if (!interface || !(interface->text = strdup(text))) {
        free(interface);
        return error_set(err, -ENOMEM, "out of memory");
    }
    struct member **last = &interface->members;
    int code = accept(&p, "interface") ? 0 : fail(&p, "\"interface\" was expected");
    if (!code && !(interface->name = take_name(&p, NAME_INTERFACE))) {
        code = -EINVAL;
    }
    for (skip(&p); !code && *p.at; skip(&p)) {
        code = parse_member(&p, &last);
    }
    if (!code) {
        code = check_names(interface, err);
    }
    if (code) {
        idl_destroy(interface);
        return code;
    }
    *out = interface;
    return 0;
}

void idl_destroy(struct idl_interface *interface)
{
    if (!interface) {
        return;
    }
    while (interface->members) {
        struct member *next = interface->members->next;
        free(interface->members->name);
        free(interface->members);
        interface->members = next;
    }
    while (interface->types) {
        struct type *next = interface->types->allocated;
        free(interface->types->name);
        free(interface->types);
        interface->types = next;
    }
    free(interface->name);
    free(interface->text);
    free(interface);
}

const char *idl_name(const struct idl_interface *interface)
{
    return interface->name;
}

const char *idl_text(const struct idl_interface *interface)
{
    return interface->text;
}

int idl_has_method(const struct idl_interface *interface, const char *method)
{
    return idl_find_member(interface, 'm', method) != NULL;
}

const char *idl_method(const struct idl_interface *interface, size_t index)
{
    for (struct member *m = interface->members; m; m = m->next) {
        if (m->what == 'm' && !index--) {
            return m->name;
        }
    }
    return NULL;
}
