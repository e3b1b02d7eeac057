/* memory.h - a guest's memory in the guest's own byte order (little), behind one bounds check. */
#pragma once

#include "base/base.h"

struct fm_guest;

/* False: not inside the memory; the pointer is then untouched.  Valid until the guest runs again.
 */
FM_MUST_CHECK bool fm_memory_at(struct fm_guest *guest, uint32_t address, uint64_t bytes,
                                uint8_t **ret_data);

uint16_t fm_load_u16(const uint8_t *at);
uint32_t fm_load_u32(const uint8_t *at);
uint64_t fm_load_u64(const uint8_t *at);
void fm_store_u16(uint8_t *at, uint16_t value);
void fm_store_u32(uint8_t *at, uint32_t value);
void fm_store_u64(uint8_t *at, uint64_t value);

/* One bounds check and one store; false: outside. */
FM_MUST_CHECK bool fm_memory_put_u32(struct fm_guest *guest, uint32_t address, uint32_t value);
FM_MUST_CHECK bool fm_memory_put_u64(struct fm_guest *guest, uint32_t address, uint64_t value);

/* --- iovec arrays: pairs of address and length, of WASI and of 2018's writev alike ------------ */

struct fm_iovecs {
    struct fm_guest *guest;
    uint32_t address;
    uint32_t count;
};

struct fm_iovec {
    uint8_t *data;
    uint32_t bytes;
};

/* Checks the whole array before anything is moved.  FM_ERR_BAD_REQUEST: too many, or more than
 * 2^31-1 bytes in all.  FM_ERR_GUEST_TRAP: it, or a buffer, is not inside the memory. */
FM_MUST_CHECK int fm_iovecs_check(const struct fm_iovecs *iovecs);

/* Checks again, since reading into a buffer may have overwritten the array.  False: outside. */
FM_MUST_CHECK bool fm_iovecs_at(const struct fm_iovecs *iovecs, uint32_t index,
                                struct fm_iovec *ret_iovec);
