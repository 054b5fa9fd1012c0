/* The record file format; writers are gearsd's I/O thread and each keeper's writer thread. */
#include "common/record.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/text.h"

enum { RECORD_LIMIT = 65536, FIELD_LIMIT = 1024, KEY_LIMIT = 64 };

static const char MAGIC[] = "gears-record 1\n";

struct field {
    char *key;
    char *value;
};

struct record {
    struct field *fields;
    size_t count;
    size_t bytes; /* of the fields' lines */
    int failed;   /* a field could not be added: -E2BIG, -ENOMEM */
    char failed_key[KEY_LIMIT + 1];
};

struct record *record_create(void)
{
    return calloc(1, sizeof(struct record));
}

void record_destroy(struct record *record)
{
    if (!record) {
        return;
    }
    for (size_t i = 0; i < record->count; i++) {
        free(record->fields[i].key);
        free(record->fields[i].value);
    }
    free(record->fields);
    free(record);
}

static int check_key(const char *key, size_t length)
{
    if (!length || length > KEY_LIMIT) {
        return -EINVAL;
    }
    for (size_t i = 0; i < length; i++) {
        if (!islower((unsigned char)key[i]) && !isdigit((unsigned char)key[i]) &&
            (!key[i] || !strchr("._-", key[i]))) {
            return -EINVAL;
        }
    }
    return 0;
}

/* The length of `value` as it is written. */
static size_t escaped_length(const char *value)
{
    size_t length = 0;
    for (; *value; value++) {
        unsigned char c = (unsigned char)*value;
        length += c == '\\' || c == '\n' || c == '\r' ? 2 : c < 0x20 ? 4 : 1;
    }
    return length;
}

/* Takes ownership of `key` and `value` whatever happens. */
static int append(struct record *record, char *key, char *value)
{
    int code = 0;
    struct field *fields = NULL;
    size_t bytes = key && value ? strlen(key) + escaped_length(value) + 2 : 0;
    if (!key || !value) {
        code = -ENOMEM;
    } else if (record->count == FIELD_LIMIT || record->bytes + bytes > RECORD_LIMIT - 128) {
        code = -E2BIG;
    } else if (!(fields =
                       realloc(record->fields, (record->count + 1) * sizeof *record->fields))) {
        code = -ENOMEM;
    }
    if (code) {
        record->failed = code;
        snprintf(record->failed_key, sizeof record->failed_key, "%s", key ? key : "");
        free(key);
        free(value);
        return code;
    }
    record->fields = fields;
    record->fields[record->count++] = (struct field){key, value};
    record->bytes += bytes;
    return 0;
}

int record_add(struct record *record, const char *key, const char *value)
{
    if (check_key(key, strlen(key))) {
        return -EINVAL;
    }
    return append(record, strdup(key), strdup(value));
}

int record_add_integer(struct record *record, const char *key, int64_t value)
{
    char digits[32];
    snprintf(digits, sizeof digits, "%lld", (long long)value);
    return record_add(record, key, digits);
}

const char *record_find(const struct record *record, const char *key, size_t index)
{
    for (size_t i = 0; i < record->count; i++) {
        if (!strcmp(record->fields[i].key, key) && !index--) {
            return record->fields[i].value;
        }
    }
    return NULL;
}

void record_copy(const struct record *record, const char *key, char *out, size_t size)
{
    const char *value = record_find(record, key, 0);
    snprintf(out, size, "%s", value ? value : "");
}

int64_t record_integer(const struct record *record, const char *key, int64_t fallback)
{
    const char *text = record_find(record, key, 0);
    long long value;
    if (!text || integer_parse(text, INT64_MIN, INT64_MAX, &value, NULL)) {
        return fallback;
    }
    return value;
}

static void escape(struct text *out, const char *value)
{
    for (; *value; value++) {
        unsigned char c = (unsigned char)*value;
        if (c == '\\') {
            text_append(out, "\\\\", 2);
        } else if (c == '\n') {
            text_append(out, "\\n", 2);
        } else if (c == '\r') {
            text_append(out, "\\r", 2);
        } else if (c < 0x20) {
            text_printf(out, "\\x%02x", c);
        } else {
            text_append(out, value, 1);
        }
    }
}

char *record_format(const struct record *record, size_t *length)
{
    struct text out = {0};
    if (record->failed) {
        return NULL;
    }
    text_append(&out, MAGIC, sizeof MAGIC - 1);
    for (size_t i = 0; i < record->count; i++) {
        text_printf(&out, "%s=", record->fields[i].key);
        escape(&out, record->fields[i].value);
        text_append(&out, "\n", 1);
    }
    text_printf(&out, "end %zu\n", record->count);
    if (length) {
        *length = out.length;
    }
    return text_take(&out);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undo `escape` on one line's value. NULL for a malformed escape or no memory. */
static char *unescape(const char *value, size_t length)
{
    char *out = malloc(length + 1), *to = out;
    const char *end = value + length;
    while (out && value < end) {
        unsigned char c = (unsigned char)*value++;
        if (c < 0x20) {
            goto bad;
        }
        if (c != '\\') {
            *to++ = (char)c;
            continue;
        }
        char kind = value < end ? *value++ : 0;
        if (kind == 'n' || kind == 'r' || kind == '\\') {
            *to++ = kind == 'n' ? '\n' : kind == 'r' ? '\r' : '\\';
        } else if (kind == 'x' && end - value >= 2 && hex_digit(value[0]) >= 0 &&
                   hex_digit(value[1]) >= 0 && (value[0] != '0' || value[1] != '0')) {
            *to++ = (char)(hex_digit(value[0]) * 16 + hex_digit(value[1]));
            value += 2;
        } else {
            goto bad;
        }
    }
    if (out) {
        *to = 0;
    }
    return out;
bad:
    free(out);
    return NULL;
}

static int parse_field(struct record *record, const char *line, size_t length)
{
    const char *equals = memchr(line, '=', length);
    if (!equals || check_key(line, (size_t)(equals - line))) {
        return -EBADMSG;
    }
    char *value = unescape(equals + 1, length - (size_t)(equals + 1 - line));
    if (!value) {
        return -EBADMSG;
    }
    return append(record, strndup(line, (size_t)(equals - line)), value);
}

int record_parse(const char *text, size_t length, struct record **out, struct error *err)
{
    struct record *record = NULL;
    size_t at = sizeof MAGIC - 1, number = 2;
    if (length > RECORD_LIMIT || length < at || memcmp(text, MAGIC, at) != 0) {
        return error_set(err, -EBADMSG, "line 1 is not \"gears-record 1\"");
    }
    record = record_create();
    if (!record) {
        return error_errno(err, -ENOMEM, "record");
    }
    for (; at < length; number++) {
        const char *line = text + at;
        const char *newline = memchr(line, '\n', length - at);
        if (!newline) {
            break;
        }
        size_t n = (size_t)(newline - line);
        char closing[32];
        int m = snprintf(closing, sizeof closing, "end %zu", record->count);
        at += n + 1;
        if (n == (size_t)m && !memcmp(line, closing, n) && at == length) {
            *out = record;
            return 0;
        }
        int code = parse_field(record, line, n);
        if (code) {
            record_destroy(record);
            return error_set(err, code, "line %zu is damaged", number);
        }
    }
    record_destroy(record);
    return error_set(err, -EBADMSG, "line %zu: the closing \"end\" line is missing", number);
}

int record_store(const struct record *record, const char *path, struct error *err)
{
    size_t length;
    if (record->failed == -E2BIG) {
        return error_set(err, -E2BIG,
            "cannot write %s: \"%s\" does not fit; a record has at most %d KiB and %d values",
            path, record->failed_key, RECORD_LIMIT / 1024, FIELD_LIMIT);
    }
    char *text = record_format(record, &length);
    if (!text) {
        return error_errno(err, -ENOMEM, "cannot write %s", path);
    }
    int code = file_write_atomic(path, text, length, 0600, err);
    free(text);
    return code;
}

int record_load(const char *path, struct record **record, struct error *err)
{
    char *text = NULL;
    size_t length;
    int code = file_read(path, RECORD_LIMIT, &text, &length, err);
    if (code) {
        return code;
    }
    code = record_parse(text, length, record, err);
    if (code) {
        error_prefix(err, "%s", path);
    }
    free(text);
    return code;
}
