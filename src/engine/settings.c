/* settings.c - how code is generated and how memory is laid out.
 *
 * One function builds the engine's configuration from struct fm_engine_config.  What shapes machine
 * code is the same for every process and stands here as constants; what shapes the pool comes from
 * the configuration.  The compile process uses the same function with `pooled` off: the allocator
 * is not part of a compiled module.
 *
 * A guest's memory is reserved as 4 GiB of addresses with a guard behind it, so that 32-bit
 * addresses need no check in code.  It never moves.  The pool prepares all slots' addresses at
 * start; a slot costs memory only when it is used. */
#include "engine/private.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cgroup.h"
#include "base/limits.h"

#define GUARD_BYTES (32 * FM_MIB)
#define RESERVATION_BYTES (4 * FM_GIB)
#define HOST_STACK_BYTES (256 * FM_KIB) /* of a fiber, for host functions on top of the guest */
#define SLOTS_MAX 10000
#define CLEARING_BATCH                                                                             \
    1 /* regions; with more, slots take turns, and each call finds cold memory                     \
       */
#define TABLES_PER_MODULE_MAX 4
#define MAPPINGS_PER_SLOT 6           /* stack and its guard, image, zeros, rest, guard */
#define MAPPINGS_RESERVED 4096        /* for the rest of the process */
#define MAPPINGS_DEFAULT 65530        /* of Linux */
#define SLOT_SHARE_BYTES (4 * FM_MIB) /* of the memory there is, per slot by default */
#define RESIDENT_SHARE 64             /* of the memory there is may stay in free slots */
#define WARM_SLOTS_MAX 256

_Static_assert(3 * CLEARING_BATCH <= FM_ENGINE_SLOTS_CLEARING, "a pool has room for them");

uint32_t fm_engine_slots_ceiling(void)
{
    long mappings = MAPPINGS_DEFAULT;
    FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
    if (file) {
        char text[32];
        if (fgets(text, sizeof(text), file))
            mappings = strtol(text, NULL, 10);
        (void)fclose(file); /* only read */
    }
    long slots = (mappings - MAPPINGS_RESERVED) / MAPPINGS_PER_SLOT;
    if (slots < 16)
        return 16;
    return slots > SLOTS_MAX ? SLOTS_MAX : (uint32_t)slots;
}

void fm_engine_config_init(struct fm_engine_config *config, bool pooled)
{
    uint64_t memory = fm_cgroup_memory_bytes("");
    bool scanning = fm_wt_pagemap_scan_available();
    /* With scanning it is a ceiling, and keep.c decides; without it every reset rewrites all of it,
     * and nobody counts what all slots keep. */
    uint64_t keep = scanning ? 4 * FM_MIB : 256 * FM_KIB;
    uint64_t kept_slots = scanning ? WARM_SLOTS_MAX : memory / RESIDENT_SHARE / keep + 1;

    *config = (struct fm_engine_config){
        .pooled = pooled,
        .slots = (uint32_t)fm_min_u64(fm_engine_slots_ceiling(), memory / SLOT_SHARE_BYTES + 1),
        .memory_bytes_max = FM_GIB,
        .stack_bytes = FM_MIB,
        .keep_resident_bytes = keep,
        .keep_total_bytes = memory / RESIDENT_SHARE,
        .warm_slots = fm_min_u64(WARM_SLOTS_MAX, kept_slots),
        .page_scanning = scanning,
        .compile_parallel = true,
    };
}

static void set_features(wasm_config_t *settings)
{
    /* Each proposal is decided here, not by the engine's default. */
    wasmtime_config_wasm_simd_set(settings, true);
    wasmtime_config_wasm_relaxed_simd_set(settings, true);
    wasmtime_config_wasm_bulk_memory_set(settings, true);
    wasmtime_config_wasm_multi_value_set(settings, true);
    wasmtime_config_wasm_reference_types_set(settings, true);
    wasmtime_config_wasm_function_references_set(settings, true);
    wasmtime_config_wasm_tail_call_set(settings, true);
    wasmtime_config_gc_support_set(settings,
                                   true); /* exceptions need it; wasm_gc does not follow */
    wasmtime_config_wasm_gc_set(settings, false);
    wasmtime_config_wasm_exceptions_set(settings, true);
    wasmtime_config_wasm_multi_memory_set(settings, false);
    wasmtime_config_wasm_memory64_set(settings, false);
    wasmtime_config_wasm_wide_arithmetic_set(settings, false);
    wasmtime_config_wasm_custom_page_sizes_set(settings, false);
    wasmtime_config_wasm_stack_switching_set(settings, false);
}

static void set_pool(wasm_config_t *settings, const struct fm_engine_config *config)
{
    wasmtime_pooling_allocation_config_t *pool = wasmtime_pooling_allocation_config_new();
    uint32_t slots = config->slots;
#define POOL(knob, value) wasmtime_pooling_allocation_config_##knob##_set(pool, value)
    POOL(total_memories, slots);
    POOL(total_core_instances, slots);
    POOL(total_stacks, slots);
    POOL(total_gc_heaps, slots);
    POOL(total_tables, slots * TABLES_PER_MODULE_MAX);
    POOL(max_tables_per_module, TABLES_PER_MODULE_MAX);
    POOL(max_memories_per_module, 1);
    POOL(table_elements, FM_TABLE_ELEMENTS_MAX);
    POOL(max_memory_size, (size_t)config->memory_bytes_max);
    POOL(max_unused_warm_slots, (uint32_t)config->warm_slots);
    POOL(decommit_batch_size, CLEARING_BATCH);
    POOL(linear_memory_keep_resident, (size_t)config->keep_resident_bytes);
    POOL(table_keep_resident, 16 * FM_KIB);
#undef POOL
    /* Also where it is off, so that scan.c is asked and has each slot given back whole. */
    fm_wt_pool_pagemap_scan(pool, fm_wt_pagemap_scan_available());
    wasmtime_pooling_allocation_strategy_set(settings, pool);
    wasmtime_pooling_allocation_config_delete(pool);
}

uint64_t fm_settings_fiber_bytes(const struct fm_engine_config *config)
{
    return config->stack_bytes + HOST_STACK_BYTES;
}

wasm_config_t *fm_settings_new(const struct fm_engine_config *config)
{
    wasm_config_t *settings = wasm_config_new();
    set_features(settings);
    wasmtime_config_strategy_set(settings, WASMTIME_STRATEGY_CRANELIFT);
    wasmtime_config_cranelift_opt_level_set(settings, WASMTIME_OPT_LEVEL_SPEED);
    wasmtime_config_parallel_compilation_set(settings, config->compile_parallel);
    wasmtime_config_epoch_interruption_set(settings, true);
    wasmtime_config_native_unwind_info_set(settings, false); /* registration is quadratic */
    wasmtime_config_memory_may_move_set(settings, false);
    wasmtime_config_memory_reservation_set(
        settings, config->reserve_little ? config->memory_bytes_max : RESERVATION_BYTES);
    wasmtime_config_memory_guard_size_set(settings, GUARD_BYTES);
    wasmtime_config_memory_init_cow_set(settings, true);
    wasmtime_config_max_wasm_stack_set(settings, (size_t)config->stack_bytes);
    wasmtime_config_async_stack_size_set(settings, (size_t)fm_settings_fiber_bytes(config));
    fm_wt_config_backtrace(settings, FM_BACKTRACE_FRAMES_MAX);
    fm_wt_config_coredump(settings, true); /* names, no content: costs nothing measurable */
    if (config->compile_cache)
        fm_wt_config_cache(settings, config->compile_cache);
    if (config->pooled)
        set_pool(settings, config);
    return settings;
}
