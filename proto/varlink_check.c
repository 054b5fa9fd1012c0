/* JSON values against a description's types. Both bound the depth: a type may name itself. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "proto/varlink_depth.h"
#include "proto/varlink_idl_private.h"

static bool fits(const struct idl_interface *interface, const struct type *type,
    const cJSON *value, int depth);

static bool fits_enum(const struct type *type, const cJSON *value)
{
    for (const struct type *f = type->fields; cJSON_IsString(value) && f; f = f->next) {
        if (!strcmp(f->name, value->valuestring)) {
            return true;
        }
    }
    return false;
}

/* The name of the first field that does not fit, or NULL. */
static const char *misfit(const struct idl_interface *interface, const struct type *type,
    const cJSON *object, int depth)
{
    for (const struct type *f = type->fields; f; f = f->next) {
        const cJSON *value = object ? cJSON_GetObjectItemCaseSensitive(object, f->name) : NULL;
        if (!value ? !f->element->nullable : !fits(interface, f->element, value, depth + 1)) {
            return f->name;
        }
    }
    for (const cJSON *item = object ? object->child : NULL; item; item = item->next) {
        const struct type *f = type->fields;
        while (f && strcmp(f->name, item->string) != 0) {
            f = f->next;
        }
        if (!f) {
            return item->string;
        }
    }
    return NULL;
}

static bool fits_all(const struct idl_interface *interface, const struct type *element,
    const cJSON *list, int depth)
{
    for (const cJSON *item = list->child; item; item = item->next) {
        if (!fits(interface, element, item, depth + 1)) {
            return false;
        }
    }
    return true;
}

static bool fits(const struct idl_interface *interface, const struct type *type,
    const cJSON *value, int depth)
{
    if (depth > 2 * IDL_DEPTH_LIMIT) {
        return false;
    }
    if (cJSON_IsNull(value)) {
        return type->nullable;
    }
    switch (type->kind) {
    case TYPE_BOOL:
        return cJSON_IsBool(value);
    case TYPE_INT:
        return cJSON_IsRaw(value) || /* of varlink_add_integer: no parser makes one */
               (cJSON_IsNumber(value) && isfinite(value->valuedouble) &&
                   fabs(value->valuedouble) < 0x1p63 &&
                   value->valuedouble == (double)(long long)value->valuedouble);
    case TYPE_FLOAT:
        return cJSON_IsNumber(value) && isfinite(value->valuedouble);
    case TYPE_STRING:
        return cJSON_IsString(value);
    case TYPE_OBJECT:
        return true;
    case TYPE_ENUM:
        return fits_enum(type, value);
    case TYPE_STRUCT:
        return cJSON_IsObject(value) && !misfit(interface, type, value, depth);
    case TYPE_ARRAY:
        return cJSON_IsArray(value) && fits_all(interface, type->element, value, depth);
    case TYPE_MAP:
        return cJSON_IsObject(value) && fits_all(interface, type->element, value, depth);
    case TYPE_NAMED:
        return fits(
            interface, idl_find_member(interface, 't', type->name)->in, value, depth + 1);
    }
    return false;
}

static int check(const struct idl_interface *interface, const struct type *type,
    const cJSON *parameters, char *parameter, size_t size)
{
    const char *name = parameters && !cJSON_IsObject(parameters)
                           ? "parameters"
                           : misfit(interface, type, parameters, 0);
    if (name) {
        snprintf(parameter, size, "%s", name);
        varlink_text_mend(parameter);
        return -EINVAL;
    }
    return 0;
}

int idl_check_call(const struct idl_interface *interface, const char *method,
    const cJSON *parameters, char *parameter, size_t size)
{
    struct member *member = idl_find_member(interface, 'm', method);
    return member ? check(interface, member->in, parameters, parameter, size) : -ENOENT;
}

int idl_check_reply(const struct idl_interface *interface, const char *method,
    const cJSON *parameters, char *parameter, size_t size)
{
    struct member *member = idl_find_member(interface, 'm', method);
    return member ? check(interface, member->out, parameters, parameter, size) : -ENOENT;
}
