/* run_files.h - a folder of this machine as a guest's file system, for `faasm run --dir`.
 *
 * The module may read and write all that is in the folder, with this process's rights, and reaches
 * nothing outside it.  Plain files, folders and symbolic links; what else lies there (devices,
 * pipes, sockets) has a name and cannot be opened (-EPERM).  One thread at a time. */
#pragma once

#include "base/error.h"
#include "files/file_system.h"

/* To be closed by its ops, after all that was opened from it.  FM_ERR_NOT_FOUND, FM_ERR_NOMEM,
 * FM_ERR_IO: also where the kernel (before Linux 5.6) cannot keep a guest inside. */
FM_MUST_CHECK int fm_run_files_open(const char *path, struct fm_file **ret_folder,
                                    struct fm_error *error);
