/* registry.c - one worker's map of functions.
 *
 *      "simon/echo" -> fm_function -> current -> fm_slot (version 3, module loaded, 12 calls)
 *                                  -> slots   -> fm_slot (version 2, retired, 1 call)
 *
 * A slot is freed when it is retired and its last call is freed; a function when it is removed and
 * its last slot is freed. */
#include "sched/registry.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "call/recent.h"

#define KEY_SIZE (2 * FM_NAME_LENGTH_MAX + 2)

void fm_registry_init(struct fm_registry *registry, struct fm_modules *modules,
                      struct fm_mailbox *mailbox)
{
    *registry = (struct fm_registry){.modules = modules, .mailbox = mailbox};
    fm_map_init(&registry->functions);
}

static size_t make_key(char key[KEY_SIZE], const char *user, size_t user_length,
                       const char *function, size_t function_length)
{
    memcpy(key, user, user_length);
    key[user_length] = '/';
    memcpy(key + user_length + 1, function, function_length);
    key[user_length + 1 + function_length] = '\0';
    return user_length + 1 + function_length;
}

struct fm_function *fm_registry_find(struct fm_registry *registry, const char *user,
                                     size_t user_length, const char *function,
                                     size_t function_length)
{
    if (user_length > FM_NAME_LENGTH_MAX || function_length > FM_NAME_LENGTH_MAX)
        return NULL;
    char key[KEY_SIZE];
    size_t length = make_key(key, user, user_length, function, function_length);
    struct fm_map_node *node = fm_map_get(&registry->functions, key, length);
    return node ? FM_CONTAINER_OF(node, struct fm_function, node) : NULL;
}

/* --- slots ------------------------------------------------------------------------------------ */

static void free_function_if_unused(struct fm_function *function)
{
    if (function->current || !fm_list_empty(&function->slots))
        return;
    fm_map_remove(&function->registry->functions, &function->node);
    free(function->key);
    free(function);
}

static void put_module(struct fm_slot *slot)
{
    if (slot->module)
        fm_modules_put(slot->registry->modules, slot->code);
    slot->module = NULL;
}

static void free_slot_if_unused(struct fm_slot *slot)
{
    if (!slot->retired || slot->calls > 0 || slot->loading)
        return;
    struct fm_function *function = slot->function;
    put_module(slot);
    fm_recent_function_drop(slot->recent);
    fm_lease_done(&slot->concurrency);
    fm_code_release(slot->registry->modules, slot->code);
    fm_list_remove(&slot->link);
    free(slot);
    free_function_if_unused(function);
}

static void retire(struct fm_slot *slot)
{
    slot->retired = true;
    free_slot_if_unused(slot);
}

void fm_slot_call_begin(struct fm_slot *slot)
{
    slot->calls++;
    fm_evictable_use(&slot->code->resident);
}

void fm_slot_call_end(struct fm_slot *slot)
{
    FM_ASSERT(slot->calls > 0);
    slot->calls--;
    free_slot_if_unused(slot);
}

static void on_loaded(struct fm_load *load)
{
    struct fm_slot *slot = FM_CONTAINER_OF(load, struct fm_slot, load);
    slot->loading = false;
    slot->module = load->module;
    slot->calls++; /* on_loaded may end the last call of a retired slot */
    slot->registry->on_loaded(slot, load->module ? NULL : &load->error);
    fm_slot_call_end(slot);
}

int fm_slot_load(struct fm_slot *slot)
{
    FM_ASSERT(!slot->module && !slot->loading);
    slot->module = fm_modules_get(slot->registry->modules, slot->code);
    if (slot->module)
        return 0; /* another worker had loaded it */
    slot->load.code = slot->code;
    slot->load.on_loaded = on_loaded;
    int failed =
        fm_modules_load_start(slot->registry->modules, &slot->load, slot->registry->mailbox);
    slot->loading = !failed;
    return failed;
}

/* --- news ------------------------------------------------------------------------------------- */

static struct fm_function *add_function(struct fm_registry *registry, const char *user,
                                        const char *name)
{
    struct fm_function *function = calloc(1, sizeof(*function));
    char *key = malloc(KEY_SIZE);
    if (!function || !key)
        goto failed;
    size_t length = make_key(key, user, strlen(user), name, strlen(name));
    function->key = key;
    function->user_length = strlen(user);
    function->registry = registry;
    fm_list_init(&function->slots);
    if (fm_map_put(&registry->functions, &function->node, key, length) != 0)
        goto failed;
    return function;
failed:
    free(key);
    free(function);
    return NULL;
}

/* Whether its calls can have children, which belong to the worker that made them. */
static bool starts_calls(const struct fm_version *version)
{
    return fm_module_imports(&version->facts, "faasm.call_start") ||
           fm_module_imports(&version->facts, "env.__faasm_chain_name");
}

int fm_registry_publish(struct fm_registry *registry, struct fm_code *code, uint64_t sequence)
{
    const struct fm_version *version = code->version;
    struct fm_function *function = fm_registry_find(registry, version->user, strlen(version->user),
                                                    version->function, strlen(version->function));
    if (function && function->sequence >= sequence) { /* something newer came first */
        fm_code_release(registry->modules, code);
        return 0;
    }
    struct fm_slot *slot = calloc(1, sizeof(*slot));
    if (slot && !function)
        function = add_function(registry, version->user, version->function);
    if (!slot || !function) {
        free(slot);
        fm_code_release(registry->modules, code);
        return FM_ERR_NOMEM;
    }
    slot->function = function;
    slot->registry = registry;
    slot->code = code;
    slot->starts_calls = starts_calls(version);
    fm_lease_init(&slot->concurrency, &code->concurrency);
    fm_list_init(&slot->waiting);
    fm_list_init(&slot->blocked);
    fm_list_init(&slot->blocked_link);
    fm_list_push_back(&function->slots, &slot->link);
    struct fm_slot *before = function->current;
    function->current = slot;
    function->sequence = sequence;
    if (before)
        retire(before);
    return 0;
}

void fm_registry_remove(struct fm_registry *registry, const char *user, const char *name,
                        uint64_t sequence)
{
    struct fm_function *function =
        fm_registry_find(registry, user, strlen(user), name, strlen(name));
    if (!function || function->sequence >= sequence)
        return;
    function->sequence = sequence;
    struct fm_slot *slot = function->current;
    function->current = NULL;
    if (slot)
        retire(slot);
    /* When it had no slot at all it was freed with the last one. */
}

void fm_registry_evict(struct fm_registry *registry, const struct fm_code *code)
{
    const struct fm_version *version = code->version;
    struct fm_function *function = fm_registry_find(registry, version->user, strlen(version->user),
                                                    version->function, strlen(version->function));
    if (!function)
        return;
    FM_LIST_FOREACH(&function->slots, link)
    {
        struct fm_slot *slot = FM_LIST_ENTRY(link, struct fm_slot, link);
        if (slot->code == code && slot->calls == 0 && !slot->loading)
            put_module(slot);
    }
}

void fm_registry_done(struct fm_registry *registry)
{
    for (;;) {
        struct fm_map_node *node = fm_map_next(&registry->functions, NULL);
        if (!node)
            break;
        struct fm_function *function = FM_CONTAINER_OF(node, struct fm_function, node);
        struct fm_slot *slot = function->current;
        FM_ASSERT(slot && slot->calls == 0);
        function->current = NULL;
        retire(slot);
    }
    fm_map_done(&registry->functions);
}
