/* stream.c - a guest's input, output and log, wherever its bytes come from or go to.
 *
 * Every ABI ends here, so that limits are kept in one place: a write of output
 * that fails marks the guest, since a call whose output is not whole can never be a success,
 * whatever the guest makes of the error.  A log that is over its limit is only cut (and says so): a
 * call matters more than its log. */
#include "guest/private.h"

int64_t fm_stream_read(struct fm_guest *guest, uint8_t *data, size_t bytes)
{
    if (bytes == 0)
        return 0;
    int64_t got = guest->call->io->read_input(guest->call, guest->input_offset, data, bytes);
    FM_ASSERT(got <= (int64_t)bytes);
    if (got > 0)
        guest->input_offset += (uint64_t)got;
    if (got == 0)
        guest->input_ended = true;
    return got;
}

int fm_stream_write(struct fm_guest *guest, const uint8_t *data, size_t bytes)
{
    if (bytes == 0)
        return 0;
    int failed = guest->call->io->write_output(guest->call, data, bytes);
    if (failed && !guest->output_error)
        guest->output_error = failed;
    return failed;
}

void fm_stream_set(struct fm_guest *guest, const uint8_t *data, size_t bytes)
{
    int failed = guest->call->io->set_output(guest->call, data, bytes);
    if (failed && !guest->output_error)
        guest->output_error = failed;
}

void fm_stream_log(struct fm_guest *guest, const uint8_t *data, size_t bytes)
{
    if (bytes > 0)
        guest->call->io->write_log(guest->call, data, bytes);
}

int fm_stream_write_to(struct fm_guest *guest, enum fm_stream stream, const uint8_t *data,
                       size_t bytes)
{
    FM_ASSERT(stream == FM_STREAM_OUTPUT || stream == FM_STREAM_LOG);
    if (stream == FM_STREAM_OUTPUT)
        return fm_stream_write(guest, data, bytes);
    fm_stream_log(guest, data, bytes);
    return 0;
}
