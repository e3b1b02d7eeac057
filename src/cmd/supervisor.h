/* supervisor.h - the parent process: holds the listening socket, keeps a server running, and starts
 * compile processes for it.  It never looks at a byte that a user sent. */
#pragma once

#include "base/error.h"
#include "cmd/config.h"
#include "cmd/suspects.h"

/* What the server gets from the supervisor. */
struct fm_server_start {
    const struct fm_config *config;
    int listener;             /* listening socket */
    int ready;                /* pipe: one byte when the server answers */
    const int *build_sockets; /* SOCK_SEQPACKET, one per build thread */
    size_t build_sockets_count;
    struct fm_suspects *suspects_page; /* where workers note whose guest runs */
    const struct fm_id *suspects;      /* calls that ran when an earlier server crashed */
    size_t suspects_count;
};

/* Runs until a signal ends it; returns the exit code of the process.  `serve` is called in the
 * child process and returns its exit code. */
int fm_supervise(const struct fm_config *config, int listener,
                 int (*serve)(const struct fm_server_start *start));
