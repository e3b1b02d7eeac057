/* new.c - `faasm new`: a folder with a function that builds with one command.
 *
 * It is the user's own from then on: nothing in it refers to this installation, and nothing is ever
 * written over. What goes wrong half-way leaves nothing behind. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/name.h"
#include "cmd/cmd.h"
#include "cmd/new_files.h"

#define VERB "new"
#define PLACEHOLDER "@NAME@"
#define PATH_BYTES_MAX 64 /* of a path in the table of files */

static bool is_of(const struct fm_new_file *file, const char *language)
{
    return strcmp(file->language, language) == 0;
}

static bool language_exists(const char *language)
{
    for (size_t i = 0; i < fm_new_files_count; i++)
        if (is_of(&fm_new_files[i], language))
            return true;
    return false;
}

static int unknown_language(const char *language)
{
    char names[200] = "";
    size_t length = 0;
    for (size_t i = 0; i < fm_new_files_count; i++)
        if (i == 0 || !is_of(&fm_new_files[i], fm_new_files[i - 1].language))
            length += (size_t)snprintf(names + length, sizeof(names) - length, "%s%s",
                                       i == 0 ? "" : ", ", fm_new_files[i].language);
    return fm_cmd_usage(VERB, "no language is called '%s'; there are %s", language, names);
}

/* Calls `step` for each folder on the way to the file, from the outside in. */
static int each_folder(const struct fm_new_file *file, int (*step)(int, const char *), int folder)
{
    char path[PATH_BYTES_MAX];
    FM_ASSERT(strlen(file->path) < sizeof(path));
    for (const char *slash = strchr(file->path, '/'); slash; slash = strchr(slash + 1, '/')) {
        memcpy(path, file->path, (size_t)(slash - file->path));
        path[slash - file->path] = '\0';
        int failed = step(folder, path);
        if (failed)
            return failed;
    }
    return 0;
}

static int make_folder(int folder, const char *path)
{
    return mkdirat(folder, path, 0777) == 0 || errno == EEXIST ? 0 : -1;
}

static int remove_folder(int folder, const char *path)
{
    (void)unlinkat(folder, path, AT_REMOVEDIR); /* fails while something is in it */
    return 0;
}

static void write_text(FILE *out, const struct fm_new_file *file, const char *name)
{
    const char *at = file->text;
    const char *end = at + *file->bytes;
    for (;;) {
        const char *mark = memmem(at, (size_t)(end - at), PLACEHOLDER, strlen(PLACEHOLDER));
        (void)fwrite(at, 1, (size_t)((mark ? mark : end) - at), out); /* ferror() tells */
        if (!mark)
            return;
        (void)fputs(name, out);
        at = mark + strlen(PLACEHOLDER);
    }
}

/* 0, or -1 with errno. */
static int write_file(int folder, const struct fm_new_file *file, const char *name)
{
    if (each_folder(file, make_folder, folder) != 0)
        return -1;
    int fd = openat(folder, file->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                    file->executable ? 0777 : 0666);
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
    if (!out) {
        if (fd >= 0)
            (void)close(fd); /* nothing was written */
        return -1;
    }
    write_text(out, file, name);
    bool failed = ferror(out) != 0;
    return fclose(out) != 0 || failed ? -1 : 0;
}

static void remove_files(int folder, const char *language)
{
    for (size_t i = 0; i < fm_new_files_count; i++)
        if (is_of(&fm_new_files[i], language))
            (void)unlinkat(folder, fm_new_files[i].path, 0); /* it may not have come to be */
    /* A folder within another goes first, so as many times as folders can lie in one another. */
    for (int depth = 0; depth < PATH_BYTES_MAX / 2; depth++)
        for (size_t i = 0; i < fm_new_files_count; i++)
            if (is_of(&fm_new_files[i], language))
                (void)each_folder(&fm_new_files[i], remove_folder, folder);
}

static int write_files(int folder, const char *language, const char *name, struct fm_error *error)
{
    for (size_t i = 0; i < fm_new_files_count; i++)
        if (is_of(&fm_new_files[i], language) && write_file(folder, &fm_new_files[i], name) != 0)
            return fm_error_errno(error, errno, "cannot write '%s/%s'", name, fm_new_files[i].path);
    return 0;
}

static int make_project(const char *language, const char *name, struct fm_error *error)
{
    if (mkdir(name, 0777) != 0) {
        if (errno == EEXIST)
            return fm_error_set(error, FM_ERR_CONFLICT, "'%s' exists already", name);
        return fm_error_errno(error, errno, "cannot make the folder '%s'", name);
    }
    int folder = open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int failed = folder < 0 ? fm_error_errno(error, errno, "cannot open the folder '%s'", name)
                            : write_files(folder, language, name, error);
    if (failed && folder >= 0)
        remove_files(folder, language);
    if (failed)
        (void)rmdir(name); /* the first failure is the one to tell */
    if (folder >= 0)
        (void)close(folder); /* nothing was written to it */
    return failed;
}

static int new_verb(int argc, char **argv)
{
    if (argc > 1 && argv[1][0] == '-')
        return fm_cmd_usage(VERB, "bad option '%s'", argv[1]);
    if (argc != 3)
        return fm_cmd_usage(VERB, "wants a language and a name");
    const char *language = argv[1];
    const char *name = argv[2];
    if (!language_exists(language))
        return unknown_language(language);
    if (!fm_name_valid(name, strlen(name)))
        return fm_cmd_usage(VERB,
                            "'%s' is no name of a function: letters, digits and ._- after the "
                            "first, at most %d",
                            name, (int)FM_NAME_LENGTH_MAX);

    struct fm_error error = {0};
    if (make_project(language, name, &error) != 0)
        return fm_cmd_fail(VERB, &error);
    (void)printf("%s/ is a function. Next, with its README.md:\n"
                 "\n"
                 "    cd %s && make\n"
                 "    echo -n you | faasm run %s.wasm\n",
                 name, name, name);
    return 0;
}

const struct fm_verb fm_verb_new = {
    .name = VERB,
    .summary = "make a folder with a function that builds",
    .usage =
        "Usage: faasm new LANGUAGE NAME\n"
        "\n"
        "Makes the folder NAME with a function that says hello, in one of the languages\n"
        "\n"
        "  c       with clang (LLVM 22) and wasi-libc; `make native` for the debugger\n"
        "  cpp     the same, and libc++\n"
        "  js      as a script for QuickJS, which its first build fetches and compiles\n"
        "  rust    with a Rust that has a target for WASI\n"
        "  zig     with Zig 0.17\n"
        "\n"
        "`make` in the folder makes NAME.wasm; its README.md says how to run, upload and call\n"
        "it. Nothing is ever written over.\n",
    .run = new_verb,
};
