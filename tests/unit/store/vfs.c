/* vfs.c - wraps SQLite's VFS: each file holds the real one behind it. */
#include "vfs.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct file {
    sqlite3_file base;
    enum vfs_file kind;
    bool gated; /* of a kind that has a gate */
    /* the real file follows */
};

static sqlite3_vfs *real;
static sqlite3_vfs shim;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    long countdown; /* 0: nothing fails */
    bool full;
    bool sticky;
    bool struck;
    int64_t space;
    bool closed;
    enum vfs_file gate;
    unsigned waiting;
} faulty = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .space = -1};

static void lock(void)
{
    if (pthread_mutex_lock(&faulty.lock) != 0)
        abort();
}

static void unlock(void)
{
    if (pthread_mutex_unlock(&faulty.lock) != 0)
        abort();
}

void vfs_fail(long nth, bool full, bool sticky)
{
    lock();
    faulty.countdown = nth;
    faulty.full = full;
    faulty.sticky = sticky;
    faulty.struck = false;
    unlock();
}

bool vfs_disarm(void)
{
    lock();
    faulty.countdown = 0;
    bool struck = faulty.struck;
    unlock();
    return struck;
}

void vfs_space(int64_t bytes)
{
    lock();
    faulty.space = bytes;
    unlock();
}

void vfs_gate_close(enum vfs_file file)
{
    lock();
    faulty.closed = true;
    faulty.gate = file;
    unlock();
}

void vfs_gate_wait(void)
{
    lock();
    while (faulty.waiting == 0)
        (void)pthread_cond_wait(&faulty.changed, &faulty.lock);
    unlock();
}

void vfs_gate_open(void)
{
    lock();
    faulty.closed = false;
    (void)pthread_cond_broadcast(&faulty.changed);
    unlock();
}

static void pass_gate(const struct file *file)
{
    lock();
    if (file->gated && faulty.closed && faulty.gate == file->kind) {
        faulty.waiting++;
        (void)pthread_cond_broadcast(&faulty.changed);
        while (faulty.closed)
            (void)pthread_cond_wait(&faulty.changed, &faulty.lock);
        faulty.waiting--;
    }
    unlock();
}

/* Whether this operation fails, and as what. */
static int fault(int code, bool writes)
{
    int result = SQLITE_OK;
    lock();
    if (faulty.countdown == 1 && (!faulty.full || writes)) {
        faulty.struck = true;
        result = faulty.full ? SQLITE_FULL : code;
        if (!faulty.sticky)
            faulty.countdown = 0;
    } else if (faulty.countdown > 1) {
        faulty.countdown--;
    }
    unlock();
    return result;
}

/* --- files ------------------------------------------------------------------------------------ */

static sqlite3_file *inner(sqlite3_file *file)
{
    return (sqlite3_file *)(void *)((struct file *)(void *)file + 1);
}

static int on_close(sqlite3_file *file)
{
    return inner(file)->pMethods->xClose(inner(file));
}

static int on_read(sqlite3_file *file, void *data, int bytes, sqlite3_int64 offset)
{
    int rc = fault(SQLITE_IOERR_READ, false);
    return rc ? rc : inner(file)->pMethods->xRead(inner(file), data, bytes, offset);
}

static bool has_space(sqlite3_file *file, sqlite3_int64 end)
{
    sqlite3_int64 size = 0;
    bool enough = true;
    lock();
    if (faulty.space >= 0 && inner(file)->pMethods->xFileSize(inner(file), &size) == SQLITE_OK &&
        end > size) {
        enough = end - size <= faulty.space;
        if (enough)
            faulty.space -= end - size;
    }
    unlock();
    return enough;
}

static int on_write(sqlite3_file *file, const void *data, int bytes, sqlite3_int64 offset)
{
    int rc = fault(SQLITE_IOERR_WRITE, true);
    if (rc)
        return rc;
    if (!has_space(file, offset + bytes))
        return SQLITE_FULL;
    return inner(file)->pMethods->xWrite(inner(file), data, bytes, offset);
}

static int on_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    int rc = fault(SQLITE_IOERR_TRUNCATE, false);
    return rc ? rc : inner(file)->pMethods->xTruncate(inner(file), size);
}

/* Nothing is synced in truth: no test cuts the power, and thousands of syncs take minutes. */
static int on_sync(sqlite3_file *file, int flags)
{
    (void)flags;
    pass_gate((struct file *)(void *)file);
    return fault(SQLITE_IOERR_FSYNC, false);
}

static int on_size(sqlite3_file *file, sqlite3_int64 *size)
{
    int rc = fault(SQLITE_IOERR_FSTAT, false);
    return rc ? rc : inner(file)->pMethods->xFileSize(inner(file), size);
}

static int on_lock(sqlite3_file *file, int level)
{
    return inner(file)->pMethods->xLock(inner(file), level);
}

static int on_unlock(sqlite3_file *file, int level)
{
    return inner(file)->pMethods->xUnlock(inner(file), level);
}

static int on_check(sqlite3_file *file, int *result)
{
    return inner(file)->pMethods->xCheckReservedLock(inner(file), result);
}

static int on_control(sqlite3_file *file, int operation, void *data)
{
    return inner(file)->pMethods->xFileControl(inner(file), operation, data);
}

static int on_sector(sqlite3_file *file)
{
    return inner(file)->pMethods->xSectorSize(inner(file));
}

static int on_device(sqlite3_file *file)
{
    return inner(file)->pMethods->xDeviceCharacteristics(inner(file));
}

static int on_map(sqlite3_file *file, int page, int bytes, int extend, void volatile **data)
{
    int rc = fault(SQLITE_IOERR_SHMMAP, false);
    return rc ? rc : inner(file)->pMethods->xShmMap(inner(file), page, bytes, extend, data);
}

static int on_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    return inner(file)->pMethods->xShmLock(inner(file), offset, count, flags);
}

static void on_barrier(sqlite3_file *file)
{
    inner(file)->pMethods->xShmBarrier(inner(file));
}

static int on_unmap(sqlite3_file *file, int remove)
{
    return inner(file)->pMethods->xShmUnmap(inner(file), remove);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2, /* without memory mapping */
    .xClose = on_close,
    .xRead = on_read,
    .xWrite = on_write,
    .xTruncate = on_truncate,
    .xSync = on_sync,
    .xFileSize = on_size,
    .xLock = on_lock,
    .xUnlock = on_unlock,
    .xCheckReservedLock = on_check,
    .xFileControl = on_control,
    .xSectorSize = on_sector,
    .xDeviceCharacteristics = on_device,
    .xShmMap = on_map,
    .xShmLock = on_shm_lock,
    .xShmBarrier = on_barrier,
    .xShmUnmap = on_unmap,
};

/* --- the VFS ---------------------------------------------------------------------------------- */

static int on_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags,
                   int *ret_flags)
{
    (void)vfs;
    struct file *file = (struct file *)(void *)base;
    file->base.pMethods = NULL;
    file->gated = (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL)) != 0;
    file->kind = flags & SQLITE_OPEN_WAL ? VFS_LOG : VFS_DATABASE;
    int rc = fault(SQLITE_CANTOPEN, false);
    if (rc == SQLITE_OK)
        rc = real->xOpen(real, name, inner(base), flags, ret_flags);
    if (rc == SQLITE_OK)
        file->base.pMethods = &methods;
    return rc;
}

static int on_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    (void)vfs;
    int rc = fault(SQLITE_IOERR_DELETE, false);
    return rc ? rc : real->xDelete(real, name, sync);
}

void vfs_install(void)
{
    real = sqlite3_vfs_find(NULL);
    shim = *real;
    shim.zName = VFS_NAME;
    shim.szOsFile = (int)sizeof(struct file) + real->szOsFile;
    shim.xOpen = on_open;
    shim.xDelete = on_delete;
    if (sqlite3_vfs_register(&shim, 0) != SQLITE_OK)
        abort();
}
