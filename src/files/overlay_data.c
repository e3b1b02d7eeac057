/* overlay_data.c - what a plain file of an overlay holds.
 *
 *      bytes     |<---------------------------------------- size ------>|
 *      chunks    [ written ][         ][ written ][         ][          ]
 *      below     |<--------- below_bytes ---->|
 *
 * Where a chunk was written it counts; elsewhere it is what the tree has, up to below_bytes, and
 * zeros after that.  The first write to a chunk copies what lies below it.  Cutting a file short
 * hides what lies below for good: if it grows again there are zeros.  So a file that is never
 * written costs nothing, and one that is changed costs what is changed.
 *
 * Chunks are single allocations rather than one that grows: no copying, holes cost only their
 * pointers, and a pointer never moves while it is copied from.  As one write may have to make all
 * pointers up to its place, and no tick interrupts it, how far out that can be has a bound. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "files/overlay_private.h"

#define TABLE_CHUNKS_MIN 8
#define TABLE_CHUNKS_MAX (FM_OVERLAY_FILE_BYTES_MAX / FM_CHUNK_BYTES)

bool fm_data_pin(struct fm_data *data)
{
    if (data->pinned || !data->content || data->below_bytes == 0)
        return true;
    uint64_t bytes = 0;
    if (!fm_content_pin(data->content, &data->below, &bytes))
        return false;
    data->pinned = true;
    if (!data->changed) { /* it is as long as it is, whatever was known before */
        data->bytes = bytes;
        data->below_bytes = bytes;
    }
    data->below_bytes = fm_min_u64(data->below_bytes, bytes);
    return true;
}

void fm_data_unpin(struct fm_data *data)
{
    if (!data->pinned || data->changed)
        return;
    fm_content_unpin(data->content);
    data->below = NULL;
    data->pinned = false;
}

/* The part of a range that lies in one chunk. */
struct piece {
    size_t chunk;
    size_t start; /* in the chunk */
    size_t bytes;
};

static struct piece piece_at(uint64_t offset, size_t bytes)
{
    struct piece piece = {
        .chunk = (size_t)(offset / FM_CHUNK_BYTES),
        .start = (size_t)(offset % FM_CHUNK_BYTES),
    };
    piece.bytes = (size_t)fm_min_u64(bytes, FM_CHUNK_BYTES - piece.start);
    return piece;
}

static uint8_t *chunk_at(const struct fm_data *data, size_t index)
{
    return index < data->chunks_count ? data->chunks[index] : NULL;
}

/* What is there where nothing was written. */
static void copy_below(const struct fm_data *data, uint64_t offset, uint8_t *to, size_t bytes)
{
    size_t seen = 0;
    if (offset < data->below_bytes) {
        FM_ASSERT(data->pinned);
        seen = (size_t)fm_min_u64(bytes, data->below_bytes - offset);
        memcpy(to, data->below + offset, seen);
    }
    memset(to + seen, 0, bytes - seen);
}

int64_t fm_data_read(const struct fm_data *data, uint64_t offset, uint8_t *to, size_t bytes)
{
    if (offset >= data->bytes)
        return 0;
    bytes = (size_t)fm_min_u64(bytes, data->bytes - offset);
    for (size_t done = 0; done < bytes;) {
        struct piece piece = piece_at(offset + done, bytes - done);
        const uint8_t *chunk = chunk_at(data, piece.chunk);
        if (chunk) {
            memcpy(to + done, chunk + piece.start, piece.bytes);
        } else { /* up to the next chunk that was written, in one go */
            size_t last = piece.chunk;
            while (piece.bytes < bytes - done && !chunk_at(data, last + 1)) {
                piece.bytes +=
                    piece_at(offset + done + piece.bytes, bytes - done - piece.bytes).bytes;
                last += 1;
            }
            copy_below(data, offset + done, to + done, piece.bytes);
        }
        done += piece.bytes;
    }
    return (int64_t)bytes;
}

/* --- writing ---------------------------------------------------------------------------------- */

static int grow_table(struct fm_overlay *overlay, struct fm_data *data, size_t count)
{
    if (count <= data->chunks_count)
        return 0;
    if (count > TABLE_CHUNKS_MAX)
        return -EFBIG;
    size_t wanted = (size_t)fm_max_u64(fm_max_u64(count, data->chunks_count * 2), TABLE_CHUNKS_MIN);
    wanted = (size_t)fm_min_u64(wanted, TABLE_CHUNKS_MAX);
    uint64_t more = (wanted - data->chunks_count) * sizeof(*data->chunks);
    int failed = fm_overlay_charge(overlay, more);
    if (failed)
        return failed;
    uint8_t **chunks = realloc(data->chunks, wanted * sizeof(*chunks));
    if (!chunks) {
        fm_overlay_refund(overlay, more);
        return -ENOMEM;
    }
    memset(chunks + data->chunks_count, 0, (size_t)more);
    data->chunks = chunks;
    data->chunks_count = wanted;
    return 0;
}

static int make_chunk(struct fm_overlay *overlay, struct fm_data *data, size_t index)
{
    int failed = fm_overlay_charge(overlay, FM_CHUNK_BYTES);
    if (failed)
        return failed;
    uint8_t *chunk = malloc(FM_CHUNK_BYTES);
    if (!chunk) {
        fm_overlay_refund(overlay, FM_CHUNK_BYTES);
        return -ENOMEM;
    }
    copy_below(data, (uint64_t)index * FM_CHUNK_BYTES, chunk, FM_CHUNK_BYTES);
    data->chunks[index] = chunk;
    return 0;
}

/* The range can be held by a file at all. */
static int check_range(uint64_t offset, uint64_t bytes, uint64_t *ret_end)
{
    if (offset > INT64_MAX || bytes > INT64_MAX - offset)
        return -EFBIG;
    *ret_end = offset + bytes;
    return 0;
}

/* All chunks first, so that a write that fails has changed nothing that can be seen. */
int fm_data_write(struct fm_overlay *overlay, struct fm_data *data, uint64_t offset,
                  const uint8_t *from, size_t bytes)
{
    uint64_t end = 0;
    if (bytes == 0)
        return 0;
    int failed = check_range(offset, bytes, &end);
    if (failed)
        return failed;
    size_t first = (size_t)(offset / FM_CHUNK_BYTES);
    size_t last = (size_t)((end - 1) / FM_CHUNK_BYTES);
    failed = grow_table(overlay, data, last + 1);
    for (size_t i = first; !failed && i <= last; i++)
        if (!data->chunks[i])
            failed = make_chunk(overlay, data, i);
    if (failed)
        return failed;
    for (size_t done = 0; done < bytes;) {
        struct piece piece = piece_at(offset + done, bytes - done);
        memcpy(data->chunks[piece.chunk] + piece.start, from + done, piece.bytes);
        done += piece.bytes;
    }
    data->bytes = fm_max_u64(data->bytes, end);
    data->changed = true;
    return 0;
}

static void drop_chunks(struct fm_overlay *overlay, struct fm_data *data, size_t from)
{
    for (size_t i = from; i < data->chunks_count; i++) {
        if (!data->chunks[i])
            continue;
        free(data->chunks[i]);
        data->chunks[i] = NULL;
        fm_overlay_refund(overlay, FM_CHUNK_BYTES);
    }
}

int fm_data_set_size(struct fm_overlay *overlay, struct fm_data *data, uint64_t bytes)
{
    uint64_t end = 0;
    int failed = check_range(bytes, 0, &end);
    if (failed)
        return failed;
    if (bytes < data->bytes) {
        struct piece rest = piece_at(bytes, FM_CHUNK_BYTES);
        uint8_t *chunk = chunk_at(data, rest.chunk);
        if (chunk)
            memset(chunk + rest.start, 0, rest.bytes);
        drop_chunks(overlay, data, rest.chunk + (rest.start > 0 ? 1 : 0));
        data->below_bytes = fm_min_u64(data->below_bytes, bytes);
    }
    data->bytes = bytes;
    data->changed = true;
    return 0;
}

/* There must be room for it now; it is not kept. */
int fm_data_allocate(struct fm_overlay *overlay, struct fm_data *data, uint64_t offset,
                     uint64_t bytes)
{
    uint64_t end = 0;
    if (bytes == 0)
        return -EINVAL;
    int failed = check_range(offset, bytes, &end);
    if (failed)
        return failed;
    if (end > data->bytes) {
        if (end - data->bytes > overlay->bytes_max - overlay->bytes)
            return -ENOSPC;
        data->bytes = end;
        data->changed = true;
    }
    return 0;
}

void fm_data_done(struct fm_overlay *overlay, struct fm_data *data)
{
    drop_chunks(overlay, data, 0);
    fm_overlay_refund(overlay, data->chunks_count * sizeof(*data->chunks));
    free(data->chunks);
    data->chunks = NULL;
    data->chunks_count = 0;
    data->changed = false;
    fm_data_unpin(data);
}
