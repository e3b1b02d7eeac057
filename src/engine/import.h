/* import.h - how a host function is described to the engine.
 *
 * Host functions are written once, in guest/, against this header and sandbox.h. */
#pragma once

#include "base/base.h"

struct fm_sandbox;

/* One parameter or result.  The size is the engine's, checked at compile time. */
union fm_value {
    int32_t i32;
    uint32_t u32;
    int64_t i64;
    uint64_t u64;
    float f32;
    double f64;
    uint8_t bytes[16];
};

/* What a host function returns, beside 0 and negative FM_ERR_*. */
#define FM_PARK 1 /* the result comes later; the sandbox waits without a thread */

/* `values` holds the parameters; the result, if any, goes to values[0].
 * 0: done.  FM_PARK: only where `resume` is given.  FM_ERR_*: ends the guest with that error. */
typedef int fm_import_fn(struct fm_sandbox *sandbox, void *host, union fm_value *values);

struct fm_import {
    const char *module;
    const char *name;
    const char *signature; /* "iI:i": parameters, a colon, at most one result; i = i32, I = i64,
                              f = f32, F = f64 */
    fm_import_fn *call;
    fm_import_fn *resume; /* after FM_PARK: asked at every poll of the sandbox; `values` again holds
                             the parameters.  NULL: the function never parks */
};
