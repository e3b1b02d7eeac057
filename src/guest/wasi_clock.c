/* wasi_clock.c - the four clocks.
 *
 * Real and monotonic time are the machine's.  CPU time is what the call has been charged, which
 * moves when a slice ends: reading the thread's CPU clock here would cost a system call and would
 * still have to be set off against what the scheduler has counted. */
#include "base/clock.h"
#include "guest/memory.h"
#include "guest/private.h"
#include "guest/wasi.h"

uint32_t fm_wasi_clock_now(const struct fm_guest *guest, uint32_t clock, uint64_t *ret_ns)
{
    switch (clock) {
    case FM_WASI_CLOCK_REALTIME:
        *ret_ns = fm_clock_real_ns();
        return FM_WASI_SUCCESS;
    case FM_WASI_CLOCK_MONOTONIC:
        *ret_ns = fm_clock_monotonic_ns();
        return FM_WASI_SUCCESS;
    case FM_WASI_CLOCK_PROCESS_CPUTIME:
    case FM_WASI_CLOCK_THREAD_CPUTIME:
        *ret_ns = guest->call->cpu_ns;
        return FM_WASI_SUCCESS;
    default:
        return FM_WASI_INVAL;
    }
}

uint32_t fm_wasi_clock_time_get(struct fm_guest *guest, const union fm_value *in)
{
    uint64_t now_ns = 0;
    uint32_t failed = fm_wasi_clock_now(guest, in[0].u32, &now_ns);
    if (failed)
        return failed;
    return fm_memory_put_u64(guest, in[2].u32, now_ns) ? FM_WASI_SUCCESS : FM_WASI_FAULT;
}

uint32_t fm_wasi_clock_res_get(struct fm_guest *guest, const union fm_value *in)
{
    uint64_t resolution_ns = 1;
    uint64_t now_ns = 0;
    uint32_t failed = fm_wasi_clock_now(guest, in[0].u32, &now_ns);
    if (failed)
        return failed;
    if (in[0].u32 >= FM_WASI_CLOCK_PROCESS_CPUTIME)
        resolution_ns = FM_SLICE_NS;
    return fm_memory_put_u64(guest, in[1].u32, resolution_ns) ? FM_WASI_SUCCESS : FM_WASI_FAULT;
}
