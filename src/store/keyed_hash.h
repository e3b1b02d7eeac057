/* keyed_hash.h - the proof that a file of machine code was made by this server, for one version,
 * and a compile cache for one function. Private to store/.  Any thread. */
#pragma once

#include "call/function.h"
#include "store/key.h"

#define FM_DIGEST_BYTES 32
#define FM_DIGEST_TEXT_SIZE (2 * FM_DIGEST_BYTES + 1)

/* SHA-256 of a plain file, from its first byte to its last.  FM_ERR_IO. */
FM_MUST_CHECK int fm_keyed_hash_digest(int fd, const char *name,
                                       uint8_t ret_digest[FM_DIGEST_BYTES], struct fm_error *error);

/* The same of its first `bytes`.  FM_ERR_IO, also if it is shorter. */
FM_MUST_CHECK int fm_keyed_hash_digest_start(int fd, const char *name, uint64_t bytes,
                                             uint8_t ret_digest[FM_DIGEST_BYTES],
                                             struct fm_error *error);

/* The keyed hash over the version, the build of the engine and the digest of the code, as text. */
void fm_keyed_hash(const uint8_t key[FM_KEY_BYTES], const struct fm_version *version,
                   const char *build_id, const uint8_t digest[FM_DIGEST_BYTES],
                   char ret_text[FM_DIGEST_TEXT_SIZE]);

/* The same of a compile cache (cache.c), as bytes: for a function, whatever the version. */
void fm_keyed_hash_cache(const uint8_t key[FM_KEY_BYTES], const char *user, const char *function,
                         const char *build_id, const uint8_t digest[FM_DIGEST_BYTES],
                         uint8_t ret_hash[FM_DIGEST_BYTES]);

/* Both take the same time wherever two texts of the same length differ. */
bool fm_keyed_hash_equal(const char *a, const char *b);
bool fm_keyed_hash_same(const uint8_t a[FM_DIGEST_BYTES], const uint8_t b[FM_DIGEST_BYTES]);
