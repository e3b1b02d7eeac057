/* classify.c - decides, from a module's imports and exports alone, how it runs.
 *
 *      first row that fits                                               ABI
 *      run(i32,i32,i32,i32) -> i32, nothing from `faasm`, and
 *        no `_start`, or imports from `env` alone                        faasm-2018
 *      `_start`, and something from `faasm`                              faasm
 *      `_start`                                                          wasi
 *      handle() -> i32                                                   reactor
 *
 * Then everything that the ABI may import must be there with the right type, all lacking ones being
 * named at once: whoever gets the answer can fix his module in one go.  The engine's own message
 * would name the first only.  People get a sentence that names as many as fit, with the types that
 * are wrong; programs a list of all.
 *
 * `env` has two kinds of names: those of 2018, for functions of 2018, and those of the Faasm that
 * came later (`__faasm_...`), which count as something from `faasm`.
 *
 * A function of 2018 may import unknown functions of `env`: its C library imported many that are
 * never called, so they become stubs.  What is known must have the right type even there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/module.h"
#include "guest/imports_later.h"
#include "guest/private.h"

#define SIGNATURE_RUN "iiii:i"
#define SIGNATURE_COMMAND ":"
#define SIGNATURE_HANDLE ":i"
#define NAME_SHOWN_MAX 80 /* characters of a name that the module chose, in a message */
#define TYPES_SHOWN_MAX 12
#define REST_BYTES 24 /* kept free for " and 4294967295 more" */

/* --- words for a message ---------------------------------------------------------------------- */

struct words {
    char text[400];
    size_t used;
};

/* False, and nothing written, when it does not fit. */
static bool say(struct words *words, const char *text)
{
    size_t length = strlen(text);
    if (length >= sizeof(words->text) - words->used - REST_BYTES)
        return false;
    memcpy(words->text + words->used, text, length + 1);
    words->used += length;
    return true;
}

/* Names come from the module: graphic ASCII stays, the rest becomes a question mark. */
static void put_name(char *to, size_t size, const char *name)
{
    size_t length = strlen(name);
    size_t shown = length <= NAME_SHOWN_MAX ? length : NAME_SHOWN_MAX;
    FM_ASSERT(shown + sizeof("...") <= size);
    for (size_t i = 0; i < shown; i++)
        to[i] = name[i] > ' ' && name[i] < 0x7f ? name[i] : '?';
    memcpy(to + shown, shown < length ? "..." : "", shown < length ? sizeof("...") : 1);
}

static const char *type_name(char letter)
{
    switch (letter) {
    case 'i':
        return "i32";
    case 'I':
        return "i64";
    case 'f':
        return "f32";
    case 'F':
        return "f64";
    default:
        return "other";
    }
}

/* "ii:i" as "(i32,i32)->i32"; a very long list ends in dots. */
static void put_type(char *to, size_t size, const char *signature)
{
    size_t used = (size_t)snprintf(to, size, "(");
    size_t types = 0;
    bool after_colon = false;
    for (const char *at = signature; *at && types < TYPES_SHOWN_MAX; at++) {
        if (*at == ':') {
            used += (size_t)snprintf(to + used, size - used, ")->");
            after_colon = true;
            types = 0;
            continue;
        }
        used += (size_t)snprintf(to + used, size - used, "%s%s", types ? "," : "", type_name(*at));
        types++;
    }
    if (types == TYPES_SHOWN_MAX)
        used += (size_t)snprintf(to + used, size - used, "...");
    else if (after_colon && types == 0)
        used += (size_t)snprintf(to + used, size - used, "()");
    FM_ASSERT(used < size);
}

static const char *kind_word(enum fm_extern_kind kind)
{
    switch (kind) {
    case FM_EXTERN_FUNCTION:
        return "";
    case FM_EXTERN_MEMORY:
        return "memory ";
    case FM_EXTERN_TABLE:
        return "table ";
    case FM_EXTERN_GLOBAL:
        return "global ";
    case FM_EXTERN_OTHER:
        break;
    }
    return "tag ";
}

/* --- imports ---------------------------------------------------------------------------------- */

/* Of the Faasm that came after 2018, whether we have it or not. */
static bool is_later(const struct fm_extern *item)
{
    return strcmp(item->module, "env") == 0 &&
           strncmp(item->name, FM_LATER_PREFIX, strlen(FM_LATER_PREFIX)) == 0;
}

static bool module_allowed(enum fm_abi abi, const struct fm_extern *item)
{
    if (strcmp(item->module, "wasi_snapshot_preview1") == 0)
        return true;
    if (abi == FM_ABI_FAASM_2018)
        return strcmp(item->module, "env") == 0;
    return strcmp(item->module, "faasm") == 0 || is_later(item);
}

/* `ret_known` is the row it was compared with, when only its type is wrong. */
static bool import_fits(enum fm_abi abi, const struct fm_extern *item,
                        const struct fm_import **ret_known)
{
    *ret_known = NULL;
    if (item->kind != FM_EXTERN_FUNCTION || !module_allowed(abi, item))
        return false;
    const struct fm_import *known = fm_guest_import_find(item->module, item->name);
    if (!known) /* no name of later may turn into a stub that traps: it is not 2018's at all */
        return abi == FM_ABI_FAASM_2018 && strcmp(item->module, "env") == 0 && !is_later(item);
    *ret_known = known;
    return strcmp(known->signature, item->signature) == 0;
}

/* The types are given in full where they are what is wrong. */
static bool say_import(struct words *words, bool first, const struct fm_extern *item,
                       const struct fm_import *known)
{
    char module[NAME_SHOWN_MAX + 4];
    char name[NAME_SHOWN_MAX + 4];
    char types[2][100] = {"", ""};
    put_name(module, sizeof(module), item->module);
    put_name(name, sizeof(name), item->name);
    if (known) {
        put_type(types[0], sizeof(types[0]), item->signature);
        put_type(types[1], sizeof(types[1]), known->signature);
    }
    char text[sizeof(module) + sizeof(name) + sizeof(types) + 48];
    (void)snprintf(text, sizeof(text), "%s%s%s.%s%s%s%s%s%s", first ? "" : ", ",
                   kind_word(item->kind), module, name, known ? " of type " : "", types[0],
                   known ? " (it is " : "", types[1], known ? ")" : "");
    return say(words, text);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* "module.name", sorted, each once. */
static int list_imports(const struct fm_extern *const *items, size_t count, struct fm_arena *arena,
                        const char *const **ret_names, size_t *ret_count)
{
    const char **names = fm_arena_alloc(arena, (count + 1) * sizeof(*names));
    if (!names)
        return FM_ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(items[i]->module) + strlen(items[i]->name) + 2;
        char *text = fm_arena_alloc(arena, size);
        if (!text)
            return FM_ERR_NOMEM;
        (void)snprintf(text, size, "%s.%s", items[i]->module, items[i]->name);
        names[i] = text;
    }
    if (count > 0)
        qsort(names, count, sizeof(*names), compare_texts);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || strcmp(names[kept - 1], names[i]) != 0)
            names[kept++] = names[i];
    *ret_names = names;
    *ret_count = kept;
    return 0;
}

/* All imports, or those that do not fit; both in the module's order. */
struct imports {
    const struct fm_extern **items;
    size_t count;
};

static int list_missing(const struct imports *lacking, struct fm_arena *arena,
                        struct fm_missing_imports *missing)
{
    struct fm_missing_imports all;
    if (list_imports(lacking->items, lacking->count, arena, &all.names, &all.count) != 0)
        return FM_ERR_NOMEM;
    if (fm_imports_bytes(all.names, all.count) > FM_IMPORTS_BYTES_MAX)
        all.names = NULL;
    *missing = all;
    return 0;
}

/* Of some names of later: why they are not there. */
static const struct {
    const char *start; /* of the name */
    const char *reason;
} later_reasons[] = {
    {"__faasm_chain_ptr", "calls are made by name, not by function pointer"},
    {"__faasm_s3_", "there is no object storage"},
    {"__faasm_sm_", "a call has no threads"},
    {"__faasm_migrate_point", "a call stays on its machine"},
};

/* Of the first that has one; else "". */
static const char *reason_for(const struct imports *lacking)
{
    for (size_t i = 0; i < lacking->count; i++)
        for (size_t j = 0; j < FM_ARRAY_LENGTH(later_reasons); j++)
            if (is_later(lacking->items[i]) &&
                strncmp(lacking->items[i]->name, later_reasons[j].start,
                        strlen(later_reasons[j].start)) == 0)
                return later_reasons[j].reason;
    return "";
}

static int refuse_imports(const struct imports *lacking, enum fm_abi abi, struct fm_error *error)
{
    struct words words = {.used = 0};
    size_t said = 0;
    for (; said < lacking->count; said++) { /* once one does not fit, the rest is a number */
        const struct fm_import *known = NULL;
        (void)import_fits(abi, lacking->items[said], &known); /* it does not */
        if (!say_import(&words, said == 0, lacking->items[said], known))
            break;
    }
    char rest[48] = "";
    if (said < lacking->count)
        (void)snprintf(rest, sizeof(rest), "%s%zu more", said ? " and " : "",
                       lacking->count - said);
    const char *reason = reason_for(lacking);
    return fm_error_set(error, FM_ERR_UNSUPPORTED_MODULE,
                        "the module imports what this server lacks: %s%s%s%s", words.text, rest,
                        reason[0] ? "; " : "", reason);
}

/* Fills in `missing`, or the facts. */
static int check_imports(const struct fm_module_shape *shape, struct fm_arena *arena,
                         struct fm_module_facts *facts, struct fm_missing_imports *missing,
                         struct fm_error *error)
{
    const size_t bytes = (shape->imports_count + 1) * sizeof(const struct fm_extern *);
    struct imports all = {.items = fm_arena_alloc(arena, bytes)};
    struct imports lacking = {.items = fm_arena_alloc(arena, bytes)};
    if (!all.items || !lacking.items)
        return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < shape->imports_count; i++) {
        const struct fm_import *known = NULL;
        all.items[all.count++] = &shape->imports[i];
        if (!import_fits(facts->abi, &shape->imports[i], &known))
            lacking.items[lacking.count++] = &shape->imports[i];
    }
    if (lacking.count > 0) {
        if (missing && list_missing(&lacking, arena, missing) != 0)
            return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
        return refuse_imports(&lacking, facts->abi, error);
    }
    if (list_imports(all.items, all.count, arena, &facts->imports, &facts->imports_count) != 0)
        return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    size_t names_bytes = fm_imports_bytes(facts->imports, facts->imports_count);
    if (names_bytes <= FM_IMPORTS_BYTES_MAX)
        return 0;
    return fm_error_set(error, FM_ERR_UNSUPPORTED_MODULE,
                        "the names of the module's imports take %zu bytes, at most %zu are "
                        "accepted",
                        names_bytes, (size_t)FM_IMPORTS_BYTES_MAX);
}

/* --- exports ---------------------------------------------------------------------------------- */

static const struct fm_extern *find_export(const struct fm_module_shape *shape, const char *name,
                                           enum fm_extern_kind kind)
{
    for (size_t i = 0; i < shape->exports_count; i++)
        if (shape->exports[i].kind == kind && strcmp(shape->exports[i].name, name) == 0)
            return &shape->exports[i];
    return NULL;
}

static bool exports_as(const struct fm_module_shape *shape, const char *name, const char *signature)
{
    const struct fm_extern *found = find_export(shape, name, FM_EXTERN_FUNCTION);
    return found && strcmp(found->signature, signature) == 0;
}

static size_t count_imports_from(const struct fm_module_shape *shape, const char *module)
{
    size_t count = 0;
    for (size_t i = 0; i < shape->imports_count; i++)
        count += strcmp(shape->imports[i].module, module) == 0;
    return count;
}

static size_t count_later_imports(const struct fm_module_shape *shape)
{
    size_t count = 0;
    for (size_t i = 0; i < shape->imports_count; i++)
        count += is_later(&shape->imports[i]);
    return count;
}

/* An entry of the right name and the wrong type deserves to be told apart from none. */
static int refuse_entry(const struct fm_module_shape *shape, struct fm_error *error)
{
    static const struct {
        const char *name;
        const char *signature;
    } entries[] = {
        {"_start", SIGNATURE_COMMAND}, {"handle", SIGNATURE_HANDLE}, {"run", SIGNATURE_RUN}};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(entries); i++) {
        const struct fm_extern *found = find_export(shape, entries[i].name, FM_EXTERN_FUNCTION);
        if (!found || strcmp(found->signature, entries[i].signature) == 0)
            continue;
        char has[100];
        char needs[100];
        put_type(has, sizeof(has), found->signature);
        put_type(needs, sizeof(needs), entries[i].signature);
        return fm_error_set(error, FM_ERR_UNSUPPORTED_MODULE,
                            "the module exports `%s` with the type %s instead of %s",
                            entries[i].name, has, needs);
    }
    return fm_error_set(error, FM_ERR_UNSUPPORTED_MODULE,
                        "the module exports no entry: `_start`, `handle` or, for functions of "
                        "2018, `run`");
}

static int choose_abi(const struct fm_module_shape *shape, enum fm_abi *ret_abi,
                      struct fm_error *error)
{
    bool start = exports_as(shape, "_start", SIGNATURE_COMMAND);
    size_t from_faasm = count_imports_from(shape, "faasm") + count_later_imports(shape);
    bool env_alone = count_imports_from(shape, "env") == shape->imports_count;
    if (exports_as(shape, "run", SIGNATURE_RUN) && from_faasm == 0 && (!start || env_alone))
        *ret_abi = FM_ABI_FAASM_2018;
    else if (start)
        *ret_abi = from_faasm > 0 ? FM_ABI_FAASM : FM_ABI_WASI;
    else if (exports_as(shape, "handle", SIGNATURE_HANDLE))
        *ret_abi = FM_ABI_REACTOR;
    else
        return refuse_entry(shape, error);
    return 0;
}

/* A command brings its own start-up code; what has none may export `_initialize` to be called
 * first. */
static int check_initialize(const struct fm_module_shape *shape, enum fm_abi abi,
                            bool *ret_initialize, struct fm_error *error)
{
    bool may = abi == FM_ABI_REACTOR || abi == FM_ABI_FAASM_2018;
    const struct fm_extern *found = find_export(shape, "_initialize", FM_EXTERN_FUNCTION);
    *ret_initialize = may && found;
    if (!*ret_initialize || strcmp(found->signature, SIGNATURE_COMMAND) == 0)
        return 0;
    char has[100];
    put_type(has, sizeof(has), found->signature);
    return fm_error_set(error, FM_ERR_UNSUPPORTED_MODULE,
                        "the module exports `_initialize` with the type %s instead of ()->()", has);
}

int fm_guest_classify(const struct fm_module *module, struct fm_arena *arena,
                      struct fm_module_facts *ret_facts, struct fm_missing_imports *missing,
                      struct fm_error *error)
{
    struct fm_module_shape shape;
    struct fm_module_facts facts = {0};
    if (fm_module_shape(module, arena, &shape) != 0)
        return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    int failed = choose_abi(&shape, &facts.abi, error);
    if (!failed)
        failed = check_initialize(&shape, facts.abi, &facts.has_initialize, error);
    if (failed)
        return failed;

    const struct fm_extern *memory = find_export(&shape, "memory", FM_EXTERN_MEMORY);
    if (!memory)
        return fm_error_set(error, FM_ERR_UNSUPPORTED_MODULE,
                            "the module exports no memory named `memory`");
    facts.memory_pages_min = memory->memory_pages_min;
    failed = check_imports(&shape, arena, &facts, missing, error);
    if (!failed)
        *ret_facts = facts;
    return failed;
}

int fm_guest_prepare(struct fm_module *module, enum fm_abi abi, struct fm_error *error)
{
    return fm_module_prepare(module, abi == FM_ABI_FAASM_2018, error);
}
