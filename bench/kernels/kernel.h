/* kernel.h - what a kernel of the table S11 is: work to do, and a checksum of what came out.
 *
 * Each is one file and defines the two functions; main.c has the clock and the output.  The same
 * sources are compiled for the machine and for WebAssembly, and the checksums must agree. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Makes the input; not timed, called once. */
void kernel_prepare(void);

/* Does the work, tens of milliseconds of it, and returns its checksum.  Called several times; each
 * time it finds the same input and returns the same. */
uint64_t kernel_run(void);

/* Of main.c: the same numbers everywhere, below `limit`. */
uint32_t kernel_random(uint32_t limit);

/* Adds `value` to a checksum. */
uint64_t kernel_mix(uint64_t sum, uint64_t value);

/* The same for a floating-point number, by its bits: both sides must round alike. */
uint64_t kernel_mix_double(uint64_t sum, double value);
