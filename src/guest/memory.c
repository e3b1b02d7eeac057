/* memory.c - the bounds check of every host function, and loads and stores byte by byte.
 *
 * A guest's addresses are not aligned and its byte order is little, whatever the host's is; memcpy
 * and the byte-order functions compile to one instruction.  Structures are read field by field at
 * offsets from the specification: a C struct laid over guest memory would bring in the host's
 * padding and alignment. */
#include "guest/memory.h"

#include <endian.h>
#include <string.h>

#include "base/limits.h"
#include "engine/sandbox.h"
#include "guest/private.h"

bool fm_memory_at(struct fm_guest *guest, uint32_t address, uint64_t bytes, uint8_t **ret_data)
{
    struct fm_span span;
    if (fm_guest_span(guest->sandbox, address, bytes, &span) != 0)
        return false;
    *ret_data = span.data;
    return true;
}

uint16_t fm_load_u16(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof(value));
    return le16toh(value);
}

uint32_t fm_load_u32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return le32toh(value);
}

uint64_t fm_load_u64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return le64toh(value);
}

void fm_store_u16(uint8_t *at, uint16_t value)
{
    value = htole16(value);
    memcpy(at, &value, sizeof(value));
}

void fm_store_u32(uint8_t *at, uint32_t value)
{
    value = htole32(value);
    memcpy(at, &value, sizeof(value));
}

void fm_store_u64(uint8_t *at, uint64_t value)
{
    value = htole64(value);
    memcpy(at, &value, sizeof(value));
}

bool fm_memory_put_u32(struct fm_guest *guest, uint32_t address, uint32_t value)
{
    uint8_t *at;
    if (!fm_memory_at(guest, address, sizeof(value), &at))
        return false;
    fm_store_u32(at, value);
    return true;
}

bool fm_memory_put_u64(struct fm_guest *guest, uint32_t address, uint64_t value)
{
    uint8_t *at;
    if (!fm_memory_at(guest, address, sizeof(value), &at))
        return false;
    fm_store_u64(at, value);
    return true;
}

/* --- iovec arrays ----------------------------------------------------------------------------- */

#define IOVEC_BYTES 8 /* u32 address, u32 length */

bool fm_iovecs_at(const struct fm_iovecs *iovecs, uint32_t index, struct fm_iovec *ret_iovec)
{
    struct fm_span entry;
    uint64_t offset = iovecs->address + (uint64_t)index * IOVEC_BYTES;
    if (fm_guest_span(iovecs->guest->sandbox, offset, IOVEC_BYTES, &entry) != 0)
        return false;
    uint32_t bytes = fm_load_u32(entry.data + 4);
    if (!fm_memory_at(iovecs->guest, fm_load_u32(entry.data), bytes, &ret_iovec->data))
        return false;
    ret_iovec->bytes = bytes;
    return true;
}

int fm_iovecs_check(const struct fm_iovecs *iovecs)
{
    if (iovecs->count > FM_GUEST_IOVECS_MAX)
        return FM_ERR_BAD_REQUEST;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < iovecs->count; i++) {
        struct fm_iovec iovec;
        if (!fm_iovecs_at(iovecs, i, &iovec))
            return FM_ERR_GUEST_TRAP;
        sum += iovec.bytes;
    }
    return sum > INT32_MAX ? FM_ERR_BAD_REQUEST : 0;
}
