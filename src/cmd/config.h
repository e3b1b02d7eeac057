/* config.h - the server's settings: one row per key.
 *
 * The table drives the file's parser, `--set`, `faasm serve --check` and `faasm serve --help`.
 * A flag beats the file, the file beats the default; an unknown key is an error. */
#pragma once

#include <stdio.h>

#include "base/error.h"
#include "base/limits.h"
#include "base/quotas.h"
#include "base/units.h"

#define FM_CONFIG_AUTO UINT64_MAX /* a default that follows from the machine */

#define FM_CONFIG_MAP(X)                                                                           \
    /* name                unit   default            min        max   prose */                     \
    X(workers, NONE, FM_CONFIG_AUTO, 1, 256, "threads that run calls; by default one a core")      \
    X(slots, NONE, FM_CONFIG_AUTO, 1, 10000,                                                       \
      "instances that exist at once; by default what memory and vm.max_map_count allow")           \
    X(queue_length, NONE, 10000, 0, 1000000,                                                       \
      "calls that wait for a slot, per worker; more are answered 503")                             \
    X(await_depth, NONE, 32, 0, 1000,                                                              \
      "calls that may wait for one another (call_start); as many instances more, per worker")      \
    X(memory_bytes_max, BYTES, FM_GIB, 64 * FM_KIB, 4 * FM_GIB - 64 * FM_KIB,                      \
      "ceiling of a function's limit memory_bytes")                                                \
    X(guest_stack_bytes, BYTES, FM_MIB, 64 * FM_KIB, 64 * FM_MIB, "call stack of a function")      \
    X(keep_resident_bytes, BYTES, FM_CONFIG_AUTO, 0, 64 * FM_MIB,                                  \
      "the most memory that a slot keeps for its next call when it was written; by default 4MiB "  \
      "where the kernel can list written pages (how much, follows from what the function's calls " \
      "write), else 256KiB")                                                                       \
    X(keep_total_bytes, BYTES, FM_CONFIG_AUTO, 0, 1024 * FM_GIB,                                   \
      "what all free slots keep together, where the kernel can list written pages; by default "    \
      "1/64 of memory")                                                                            \
    X(warm_slots, NONE, FM_CONFIG_AUTO, 0, 10000,                                                  \
      "free slots that keep their function's pages mapped; by default 256")                        \
    X(page_scanning, BOOL, FM_CONFIG_AUTO, 0, 1,                                                   \
      "find written pages by asking the kernel (Linux 6.7); off by itself while there is swap")    \
    X(module_bytes, BYTES, 64 * FM_MIB, 1, FM_GIB,                                                 \
      "size of an uploaded module; more is answered 413")                                          \
    X(modules_bytes, BYTES, FM_CONFIG_AUTO, FM_MIB, 1024 * FM_GIB,                                 \
      "machine code kept loaded; what was not called again goes first; by default 1/8 of memory")  \
    X(user_file_bytes, BYTES, FM_GIB, 1, 1024 * FM_GIB,                                            \
      "size of a file that is put among a user's files; more is answered 413")                     \
    X(files_memory_bytes, BYTES, FM_CONFIG_AUTO, FM_MIB, 1024 * FM_GIB,                            \
      "users' files kept in memory; the least recently used goes first; by default 1/8 of memory") \
    X(builds, NONE, 2, 1, 16, "modules that are compiled at once")                                 \
    X(compile_cache, BOOL, 1, 0, 1,                                                                \
      "keep beside machine code what the next upload of the function need not compile again")      \
    X(connections, NONE, 10000, 1, 100000,                                                         \
      "connections open at once, per worker; more are answered 503 and closed")                    \
    X(header_bytes, BYTES, 16 * FM_KIB, 4 * FM_KIB, FM_MIB,                                        \
      "request line and headers; more is answered 431")                                            \
    X(header_ms, MS, 60000, 100, 3600000,                                                          \
      "from a connection's start, or its last answer, to complete headers")                        \
    X(body_ms, MS, 60000, 100, 3600000, "from the headers to the end of the body")                 \
    X(cancel_on_half_close, BOOL, 1, 0, 1,                                                         \
      "a client that closes its side of the connection gives up its call")                         \
    X(retention_ms, MS, 2592000000, 1000, 2592000000,                                              \
      "ceiling of a function's limit retention_ms: how long a result is kept")                     \
    X(records, NONE, 100000, 1, 10000000,                                                          \
      "asynchronous calls that have not ended, per worker; more are answered 503")                 \
    X(records_bytes, BYTES, FM_CONFIG_AUTO, FM_MIB, 1024 * FM_GIB,                                 \
      "memory of their inputs, per worker, the others wait on disk; by default 1/16 of memory, "   \
      "shared")                                                                                    \
    X(stored_calls, NONE, 1000000, 1, 1000000000,                                                  \
      "asynchronous calls on disk; when there are more, results go, those first whose time is "    \
      "over first")                                                                                \
    X(stored_bytes, BYTES, 4 * FM_GIB, FM_MIB, 1024 * FM_GIB, "the same for their bytes")          \
    X(recent_bytes, BYTES, 8 * FM_MIB, 64 * FM_KIB, 1024 * FM_GIB,                                 \
      "memory of synchronous calls that have ended, per worker")                                   \
    X(metrics_users, NONE, 10, 0, 1000,                                                            \
      "users with samples of their own in /metrics, those with the most CPU time")                 \
    X(drain_ms, MS, 10000, 0, 3600000,                                                             \
      "after SIGTERM: time for calls to end before they are broken off")

#define FM_CONFIG_USERS_MAX 100000 /* sections */

/* `[user NAME]`: what it says of that user. */
struct fm_config_user {
    char name[FM_NAME_LENGTH_MAX + 1]; /* "*": of all users whose own section does not say it */
    struct fm_quota_set set;
};

struct fm_config {
#define X(name, unit, initial, min, max, prose) uint64_t name;
    FM_CONFIG_MAP(X)
#undef X
    char listen[300];
    char data[2048];
    char samples[2048]; /* "": none */
    bool insecure;
    struct fm_config_user *users; /* sorted by name, once the file is read */
    size_t users_count;
};

void fm_config_init(struct fm_config *config);
void fm_config_done(struct fm_config *config);

/* `text` is KEY=VALUE.  FM_ERR_BAD_REQUEST with what is wrong. */
FM_MUST_CHECK int fm_config_set(struct fm_config *config, const char *text, struct fm_error *error);

/* Lines of `key = value`, `#` starts a comment; then sections `[user NAME]` with quotas.  Errors
 * name the line. */
FM_MUST_CHECK int fm_config_read(struct fm_config *config, const char *path,
                                 struct fm_error *error);

/* Replaces FM_CONFIG_AUTO by what fits this machine. */
void fm_config_derive(struct fm_config *config);

/* How many slots the pool has beside those of the setting: for calls that others wait for, and for
 * those that are being cleared. */
uint64_t fm_config_slots_beside(const struct fm_config *config);

/* What the sections make of the quotas of a user; those that they do not say stay. */
void fm_config_quotas(const struct fm_config *config, const char *user, struct fm_quotas *quotas);

/* Every key as a line of a file, with its prose. */
void fm_config_print(const struct fm_config *config, FILE *out);
