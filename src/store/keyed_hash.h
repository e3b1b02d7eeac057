/* keyed_hash.h - the proof that a file of machine code was made by this server, for one version.
 * Private to store/.  Any thread. */
#pragma once

#include "call/function.h"
#include "store/key.h"

#define FM_DIGEST_BYTES 32
#define FM_DIGEST_TEXT_SIZE (2 * FM_DIGEST_BYTES + 1)

/* SHA-256 of a plain file, from its first byte to its last.  FM_ERR_IO. */
FM_MUST_CHECK int fm_keyed_hash_digest(int fd, const char *name,
                                       uint8_t ret_digest[FM_DIGEST_BYTES], struct fm_error *error);

/* The keyed hash over the version, the build of the engine and the digest of the code, as text. */
void fm_keyed_hash(const uint8_t key[FM_KEY_BYTES], const struct fm_version *version,
                   const char *build_id, const uint8_t digest[FM_DIGEST_BYTES],
                   char ret_text[FM_DIGEST_TEXT_SIZE]);

/* Takes the same time wherever two texts of the same length differ. */
bool fm_keyed_hash_equal(const char *a, const char *b);
