/* libstrings.c - the functions of string.h in which programs spend their time, sixteen bytes at a
 * time.  wasi-libc has them byte by byte or word by word, for engines without vectors; the linker
 * takes these, as they stand before its archive.
 *
 * The searches read whole aligned vectors, also beyond the end of a string: a vector that holds one
 * of its bytes lies in memory, whose size is a multiple of a vector's.  In C's eyes such reads are
 * wrong, so none of this may become a part of its callers: the object is never made for link-time
 * optimisation.
 *
 * To copy and to fill are instructions by now (3 ns a call in the engine, then as fast as the
 * machine can).  Compiled code uses them by itself; what arrives here are the calls of wasi-libc,
 * which is older than they are. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <wasm_simd128.h>

#define STEP sizeof(v128_t)

/* The vector that holds the byte at `text`, and a mask of its bytes from there on. */
static v128_t *vector_of(const char *text, uint32_t *ret_mask)
{
    uintptr_t offset = (uintptr_t)text % STEP;
    *ret_mask = 0xffffU << offset;
    return (v128_t *)((uintptr_t)text - offset);
}

static uint32_t where_equal(v128_t bytes, v128_t wanted)
{
    return wasm_i8x16_bitmask(wasm_i8x16_eq(bytes, wanted));
}

/* The place of a mask's first byte in the vector at `vector`. */
static char *place(const v128_t *vector, uint32_t mask)
{
    return (char *)(uintptr_t)vector + __builtin_ctz(mask);
}

size_t strlen(const char *text)
{
    uint32_t mask;
    const v128_t *vector = vector_of(text, &mask);
    uint32_t found = where_equal(*vector, wasm_i8x16_splat(0)) & mask;
    if (!found) {
        do
            vector++;
        while (wasm_i8x16_all_true(*vector));
        found = where_equal(*vector, wasm_i8x16_splat(0));
    }
    return (size_t)(place(vector, found) - text);
}

/* Of wasi-libc's own, which strchr() and others of it call: the byte, or the end. */
char *__strchrnul(const char *text, int c)
{
    const v128_t wanted = wasm_i8x16_splat((int8_t)c);
    uint32_t mask;
    const v128_t *vector = vector_of(text, &mask);
    uint32_t found =
        (where_equal(*vector, wanted) | where_equal(*vector, wasm_i8x16_splat(0))) & mask;
    while (!found) {
        vector++;
        /* Where a byte is 0 or the wanted one, the smaller of it and its difference is 0. */
        v128_t difference = wasm_u8x16_min(*vector, wasm_v128_xor(*vector, wanted));
        if (!wasm_i8x16_all_true(difference))
            found = where_equal(difference, wasm_i8x16_splat(0));
    }
    return place(vector, found);
}

__attribute__((weak)) char *strchrnul(const char *text, int c)
{
    return __strchrnul(text, c);
}

char *strchr(const char *text, int c)
{
    char *found = __strchrnul(text, c);
    return *found == (char)c ? found : NULL;
}

void *memchr(const void *bytes, int c, size_t length)
{
    if (length == 0)
        return NULL;
    const v128_t wanted = wasm_i8x16_splat((int8_t)c);
    uint32_t mask;
    const v128_t *vector = vector_of(bytes, &mask);
    uintptr_t last =
        (uintptr_t)bytes + (length - 1); /* length may be SIZE_MAX: to be found at all */
    if (last < (uintptr_t)bytes)
        last = UINTPTR_MAX;
    uint32_t found = where_equal(*vector, wanted) & mask;
    while (!found) {
        if ((uintptr_t)vector + (STEP - 1) >= last)
            return NULL;
        vector++;
        found = where_equal(*vector, wanted);
    }
    char *at = place(vector, found);
    return (uintptr_t)at <= last ? at : NULL;
}

static uint64_t load_ordered(const uint8_t *bytes)
{
    uint64_t word;
    __builtin_memcpy(&word, bytes, sizeof(word));
    return __builtin_bswap64(word); /* so that its first byte counts most */
}

static int compare_words(const uint8_t *one, const uint8_t *other)
{
    uint64_t left = load_ordered(one);
    uint64_t right = load_ordered(other);
    return left < right ? -1 : left > right;
}

int memcmp(const void *one, const void *other, size_t length)
{
    const uint8_t *left = one;
    const uint8_t *right = other;
    for (; length >= STEP; length -= STEP, left += STEP, right += STEP) {
        v128_t difference = wasm_v128_xor(wasm_v128_load(left), wasm_v128_load(right));
        if (!wasm_v128_any_true(difference))
            continue;
        uint32_t same = where_equal(difference, wasm_i8x16_splat(0));
        int at = __builtin_ctz(~same);
        return left[at] - right[at];
    }
    if (length >= sizeof(uint64_t)) {
        int order = compare_words(left, right);
        size_t rest = length - sizeof(uint64_t); /* the last word may lie half in the first */
        return order ? order : compare_words(left + rest, right + rest);
    }
    for (; length > 0; length--, left++, right++) {
        if (*left != *right)
            return *left - *right;
    }
    return 0;
}

void *memcpy(void *restrict to, const void *restrict from, size_t length)
{
    return __builtin_memcpy(to, from, length);
}

void *memmove(void *to, const void *from, size_t length)
{
    return __builtin_memmove(to, from, length);
}

void *memset(void *to, int c, size_t length)
{
    return __builtin_memset(to, c, length);
}
