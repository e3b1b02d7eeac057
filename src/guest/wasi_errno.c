/* wasi_errno.c - from errors of Linux to those of WASI. */
#include <errno.h>

#include "guest/wasi.h"

uint32_t fm_wasi_errno(int64_t error)
{
    switch (-error) {
    case 0:
        return FM_WASI_SUCCESS;
    case E2BIG:
        return FM_WASI_2BIG;
    case EACCES:
        return FM_WASI_ACCES;
    case EAGAIN:
        return FM_WASI_AGAIN;
    case EBADF:
        return FM_WASI_BADF;
    case EBUSY:
        return FM_WASI_BUSY;
    case EDQUOT:
        return FM_WASI_DQUOT;
    case EEXIST:
        return FM_WASI_EXIST;
    case EFBIG:
        return FM_WASI_FBIG;
    case EINTR:
        return FM_WASI_INTR;
    case EINVAL:
        return FM_WASI_INVAL;
    case EISDIR:
        return FM_WASI_ISDIR;
    case ELOOP:
        return FM_WASI_LOOP;
    case EMFILE:
        return FM_WASI_MFILE;
    case EMLINK:
        return FM_WASI_MLINK;
    case ENAMETOOLONG:
        return FM_WASI_NAMETOOLONG;
    case ENFILE:
        return FM_WASI_NFILE;
    case ENODEV:
        return FM_WASI_NODEV;
    case ENOENT:
        return FM_WASI_NOENT;
    case ENOMEM:
        return FM_WASI_NOMEM;
    case ENOSPC:
        return FM_WASI_NOSPC;
    case ENOSYS:
        return FM_WASI_NOSYS;
    case ENOTDIR:
        return FM_WASI_NOTDIR;
    case ENOTEMPTY:
        return FM_WASI_NOTEMPTY;
    case EOPNOTSUPP:
        return FM_WASI_NOTSUP;
    case ENXIO:
        return FM_WASI_NXIO;
    case EOVERFLOW:
        return FM_WASI_OVERFLOW;
    case EPERM:
        return FM_WASI_PERM;
    case EPIPE:
        return FM_WASI_PIPE;
    case EROFS:
        return FM_WASI_ROFS;
    case ESPIPE:
        return FM_WASI_SPIPE;
    case ETXTBSY:
        return FM_WASI_TXTBSY;
    case EXDEV:
        return FM_WASI_XDEV;
    default:
        return FM_WASI_IO;
    }
}
