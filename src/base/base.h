/* base.h - the few macros that every file uses. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FM_MUST_CHECK __attribute__((warn_unused_result))
#define FM_PRINTF(position, first) __attribute__((format(printf, position, first)))
#define FM_CLEANUP(function) __attribute__((cleanup(function)))

#define FM_ARRAY_LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define FM_CONTAINER_OF(pointer, type, member)                                                     \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define FM_LIKELY(x) __builtin_expect(!!(x), 1)
#define FM_UNLIKELY(x) __builtin_expect(!!(x), 0)

#define FM_KIB (UINT64_C(1) << 10)
#define FM_MIB (UINT64_C(1) << 20)
#define FM_GIB (UINT64_C(1) << 30)

#define FM_NS_PER_US UINT64_C(1000)
#define FM_NS_PER_MS UINT64_C(1000000)
#define FM_NS_PER_S UINT64_C(1000000000)

/* A programmer's mistake: on in release builds too, because a crash is safer than going on. */
#define FM_ASSERT(condition)                                                                       \
    do {                                                                                           \
        if (FM_UNLIKELY(!(condition)))                                                             \
            fm_assert_failed(#condition, __FILE__, __LINE__, __func__);                            \
    } while (0)

_Noreturn void fm_assert_failed(const char *condition, const char *file, int line,
                                const char *function);

static inline uint64_t fm_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t fm_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}
