/* keyed_hash.c - HMAC-SHA-256 (RFC 2104) over machine code and whose it is.
 *
 *      HMAC( key,  "faasm machine code 1" NUL  user NUL  function NUL  version NUL  build NUL
 *                  SHA-256(function.cwasm) )
 *
 * and over a compile cache, without the version and with "faasm compile cache 1".
 *
 * The first text keeps the key's uses apart.  No text can hold a NUL, so no two different sets of
 * texts give the same bytes.  With the version in
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

#define CODE_DOMAIN "faasm machine code 1"
#define CACHE_DOMAIN "faasm compile cache 1"
#define CHUNK_BYTES (32 * FM_KIB)

_Static_assert(FM_DIGEST_BYTES == SHA256_DIGEST_SIZE, "one size of digest");

/* Up to the end of the file, if that comes first. */
static int digest_start(int fd, const char *name, uint64_t bytes, uint64_t *ret_bytes,
                        uint8_t ret_digest[FM_DIGEST_BYTES], struct fm_error *error)
{
    uint8_t chunk[CHUNK_BYTES];
    struct sha256_ctx context;
    uint64_t done = 0;
    sha256_init(&context);
    while (done < bytes) {
        ssize_t got = pread(fd, chunk, fm_min_u64(sizeof(chunk), bytes - done), (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fm_files_error(error, errno, "read", name);
        if (got == 0)
            break;
        sha256_update(&context, (size_t)got, chunk);
        done += (uint64_t)got;
    }
    sha256_digest(&context, FM_DIGEST_BYTES, ret_digest);
    *ret_bytes = done;
    return 0;
}

int fm_keyed_hash_digest(int fd, const char *name, uint8_t ret_digest[FM_DIGEST_BYTES],
                         struct fm_error *error)
{
    uint64_t done;
    return digest_start(fd, name, UINT64_MAX, &done, ret_digest, error);
}

int fm_keyed_hash_digest_start(int fd, const char *name, uint64_t bytes,
                               uint8_t ret_digest[FM_DIGEST_BYTES], struct fm_error *error)
{
    uint64_t done = 0;
    int failed = digest_start(fd, name, bytes, &done, ret_digest, error);
    if (failed)
        return failed;
    return done == bytes ? 0 : fm_error_set(error, FM_ERR_IO, "'%s' ends early", name);
}

static void keyed_hash(const uint8_t key[FM_KEY_BYTES], const char *const *texts,
                       size_t texts_count, const uint8_t digest[FM_DIGEST_BYTES],
                       uint8_t ret_hash[FM_DIGEST_BYTES])
{
    struct hmac_sha256_ctx context;
    hmac_sha256_set_key(&context, FM_KEY_BYTES, key);
    for (size_t i = 0; i < texts_count; i++)
        hmac_sha256_update(&context, strlen(texts[i]) + 1, (const uint8_t *)texts[i]);
    hmac_sha256_update(&context, FM_DIGEST_BYTES, digest);
    hmac_sha256_digest(&context, FM_DIGEST_BYTES, ret_hash);
    explicit_bzero(&context, sizeof(context));
}

void fm_keyed_hash(const uint8_t key[FM_KEY_BYTES], const struct fm_version *version,
                   const char *build_id, const uint8_t digest[FM_DIGEST_BYTES],
                   char ret_text[FM_DIGEST_TEXT_SIZE])
{
    const char *const texts[] = {CODE_DOMAIN, version->user, version->function, version->id,
                                 build_id};
    uint8_t hash[FM_DIGEST_BYTES];
    keyed_hash(key, texts, FM_ARRAY_LENGTH(texts), digest, hash);
    fm_files_hex(hash, sizeof(hash), ret_text);
}

void fm_keyed_hash_cache(const uint8_t key[FM_KEY_BYTES], const char *user, const char *function,
                         const char *build_id, const uint8_t digest[FM_DIGEST_BYTES],
                         uint8_t ret_hash[FM_DIGEST_BYTES])
{
    const char *const texts[] = {CACHE_DOMAIN, user, function, build_id};
    keyed_hash(key, texts, FM_ARRAY_LENGTH(texts), digest, ret_hash);
}

bool fm_keyed_hash_equal(const char *a, const char *b)
{
    size_t length = strlen(a);
    return length == strlen(b) && memeql_sec(a, b, length);
}

bool fm_keyed_hash_same(const uint8_t a[FM_DIGEST_BYTES], const uint8_t b[FM_DIGEST_BYTES])
{
    return memeql_sec(a, b, FM_DIGEST_BYTES);
}
