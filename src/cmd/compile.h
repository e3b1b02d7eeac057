/* compile.h - the compile process and how the server talks to it.
 *
 * One process per module: it reads WebAssembly, writes machine code, and can do nothing else.  The
 * server never starts it itself (a server that forks would share its memory, and its signals with
 * strangers): a build thread sends the open files to the supervisor, over a socket of its own, and
 * waits for the answer.
 *
 *      server, build thread             supervisor                compile process
 *      wasm, output, caches    -->      fork, limits, exec  -->   reads 0, 3; writes 1, 4
 *      reads the output's end  <--      wait status         <--   exit
 *
 * Starting a process takes as long as compiling a small module, so the supervisor has one that
 * waits (supervisor.c); it is given the descriptors in the same way.
 *
 * The output file is self-describing, so that the supervisor never looks at what a user made:
 *
 *      [machine code][JSON: facts or error][length of the JSON, 8 bytes LE]["FAASMOUT"]
 */
#pragma once

#include "base/error.h"
#include "call/function.h"

struct fm_compilation;

/* --- between server and supervisor ------------------------------------------------------------ */

/* What a compile process works with.  The last two may be missing (-1): the compile cache of the
 * version before (engine/compile_cache.h), and the one that is to be written. */
enum fm_compile_file {
    FM_COMPILE_WASM,
    FM_COMPILE_OUTPUT,
    FM_COMPILE_CACHE,
    FM_COMPILE_NEW_CACHE,
    FM_COMPILE_FILES
};

struct fm_compile_files {
    int fds[FM_COMPILE_FILES];
};

/* The numbers under which the compile process sees them. */
extern const int fm_compile_places[FM_COMPILE_FILES];

void fm_compile_files_close(struct fm_compile_files *files);

/* In the compile process, or on the way to it: puts them under these numbers, and nothing where one
 * is missing.  They are gone then.  False: could not be done, and the process is of no use. */
bool fm_compile_files_place(struct fm_compile_files *files);

/* One datagram with the files goes to the supervisor; one of these comes back. */
struct fm_compile_reply {
    int32_t started; /* 0: no process could be started, `status` is an errno */
    int32_t status;  /* as from waitpid() */
};

/* The limits of a compile process. */
#define FM_COMPILE_CPU_S 120
#define FM_COMPILE_WALL_S 180
#define FM_COMPILE_MEMORY_BYTES (4 * FM_GIB)
#define FM_COMPILE_OUTPUT_BYTES FM_GIB

/* Server side, blocking, for build threads: one socket is used by one thread at a time. */
struct fm_compile_client; /* opaque; any thread */

/* Takes the sockets (of type SOCK_SEQPACKET). */
FM_MUST_CHECK int fm_compile_client_new(const int *sockets, size_t sockets_count,
                                        struct fm_compile_client **ret_client);
struct fm_compile_client *fm_compile_client_free(struct fm_compile_client *client);

/* Every exchange, under way or later, fails from now on.  Any thread; NULL is fine. */
void fm_compile_client_stop(struct fm_compile_client *client);

/* An fm_compile_fn (sched/deploy.h); `data` is the client. */
FM_MUST_CHECK int fm_compile(void *data, struct fm_compilation *compilation,
                             struct fm_error *error);

/* Of modules with a compile cache: bodies of functions that were found in it so far, and that were
 * compiled. */
struct fm_compile_counts {
    uint64_t reused;
    uint64_t compiled;
};
void fm_compile_client_counts(struct fm_compile_client *client,
                              struct fm_compile_counts *ret_counts);

/* Receives one request: the supervisor, or with `wait` a process that was started early.  1: got
 * it, the files are the caller's; 0: nothing there; FM_ERR_IO: the other side has gone. */
FM_MUST_CHECK int fm_compile_receive(int socket, bool wait, struct fm_compile_files *ret_files);
/* Sends one, of files that stay the caller's.  FM_ERR_IO: nobody is there. */
FM_MUST_CHECK int fm_compile_send(int socket, const struct fm_compile_files *files);
void fm_compile_answer(int socket, const struct fm_compile_reply *reply);

/* In a freshly forked child: sets limits and descriptors and becomes the compile process.  With a
 * socket as module and output, it waits there for the files. */
_Noreturn void fm_compile_exec(const struct fm_compile_files *files);
