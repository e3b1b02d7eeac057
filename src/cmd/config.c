/* config.c - one table of settings, walked by everything that reads or shows them. */
#include "cmd/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/limits.h"
#include "base/name.h"
#include "engine/engine.h"

#define LINE_SIZE 4096
#define WORKERS_AUTO_MAX 64

enum kind {
    KIND_NONE,
    KIND_BYTES,
    KIND_MS,
    KIND_BOOL,
};

struct row {
    const char *name;
    const char *prose;
    enum kind kind;
    uint64_t initial;
    uint64_t min;
    uint64_t max;
    size_t offset;
};

static const struct row rows[] = {
#define X(name, unit, initial, min, max, prose)                                                    \
    {#name, prose, KIND_##unit, initial, min, max, offsetof(struct fm_config, name)},
    FM_CONFIG_MAP(X)
#undef X
};

static enum fm_unit unit_of(const struct row *row)
{
    return row->kind == KIND_BYTES ? FM_UNIT_BYTES
           : row->kind == KIND_MS  ? FM_UNIT_MS
                                   : FM_UNIT_NONE;
}

static uint64_t *field(struct fm_config *config, const struct row *row)
{
    return (uint64_t *)(void *)((char *)config + row->offset);
}

static uint64_t value_of(const struct fm_config *config, const struct row *row)
{
    uint64_t value;
    memcpy(&value, (const char *)config + row->offset, sizeof(value));
    return value;
}

void fm_config_init(struct fm_config *config)
{
    *config = (struct fm_config){.listen = "127.0.0.1:8080"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(rows); i++)
        *field(config, &rows[i]) = rows[i].initial;
}

void fm_config_done(struct fm_config *config)
{
    free(config->users);
    config->users = NULL;
    config->users_count = 0;
}

static int parse_value(const struct row *row, const char *text, uint64_t *ret_value)
{
    if (row->kind != KIND_BOOL)
        return fm_units_parse(text, unit_of(row), ret_value);
    if (strcmp(text, "on") == 0 || strcmp(text, "off") == 0) {
        *ret_value = text[1] == 'n';
        return 0;
    }
    return FM_ERR_BAD_REQUEST;
}

static void format_value(const struct row *row, uint64_t value, char text[FM_UNITS_TEXT_SIZE])
{
    if (value == FM_CONFIG_AUTO)
        (void)snprintf(text, FM_UNITS_TEXT_SIZE, "auto");
    else if (row->kind == KIND_BOOL)
        (void)snprintf(text, FM_UNITS_TEXT_SIZE, "%s", value ? "on" : "off");
    else
        fm_units_format(value, unit_of(row), text);
}

static int set_number(struct fm_config *config, const struct row *row, const char *text,
                      struct fm_error *error)
{
    uint64_t value = 0;
    if (strcmp(text, "auto") == 0 && row->initial == FM_CONFIG_AUTO) {
        *field(config, row) = FM_CONFIG_AUTO;
        return 0;
    }
    if (parse_value(row, text, &value) != 0)
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "'%s' is no value for %s (%s%s)", text,
                            row->name, row->kind == KIND_BOOL ? "" : "units: ",
                            row->kind == KIND_BOOL ? "on, off" : fm_units_names(unit_of(row)));
    if (value < row->min || value > row->max) {
        char min[FM_UNITS_TEXT_SIZE];
        char max[FM_UNITS_TEXT_SIZE];
        format_value(row, row->min, min);
        format_value(row, row->max, max);
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "%s must be from %s to %s, not %s",
                            row->name, min, max, text);
    }
    *field(config, row) = value;
    return 0;
}

static int set_text(char *to, size_t size, const char *name, const char *text,
                    struct fm_error *error)
{
    size_t length = strlen(text);
    if (length == 0 || length >= size)
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "%s must have from 1 to %zu characters",
                            name, size - 1);
    memcpy(to, text, length + 1);
    return 0;
}

static int set_pair(struct fm_config *config, const char *key, const char *value,
                    struct fm_error *error)
{
    if (strcmp(key, "listen") == 0)
        return set_text(config->listen, sizeof(config->listen), key, value, error);
    if (strcmp(key, "data") == 0)
        return set_text(config->data, sizeof(config->data), key, value, error);
    if (strcmp(key, "samples") == 0)
        return set_text(config->samples, sizeof(config->samples), key, value, error);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(rows); i++)
        if (strcmp(rows[i].name, key) == 0)
            return set_number(config, &rows[i], value, error);
    return fm_error_set(error, FM_ERR_BAD_REQUEST, "no setting is called '%s'", key);
}

/* Without white space at both ends; changes `text`. */
static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t length = strlen(text);
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        text[--length] = '\0';
    return text;
}

int fm_config_set(struct fm_config *config, const char *text, struct fm_error *error)
{
    char line[LINE_SIZE];
    size_t length = strlen(text);
    if (length >= sizeof(line))
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "a setting of more than %d characters",
                            LINE_SIZE - 1);
    memcpy(line, text, length + 1);
    char *equals = strchr(line, '=');
    if (!equals)
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "'%s' is not KEY=VALUE", text);
    *equals = '\0';
    return set_pair(config, trim(line), trim(equals + 1), error);
}

/* --- sections --------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    const struct fm_config_user *first = a;
    const struct fm_config_user *second = b;
    return strcmp(first->name, second->name);
}

static const struct fm_config_user *find_user(const struct fm_config *config, const char *name)
{
    struct fm_config_user wanted = {0};
    if (config->users_count == 0 || strlen(name) > FM_NAME_LENGTH_MAX)
        return NULL;
    memcpy(wanted.name, name, strlen(name) + 1);
    return bsearch(&wanted, config->users, config->users_count, sizeof(wanted), by_name);
}

void fm_config_quotas(const struct fm_config *config, const char *user, struct fm_quotas *quotas)
{
    const struct fm_config_user *all = find_user(config, "*");
    const struct fm_config_user *own = find_user(config, user);
    if (all)
        fm_quota_set_apply(&all->set, quotas);
    if (own)
        fm_quota_set_apply(&own->set, quotas);
}

static int add_user(struct fm_config *config, const char *name, struct fm_error *error)
{
    size_t count = config->users_count;
    if (count == FM_CONFIG_USERS_MAX)
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "more than %d sections",
                            FM_CONFIG_USERS_MAX);
    if ((count & (count - 1)) == 0) { /* full: it has room for the next power of two */
        size_t room = count ? 2 * count : 1;
        struct fm_config_user *users = realloc(config->users, room * sizeof(*users));
        if (!users)
            return fm_error_set(error, FM_ERR_NOMEM, "%s", fm_err_meaning(FM_ERR_NOMEM));
        config->users = users;
    }
    struct fm_config_user *user = &config->users[config->users_count++];
    *user = (struct fm_config_user){0};
    memcpy(user->name, name, strlen(name) + 1);
    return 0;
}

/* `line` is `[user NAME]`; changes it. */
static int begin_section(struct fm_config *config, char *line, struct fm_error *error)
{
    size_t length = strlen(line);
    if (line[length - 1] != ']')
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "'%s' lacks its ']'", line);
    line[length - 1] = '\0';
    char *kind = trim(line + 1);
    size_t kind_length = strcspn(kind, " \t");
    const char *name = trim(kind + kind_length);
    if (kind_length != strlen("user") || strncmp(kind, "user", kind_length) != 0)
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "a section must be [user NAME], not [%s]",
                            kind);
    if (strcmp(name, "*") != 0 && !fm_name_valid(name, strlen(name)))
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "'%.80s' is no name of a user", name);
    return add_user(config, name, error);
}

static int set_quota(struct fm_config_user *user, char *line, struct fm_error *error)
{
    char *equals = strchr(line, '=');
    if (!equals)
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "'%s' is not KEY=VALUE", line);
    *equals = '\0';
    const char *key = trim(line);
    const struct fm_quota_row *row = fm_quota_row_find(key);
    if (!row)
        return fm_error_set(error, FM_ERR_BAD_REQUEST,
                            "no quota is called '%s' (other settings stand before the sections)",
                            key);
    uint64_t value = 0;
    int failed = fm_quota_parse(row, trim(equals + 1), &value, error);
    if (!failed)
        fm_quota_set_put(&user->set, row, value);
    return failed;
}

static int sort_users(struct fm_config *config, const char *path, struct fm_error *error)
{
    if (config->users_count > 1)
        qsort(config->users, config->users_count, sizeof(config->users[0]), by_name);
    for (size_t i = 1; i < config->users_count; i++)
        if (by_name(&config->users[i - 1], &config->users[i]) == 0)
            return fm_error_set(error, FM_ERR_BAD_REQUEST, "%s: two sections [user %s]", path,
                                config->users[i].name);
    return 0;
}

/* --- files ------------------------------------------------------------------------------------ */

/* `*section`: whether a section has begun, that is the last one in the list. */
static int read_line(struct fm_config *config, char *line, bool *section, struct fm_error *error)
{
    size_t length = strlen(line);
    if (length == LINE_SIZE - 1 && line[length - 1] != '\n')
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "the line is too long");
    char *comment = strchr(line, '#');
    if (comment)
        *comment = '\0';
    char *setting = trim(line);
    if (setting[0] == '\0')
        return 0;
    if (setting[0] == '[') {
        *section = true;
        return begin_section(config, setting, error);
    }
    return *section ? set_quota(&config->users[config->users_count - 1], setting, error)
                    : fm_config_set(config, setting, error);
}

int fm_config_read(struct fm_config *config, const char *path, struct fm_error *error)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return fm_error_errno(error, errno, "cannot read '%s'", path);
    char line[LINE_SIZE];
    bool section = false;
    int failed = 0;
    for (unsigned number = 1; !failed && fgets(line, sizeof(line), file); number++) {
        struct fm_error cause = {0};
        failed = read_line(config, line, &section, &cause);
        if (failed)
            failed = fm_error_set(error, failed, "%s:%u: %s", path, number, cause.text);
    }
    if (!failed && ferror(file))
        failed = fm_error_errno(error, errno, "cannot read '%s'", path);
    (void)fclose(file); /* only read */
    return failed ? failed : sort_users(config, path, error);
}

static void derive(uint64_t *value, uint64_t fitting)
{
    if (*value == FM_CONFIG_AUTO)
        *value = fitting;
}

uint64_t fm_config_slots_beside(const struct fm_config *config)
{
    return config->workers * (config->await_depth + FM_ENGINE_SLOTS_CLEARING);
}

/* All of the pool shares what vm.max_map_count allows. */
static uint64_t fitting_slots(uint64_t slots, const struct fm_config *config)
{
    uint64_t ceiling = fm_engine_slots_ceiling();
    return fm_min_u64(slots, ceiling - fm_min_u64(fm_config_slots_beside(config), ceiling / 2));
}

void fm_config_derive(struct fm_config *config)
{
    struct fm_engine_config engine;
    fm_engine_config_init(&engine, true);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t memory = fm_cgroup_memory_bytes("");
    bool workers_auto = config->workers == FM_CONFIG_AUTO;
    derive(&config->workers, cores < 1 ? 1 : fm_min_u64((uint64_t)cores, WORKERS_AUTO_MAX));
    derive(&config->slots, fitting_slots(engine.slots, config));
    if (workers_auto) /* each needs one */
        config->workers = fm_min_u64(config->workers, config->slots);
    derive(&config->keep_resident_bytes, engine.keep_resident_bytes);
    derive(&config->keep_total_bytes, engine.keep_total_bytes);
    derive(&config->warm_slots, fm_min_u64(engine.warm_slots, config->slots));
    derive(&config->page_scanning, engine.page_scanning);
    derive(&config->modules_bytes, fm_max_u64(memory / 8, 64 * FM_MIB));
    derive(&config->files_memory_bytes, fm_max_u64(memory / 8, 64 * FM_MIB));
    derive(&config->records_bytes, fm_max_u64(memory / 16 / config->workers, 16 * FM_MIB));
}

static void print_user(const struct fm_config_user *user, FILE *out)
{
    (void)fprintf(out, "[user %s]\n", user->name);
    for (size_t i = 0; i < fm_quota_rows_count; i++) {
        const struct fm_quota_row *row = &fm_quota_rows[i];
        char text[FM_UNITS_TEXT_SIZE];
        if (!fm_quota_set_has(&user->set, row))
            continue;
        fm_units_format(fm_quotas_value(&user->set.values, row), row->unit, text);
        (void)fprintf(out, "%s = %s\n", row->name, text);
    }
    (void)fprintf(out, "\n");
}

void fm_config_print(const struct fm_config *config, FILE *out)
{
    for (size_t i = 0; i < FM_ARRAY_LENGTH(rows); i++) {
        char text[FM_UNITS_TEXT_SIZE];
        format_value(&rows[i], value_of(config, &rows[i]), text);
        (void)fprintf(out, "# %s\n%s = %s\n\n", rows[i].prose, rows[i].name, text);
    }
    for (size_t i = 0; i < config->users_count; i++)
        print_user(&config->users[i], out);
}
