/* test_keyed_hash.c - the proof depends on the key, the code, and every word of whose it is.  The
 * constants were computed with Python's hmac and hashlib. */
#include "store_fixture.h"

#include "store/files.h"
#include "store/keyed_hash.h"

#define ID "01932c07-209c-7000-8000-0123456789ab"
#define CODE_DIGEST "5ace2a28c6f40875ef2baac027d8b91a2f65701271c7b43ecbd467664dca9ef0"
#define CODE_HASH "4bab5e3e7d4a43b7ce0e560e0a43047e02d226eb9b901df9457390a6cf477a94"

static void digest_text(const void *data, size_t bytes, char text[FM_DIGEST_TEXT_SIZE])
{
    char path[128];
    uint8_t digest[FM_DIGEST_BYTES];
    (void)snprintf(path, sizeof(path), "%s/file", fixture_root);
    put_bytes(path, data, bytes);
    int fd = open(path, O_RDONLY);
    assert_int_equal(lseek(fd, 0, SEEK_END), bytes); /* the position must not matter */
    assert_int_equal(fm_keyed_hash_digest(fd, "file", digest, NULL), 0);
    (void)close(fd);
    fm_files_hex(digest, sizeof(digest), text);
}

static void digests(void **state)
{
    (void)state;
    char text[FM_DIGEST_TEXT_SIZE];
    static uint8_t data[100001];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 7);
    digest_text("", 0, text);
    assert_string_equal(text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    digest_text("machine code", 12, text);
    assert_string_equal(text, CODE_DIGEST);
    static const char large[] = "7d43909f5b444a28e5df4db80c336f9da966feb9e17e27dc100a1ed1c3fda116";
    digest_text(data, sizeof(data), text);
    assert_string_equal(text, large);
    for (long nth = 1; nth <= 5; nth++) {
        faults_arm_short(nth);
        digest_text(data, sizeof(data), text);
        assert_true(faults_disarm());
        assert_string_equal(text, large);
    }
    uint8_t digest[FM_DIGEST_BYTES];
    struct fm_error error = {0};
    assert_int_equal(fm_keyed_hash_digest(-1, "file", digest, &error), FM_ERR_IO);
}

struct input {
    uint8_t key[FM_KEY_BYTES];
    const char *user, *function, *id, *build;
    uint8_t digest[FM_DIGEST_BYTES];
};

static struct input usual(void)
{
    struct input input = {.user = "simon", .function = "echo", .id = ID, .build = "engine 1"};
    for (size_t i = 0; i < FM_KEY_BYTES; i++)
        input.key[i] = (uint8_t)i;
    for (size_t i = 0; i < FM_DIGEST_BYTES; i++) {
        unsigned byte = 0;
        assert_int_equal(sscanf(CODE_DIGEST + 2 * i, "%2x", &byte), 1);
        input.digest[i] = (uint8_t)byte;
    }
    return input;
}

static void hash(const struct input *input, char text[FM_DIGEST_TEXT_SIZE])
{
    struct fm_version version = {.user = input->user, .function = input->function, .id = input->id};
    fm_keyed_hash(input->key, &version, input->build, input->digest, text);
}

static void assert_differs(const struct input *input)
{
    char text[FM_DIGEST_TEXT_SIZE];
    hash(input, text);
    assert_string_not_equal(text, CODE_HASH);
}

static void covers_everything(void **state)
{
    (void)state;
    char text[FM_DIGEST_TEXT_SIZE];
    struct input input = usual();
    hash(&input, text);
    assert_string_equal(text, CODE_HASH);

    for (size_t i = 0; i < FM_KEY_BYTES; i++) {
        input = usual();
        input.key[i] ^= 1;
        assert_differs(&input);
    }
    for (size_t i = 0; i < FM_DIGEST_BYTES; i++) {
        input = usual();
        input.digest[i] ^= 0x80;
        assert_differs(&input);
    }
    input = usual();
    input.user = "Simon";
    assert_differs(&input);
    input = usual();
    input.function = "ech0";
    assert_differs(&input);
    input = usual();
    input.id = "01932c07-209c-7000-8000-0123456789ac";
    assert_differs(&input);
    input = usual();
    input.build = "engine 2";
    assert_differs(&input);
    input = usual(); /* the same letters, cut elsewhere */
    input.user = "simone";
    input.function = "cho";
    assert_differs(&input);
}

static void compares(void **state)
{
    (void)state;
    assert_true(fm_keyed_hash_equal(CODE_HASH, CODE_HASH));
    assert_false(fm_keyed_hash_equal(CODE_HASH, CODE_DIGEST));
    assert_false(fm_keyed_hash_equal("abc", "ab"));
    assert_false(fm_keyed_hash_equal("", "a"));
    assert_true(fm_keyed_hash_equal("", ""));
    char other[] = CODE_HASH;
    other[63] ^= 1;
    assert_false(fm_keyed_hash_equal(CODE_HASH, other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(digests),
        cmocka_unit_test(covers_everything),
        cmocka_unit_test(compares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
