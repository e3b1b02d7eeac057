/* keyed_hash.c - HMAC-SHA-256 (RFC 2104) over machine code and whose it is.
 *
 *      HMAC( key,  "faasm machine code 1" NUL  user NUL  function NUL  version NUL  build NUL
 *                  SHA-256(function.cwasm) )
 *
 * The first text keeps the key's other uses, should there ever be any, apart from this one.  No
 * text can hold a NUL, so no two different sets of texts give the same bytes.  With the version in
 * it, the code of one user cannot be put in the place of another's; with the build in it, code of
 * another engine is refused before the engine sees it.
 *
 * The code enters by its SHA-256 and not directly: a collision-free digest proves as much, and can
 * be taken of a large file before the version has its id, outside the lock that orders commits.
 *
 * No state; any thread. */
#include "store/keyed_hash.h"

#include <errno.h>
#include <string.h>

#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <nettle/sha2.h>

#include "store/files.h"

#define DOMAIN "faasm machine code 1"
#define CHUNK_BYTES (32 * FM_KIB)

_Static_assert(FM_DIGEST_BYTES == SHA256_DIGEST_SIZE, "one size of digest");

int fm_keyed_hash_digest(int fd, const char *name, uint8_t ret_digest[FM_DIGEST_BYTES],
                         struct fm_error *error)
{
    uint8_t chunk[CHUNK_BYTES];
    struct sha256_ctx context;
    sha256_init(&context);
    for (off_t offset = 0;;) {
        ssize_t got = pread(fd, chunk, sizeof(chunk), offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fm_files_error(error, errno, "read", name);
        if (got == 0)
            break;
        sha256_update(&context, (size_t)got, chunk);
        offset += got;
    }
    sha256_digest(&context, FM_DIGEST_BYTES, ret_digest);
    return 0;
}

void fm_keyed_hash(const uint8_t key[FM_KEY_BYTES], const struct fm_version *version,
                   const char *build_id, const uint8_t digest[FM_DIGEST_BYTES],
                   char ret_text[FM_DIGEST_TEXT_SIZE])
{
    const char *const texts[] = {DOMAIN, version->user, version->function, version->id, build_id};
    uint8_t hash[FM_DIGEST_BYTES];
    struct hmac_sha256_ctx context;
    hmac_sha256_set_key(&context, FM_KEY_BYTES, key);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(texts); i++)
        hmac_sha256_update(&context, strlen(texts[i]) + 1, (const uint8_t *)texts[i]);
    hmac_sha256_update(&context, FM_DIGEST_BYTES, digest);
    hmac_sha256_digest(&context, FM_DIGEST_BYTES, hash);
    explicit_bzero(&context, sizeof(context));
    fm_files_hex(hash, sizeof(hash), ret_text);
}

bool fm_keyed_hash_equal(const char *a, const char *b)
{
    size_t length = strlen(a);
    return length == strlen(b) && memeql_sec(a, b, length);
}
