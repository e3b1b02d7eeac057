/* descriptors.c - a guest's table of descriptors.
 *
 * The first few lie in the guest itself, so that a call which opens nothing allocates nothing; the
 * list moves to the heap when it grows.  The same holds for the call's overlay: it is made when a
 * folder is used for the first time, not when a C library merely looks which folders there are.
 *
 * Standard output is the call's output for plain commands.  A module that writes its output through
 * faasm.output_write (or env.__faasm_write_output), and every function of 2018, gets its standard
 * output in the log: there printf was always a diagnostic, and mixing it into the output would
 * spoil it. */
#include "guest/descriptors.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "files/file_system.h"
#include "files/overlay.h"
#include "guest/private.h"
#include "guest/rights.h"

/* For every call that was not given other folders. */
static const struct fm_preopen overlay_top = {.name = "/"};

static void open_streams(struct fm_guest *guest)
{
    const struct fm_version *version = guest->call->version;
    bool to_log = version->facts.abi == FM_ABI_FAASM_2018 || version->writes_output;
    const enum fm_stream streams[] = {FM_STREAM_INPUT, to_log ? FM_STREAM_LOG : FM_STREAM_OUTPUT,
                                      FM_STREAM_LOG};
    for (uint32_t fd = 0; fd < FM_ARRAY_LENGTH(streams); fd++) {
        uint64_t direction =
            streams[fd] == FM_STREAM_INPUT ? FM_WASI_RIGHT_FD_READ : FM_WASI_RIGHT_FD_WRITE;
        guest->descriptors.list[fd] = (struct fm_descriptor){
            .stream = streams[fd],
            .rights = direction | FM_WASI_RIGHTS_STREAM,
        };
    }
}

static void open_folder(struct fm_guest *guest, const struct fm_preopen *preopen)
{
    uint32_t fd = 0;
    if (fm_descriptor_find_free(guest, &fd) != 0)
        return; /* out of memory, or somebody gave a thousand folders: it is not there */
    guest->descriptors.list[fd] = (struct fm_descriptor){
        .stream = FM_STREAM_FILE,
        .rights = FM_WASI_RIGHTS_FOLDER,
        .inheriting = FM_WASI_RIGHTS_FOLDER | FM_WASI_RIGHTS_PLAIN,
        .file = preopen->folder,
        .preopen = preopen,
    };
}

void fm_descriptors_init(struct fm_guest *guest)
{
    const struct fm_call *call = guest->call;
    guest->descriptors.list = guest->descriptors.first;
    guest->descriptors.count = FM_DESCRIPTORS_FIRST;
    open_streams(guest);
    if (call->version->facts.abi == FM_ABI_FAASM_2018)
        return; /* it has files of its own: files_2018.c */
    if (!call->preopens)
        open_folder(guest, &overlay_top);
    for (size_t i = 0; i < call->preopens_count; i++)
        open_folder(guest, &call->preopens[i]);
}

void fm_descriptors_done(struct fm_guest *guest)
{
    struct fm_descriptors *table = &guest->descriptors;
    for (uint32_t fd = 0; fd < table->count; fd++)
        fm_descriptor_close(&table->list[fd]);
    if (table->list != table->first)
        free(table->list);
}

struct fm_descriptor *fm_descriptor_get(struct fm_guest *guest, uint32_t fd)
{
    struct fm_descriptors *table = &guest->descriptors;
    if (fd >= table->count || table->list[fd].stream == FM_STREAM_CLOSED)
        return NULL;
    return &table->list[fd];
}

static int grow(struct fm_descriptors *table)
{
    uint32_t count = (uint32_t)fm_min_u64(2 * (uint64_t)table->count, FM_GUEST_DESCRIPTORS_MAX);
    if (count == table->count)
        return -EMFILE;
    struct fm_descriptor *list = calloc(count, sizeof(*list));
    if (!list)
        return -ENOMEM;
    memcpy(list, table->list, table->count * sizeof(*list));
    if (table->list != table->first)
        free(table->list);
    table->list = list;
    table->count = count;
    return 0;
}

int fm_descriptor_find_free(struct fm_guest *guest, uint32_t *ret_fd)
{
    struct fm_descriptors *table = &guest->descriptors;
    for (uint32_t fd = 0; fd < table->count; fd++) {
        if (table->list[fd].stream == FM_STREAM_CLOSED) {
            *ret_fd = fd;
            return 0;
        }
    }
    uint32_t fd = table->count;
    int failed = grow(table);
    if (!failed)
        *ret_fd = fd;
    return failed;
}

void fm_descriptor_close(struct fm_descriptor *descriptor)
{
    if (descriptor->stream == FM_STREAM_FILE && !descriptor->preopen)
        descriptor->file->ops->close(descriptor->file);
    *descriptor = (struct fm_descriptor){.stream = FM_STREAM_CLOSED};
}

int fm_descriptor_file(struct fm_guest *guest, struct fm_descriptor *descriptor,
                       struct fm_file **ret_file)
{
    FM_ASSERT(descriptor->stream == FM_STREAM_FILE);
    if (!descriptor->file) {
        const struct fm_overlay_config config = {
            .tree = guest->call->files,
            .bytes_max = guest->call->limits.file_bytes,
        };
        if (!guest->overlay && fm_overlay_new(&config, &guest->overlay) != 0)
            return -ENOMEM;
        descriptor->file = fm_overlay_root(guest->overlay);
    }
    *ret_file = descriptor->file;
    return 0;
}
