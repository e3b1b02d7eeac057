/* streaming.h - imports that may park where input and output are streams.  Private to guest/. */
#pragma once

#include "engine/import.h"

/* module, name, signature, function, function that is asked again while it is parked */
#define FM_STREAMING_IMPORTS(X)                                                                    \
    X("faasm", "input_size", ":i", fm_streaming_input_size, fm_streaming_input_size)               \
    X("faasm", "input_read", "iii:i", fm_streaming_input_read, fm_streaming_input_read)            \
    X("faasm", "output_write", "ii:i", fm_streaming_output_write, fm_streaming_output_write_again) \
    X("wasi_snapshot_preview1", "fd_read", "iiii:i", fm_streaming_fd_read, fm_streaming_fd_read)   \
    X("wasi_snapshot_preview1", "fd_write", "iiii:i", fm_streaming_fd_write,                       \
      fm_streaming_fd_write_again)

fm_import_fn fm_streaming_input_size;
fm_import_fn fm_streaming_input_read;
fm_import_fn fm_streaming_output_write;
fm_import_fn fm_streaming_output_write_again;
fm_import_fn fm_streaming_fd_read;
fm_import_fn fm_streaming_fd_write;
fm_import_fn fm_streaming_fd_write_again;
