/* function.c - a version is built once, by deep copy into its own arena, and never changes. */
#include "call/function.h"

#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES_MAX (16 * FM_MIB)

static const char *const abi_texts[] = {
    [FM_ABI_FAASM] = "faasm",
    [FM_ABI_WASI] = "wasi",
    [FM_ABI_FAASM_2018] = "faasm-2018",
    [FM_ABI_REACTOR] = "reactor",
};

const char *fm_abi_text(enum fm_abi abi)
{
    return abi_texts[abi];
}

int fm_abi_parse(const char *text, enum fm_abi *ret_abi)
{
    for (size_t i = 0; i < FM_ARRAY_LENGTH(abi_texts); i++) {
        if (strcmp(text, abi_texts[i]) == 0) {
            *ret_abi = (enum fm_abi)i;
            return 0;
        }
    }
    return FM_ERR_BAD_REQUEST;
}

size_t fm_imports_bytes(const char *const *names, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += strlen(names[i]) + strlen("\"\",");
    return bytes;
}

static int copy_text(struct fm_arena *arena, const char *from, const char **ret_to)
{
    const char *copy = fm_arena_strndup(arena, from ? from : "", from ? strlen(from) : 0);
    if (!copy)
        return FM_ERR_NOMEM;
    *ret_to = copy;
    return 0;
}

static int copy_list(struct fm_arena *arena, const char *const *from, size_t count,
                     const char *const **ret_to)
{
    const char **list = fm_arena_alloc(arena, (count + 1) * sizeof(*list));
    if (!list)
        return FM_ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        int failed = copy_text(arena, from[i], &list[i]);
        if (failed)
            return failed;
    }
    list[count] = NULL;
    *ret_to = list;
    return 0;
}

static int copy_all(const struct fm_version *from, struct fm_version *to)
{
    struct fm_arena *arena = &to->arena;
    int failed = copy_text(arena, from->user, &to->user);
    if (!failed)
        failed = copy_text(arena, from->function, &to->function);
    if (!failed)
        failed = copy_text(arena, from->id, &to->id);
    if (!failed)
        failed = copy_text(arena, from->folder, &to->folder);
    if (!failed)
        failed = copy_text(arena, from->sha256, &to->sha256);
    if (!failed)
        failed =
            copy_list(arena, from->facts.imports, from->facts.imports_count, &to->facts.imports);
    if (!failed)
        failed = copy_list(arena, from->env, from->env_count, &to->env);
    if (!failed)
        failed = copy_list(arena, from->args, from->args_count, &to->args);
    return failed;
}

static int compare_import(const void *import, const void *place)
{
    return strcmp(import, *(const char *const *)place);
}

bool fm_module_imports(const struct fm_module_facts *facts, const char *import)
{
    return facts->imports_count > 0 && bsearch(import, facts->imports, facts->imports_count,
                                               sizeof(*facts->imports), compare_import);
}

/* Opening, and what takes a path, and a listing. */
static bool reaches_files(const char *import)
{
    static const char path[] = "wasi_snapshot_preview1.path_";
    return strncmp(import, path, sizeof(path) - 1) == 0 ||
           strcmp(import, "wasi_snapshot_preview1.fd_readdir") == 0;
}

static bool uses_files(const struct fm_module_facts *facts)
{
    for (size_t i = 0; i < facts->imports_count; i++)
        if (reaches_files(facts->imports[i]))
            return true;
    return false;
}

int fm_version_new(const struct fm_version *from, struct fm_version **ret_version)
{
    struct fm_version *version = malloc(sizeof(*version));
    if (!version)
        return FM_ERR_NOMEM;
    *version = *from; /* the plain fields; the pointers are replaced below */
    fm_arena_init(&version->arena, ARENA_BYTES_MAX);
    int failed = copy_all(from, version);
    if (failed) {
        fm_version_free(version);
        return failed;
    }
    const struct fm_module_facts *facts = &version->facts;
    version->uses_files = uses_files(facts);
    version->writes_output = fm_module_imports(facts, "faasm.output_write") ||
                             fm_module_imports(facts, "env.__faasm_write_output");
    version->awaits_outputs = fm_module_imports(facts, "env.__faasm_await_call_output");
    *ret_version = version;
    return 0;
}

struct fm_version *fm_version_free(struct fm_version *version)
{
    if (!version)
        return NULL;
    fm_arena_done(&version->arena);
    free(version);
    return NULL;
}
