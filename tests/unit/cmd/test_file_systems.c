/* test_file_systems.c - the overlay of a call beside a folder of the machine: the same operations,
 * as chance will have them, must come out the same.  So the kernel says what the overlay must do.
 *
 * FAASM_SEED repeats one run; FAASM_ROUNDS makes it longer. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <errno.h>
#include <setjmp.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "cmd/run_files.h"
#include "files/content.h"
#include "files/overlay.h"
#include "files/tree.h"

#define OPERATIONS 600
#define OPENS_MAX 4

struct system {
    struct fm_file *top;
    struct fm_overlay *overlay;       /* NULL: a folder of the machine */
    struct fm_file *files[OPENS_MAX]; /* plain files that are open */
    bool written[OPENS_MAX];          /* they are open for writing */
    struct fm_file *folder;           /* a folder that is open */
};

static uint64_t chance_state;

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t chance(uint64_t below)
{
    uint64_t z = (chance_state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (z ^ (z >> 31)) % below;
}

static void make_path(char *path)
{
    static const char *const parts[] = {"a", "b", "c", "d", "a", "b", "l", "m", ".", ".."};
    path[0] = '\0';
    if (chance(60) == 0)
        strcat(path, "/");
    uint64_t count = chance(50) == 0 ? 0 : 1 + chance(3);
    for (uint64_t i = 0; i < count; i++) {
        strcat(path, parts[chance(FM_ARRAY_LENGTH(parts))]);
        if (i + 1 < count)
            strcat(path, chance(10) == 0 ? "//" : "/");
    }
    if (chance(12) == 0)
        strcat(path, "/");
}

/* One operation with what it works on, the same for both. */
struct operation {
    int what;
    char path[64];
    char other[64];
    unsigned how;
    bool follow;
    bool from_folder; /* from the one that is open instead of the top */
    bool to_folder;
    size_t slot;
    uint64_t offset;
    size_t bytes;
};

enum {
    OPEN,
    OPEN_FOLDER,
    CLOSE,
    STAT,
    MAKE_FOLDER,
    REMOVE_FOLDER,
    UNLINK,
    LINK,
    RENAME,
    MAKE_LINK,
    READ_LINK,
    READ,
    WRITE,
    SET_SIZE,
    OPERATIONS_COUNT,
};

static struct operation make_operation(void)
{
    static const unsigned hows[] = {
        FM_OPEN_READ,
        FM_OPEN_READ | FM_OPEN_WRITE,
        FM_OPEN_READ | FM_OPEN_WRITE | FM_OPEN_CREATE,
        FM_OPEN_READ | FM_OPEN_WRITE | FM_OPEN_CREATE | FM_OPEN_EXCLUSIVE,
        FM_OPEN_READ | FM_OPEN_WRITE | FM_OPEN_CREATE | FM_OPEN_TRUNCATE,
    };
    struct operation operation = {
        .what = (int)chance(OPERATIONS_COUNT),
        .how = hows[chance(FM_ARRAY_LENGTH(hows))] | (chance(2) ? FM_OPEN_FOLLOW : 0),
        .follow = chance(2),
        .from_folder = chance(4) == 0,
        .to_folder = chance(4) == 0,
        .slot = chance(OPENS_MAX),
        .offset = chance(3) == 0 ? FM_FILE_APPEND : chance(9000),
        .bytes = chance(6000),
    };
    make_path(operation.path);
    make_path(operation.other);
    return operation;
}

/* What is compared of a result: a number, and up to so many bytes. */
struct result {
    int64_t number;
    struct fm_file_stat stat;
    size_t bytes;
    uint8_t data[6000];
};

static void close_file(struct fm_file **file)
{
    if (*file)
        (*file)->ops->close(*file);
    *file = NULL;
}

/* What is to be loaded first is loaded. */
static int open_loaded(struct system *system, struct fm_file *folder, const char *path,
                       unsigned how, struct fm_file **ret_file)
{
    int failed = folder->ops->open(folder, path, how, ret_file);
    if (failed != FM_FILE_WAIT)
        return failed;
    struct fm_content *content = fm_overlay_awaited(system->overlay);
    assert_int_equal(fm_content_load(content), 0);
    failed = folder->ops->open(folder, path, how, ret_file);
    fm_content_unpin(content);
    return failed;
}

static int open_into(struct system *system, struct fm_file *folder,
                     const struct operation *operation, unsigned how, struct fm_file **file)
{
    struct fm_file *opened = NULL;
    int failed = open_loaded(system, folder, operation->path, how, &opened);
    if (failed)
        return failed;
    enum fm_file_type type = opened->type;
    close_file(file);
    if (type == (how & FM_OPEN_FOLDER ? FM_FILE_FOLDER : FM_FILE_PLAIN))
        *file = opened;
    else
        close_file(&opened);
    return (int)type + 100;
}

static void perform(struct system *system, const struct operation *o, struct result *result)
{
    struct fm_file *from = o->from_folder && system->folder ? system->folder : system->top;
    struct fm_file *to = o->to_folder && system->folder ? system->folder : system->top;
    struct fm_file *file = system->files[o->slot];
    *result = (struct result){0};
    switch (o->what) {
    case OPEN:
        result->number = open_into(system, from, o, o->how, &system->files[o->slot]);
        if (result->number > 0)
            system->written[o->slot] = o->how & FM_OPEN_WRITE;
        break;
    case OPEN_FOLDER:
        result->number =
            open_into(system, from, o, FM_OPEN_READ | FM_OPEN_FOLDER | (o->how & FM_OPEN_FOLLOW),
                      &system->folder);
        break;
    case CLOSE:
        close_file(&system->files[o->slot]);
        break;
    case STAT:
        result->number = from->ops->stat_at(from, o->path, o->follow, &result->stat);
        break;
    case MAKE_FOLDER:
        result->number = from->ops->make_folder(from, o->path);
        break;
    case REMOVE_FOLDER:
        result->number = from->ops->remove_folder(from, o->path);
        break;
    case UNLINK:
        result->number = from->ops->unlink(from, o->path);
        break;
    case LINK:
        result->number = from->ops->link(from, o->path, to, o->other);
        break;
    case RENAME:
        result->number = from->ops->rename(from, o->path, to, o->other);
        break;
    case MAKE_LINK:
        result->number = from->ops->make_link(from, o->other, o->path);
        break;
    case READ_LINK:
        result->number = from->ops->read_link(from, o->path, (char *)result->data, 20);
        break;
    case READ:
        if (file)
            result->number = file->ops->read(file, o->offset == FM_FILE_APPEND ? 3 : o->offset,
                                             result->data, o->bytes);
        break;
    case WRITE:
        memset(result->data, (int)(o->bytes % 251), o->bytes);
        if (file && system->written[o->slot])
            result->number = file->ops->write(file, o->offset, result->data, o->bytes);
        break;
    case SET_SIZE:
        if (file && system->written[o->slot])
            result->number = file->ops->set_size(file, o->bytes);
        break;
    }
    if (result->number > 0)
        result->bytes = (size_t)result->number;
    if (file && o->what >= READ && system->files[o->slot])
        (void)file->ops->stat(file, &result->stat);
}

static bool agree(const struct result *one, const struct result *other)
{
    bool plain = one->stat.type == FM_FILE_PLAIN;
    bool folder = one->stat.type == FM_FILE_FOLDER;
    return one->number == other->number && one->stat.type == other->stat.type &&
           (folder || one->stat.bytes == other->stat.bytes) &&
           (!plain || one->stat.links == other->stat.links) &&
           memcmp(one->data, other->data, sizeof(one->data)) == 0;
}

/* Of two paths each may be wrong in its own way, and so may a link's own path where a file is to be
 * made at its end: which one is told is not compared. */
static bool both_refuse(const struct operation *operation, const struct result *one,
                        const struct result *other)
{
    bool two_paths = operation->what >= LINK && operation->what <= MAKE_LINK;
    if (operation->what == OPEN)
        two_paths = (operation->how & FM_OPEN_CREATE) && (operation->how & FM_OPEN_FOLLOW);
    return two_paths && one->number < 0 && other->number < 0;
}

static void explain(uint64_t seed, int step, const struct operation *o, int64_t one, int64_t other)
{
    fail_msg("seed %llu, step %d: operation %d on '%s', '%s', how %u, follow %d, from %d, to %d: "
             "the overlay says %lld, the machine %lld",
             (unsigned long long)seed, step, o->what, o->path, o->other, o->how, o->follow,
             o->from_folder, o->to_folder, (long long)one, (long long)other);
}

/* Every name of a folder is in the other, with the same type. */
static void compare_names(struct fm_file *one, struct fm_file *other, uint64_t seed)
{
    struct fm_file_entry entry;
    uint64_t from = 0;
    while (one->ops->list(one, from, &entry) == 1) {
        char name[FM_FILE_NAME_BYTES_MAX + 1];
        struct fm_file_stat stat;
        memcpy(name, entry.name, entry.name_length);
        name[entry.name_length] = '\0';
        from = entry.next;
        if (strcmp(name, "..") == 0)
            continue;
        if (other->ops->stat_at(other, name, false, &stat) != 0 || stat.type != entry.type)
            fail_msg("seed %llu: '%s' is not in both", (unsigned long long)seed, name);
    }
}

/* What is there at first, in both: below the overlay it is the tree's. */
static void furnish(const char *folder, struct fm_contents *contents, struct fm_node **tree)
{
    static const char *const paths[] = {"a", "b/c", "b/d", "c/a/b", "c/a/d", "d"};
    char command[160];
    (void)snprintf(command, sizeof(command), "mkdir -p %s/b %s/c/a", folder, folder);
    assert_int_equal(system(command), 0);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(paths); i++) {
        char path[64];
        struct fm_content *content = NULL;
        struct fm_node *next = NULL;
        (void)snprintf(path, sizeof(path), "%s/%s", folder, paths[i]);
        FILE *out = fopen(path, "w");
        assert_non_null(out);
        for (size_t line = 0; line < i * 100; line++)
            assert_true(fprintf(out, "line %zu of %zu\n", line, i) > 0);
        long bytes = ftell(out);
        assert_int_equal(fclose(out), 0);
        assert_int_equal(fm_content_new(contents, path, (uint64_t)bytes, &content), 0);
        assert_int_equal(fm_tree_put(*tree, paths[i], 1, content, &next), 0);
        fm_content_release(content);
        fm_node_release(*tree);
        *tree = next;
    }
}

static void run_seed(uint64_t seed, bool furnished)
{
    char folder[] = "/tmp/faasm-systems-XXXXXX";
    char below[] = "/tmp/faasm-below-XXXXXX";
    char command[96];
    const struct fm_contents_config contents_config = {.bytes_max = FM_MIB, .files_max = 10};
    struct fm_overlay_config config = {.bytes_max = FM_GIB};
    struct fm_contents *contents = NULL;
    struct fm_overlay *overlay = NULL;
    struct system one = {0};
    struct system other = {0};
    struct fm_error error = {0};
    static struct result ours;
    static struct result theirs;
    chance_state = seed;
    assert_non_null(mkdtemp(folder));
    assert_non_null(mkdtemp(below));
    assert_int_equal(fm_contents_new(&contents_config, &contents), 0);
    assert_int_equal(fm_node_folder_new(1, &config.tree), 0);
    if (furnished) {
        furnish(below, contents, &config.tree);
        (void)snprintf(command, sizeof(command), "cp -r %s/. %s", below, folder);
        assert_int_equal(system(command), 0);
    }
    assert_int_equal(fm_overlay_new(&config, &overlay), 0);
    fm_node_release(config.tree);
    one.overlay = overlay;
    one.top = fm_overlay_root(overlay);
    assert_int_equal(fm_run_files_open(folder, &other.top, &error), 0);
    for (int step = 0; step < OPERATIONS; step++) {
        struct operation operation = make_operation();
        perform(&one, &operation, &ours);
        perform(&other, &operation, &theirs);
        if (!agree(&ours, &theirs) && !both_refuse(&operation, &ours, &theirs))
            explain(seed, step, &operation, ours.number, theirs.number);
    }
    compare_names(one.top, other.top, seed);
    compare_names(other.top, one.top, seed);
    for (size_t i = 0; i < OPENS_MAX; i++) {
        close_file(&one.files[i]);
        close_file(&other.files[i]);
    }
    close_file(&one.folder);
    close_file(&other.folder);
    close_file(&other.top);
    fm_overlay_free(overlay);
    fm_contents_free(contents);
    (void)snprintf(command, sizeof(command), "rm -r %s %s", folder, below);
    assert_int_equal(system(command), 0);
}

static void run_seeds(bool furnished)
{
    const char *given = getenv("FAASM_SEED");
    const char *rounds = getenv("FAASM_ROUNDS");
    uint64_t first = given ? strtoull(given, NULL, 10) : 1;
    uint64_t count = given ? 1 : rounds ? strtoull(rounds, NULL, 10) : 40;
    for (uint64_t seed = first; seed < first + count; seed++)
        run_seed(seed, furnished);
}

static void the_same_comes_out(void **state)
{
    (void)state;
    run_seeds(false);
}

static void the_same_comes_out_over_a_tree(void **state)
{
    (void)state;
    run_seeds(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_comes_out),
        cmocka_unit_test(the_same_comes_out_over_a_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
