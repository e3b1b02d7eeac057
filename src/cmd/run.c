/* run.c - `faasm run`: one module, once, without a server.
 *
 * The same guest layer as the server's, so that what runs here runs there: a call is made, its
 * streams lead to this process's own descriptors, and a loop of our own stands in for the
 * scheduler. A ticker thread advances the engine's clock, by which the limits are enforced. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "call/call.h"
#include "call/dump.h"
#include "cmd/cmd.h"
#include "cmd/run_files.h"
#include "cmd/run_tree.h"
#include "cmd/snapshot.h"
#include "engine/engine.h"
#include "engine/module.h"
#include "engine/snapshot.h"
#include "files/content.h"
#include "files/tree.h"
#include "guest/guest.h"

#define VERB "run"
#define ENV_MAX 1024 /* --env options */
#define DIR_MAX 64   /* --dir options */

/* Of the files that the module has opened; see files/content.h. */
#define CONTENTS_BYTES (256 * FM_MIB)
#define CONTENTS_FILES 1000

struct run {
    const char *path;
    const char *dump_path; /* --coredump; NULL: none */
    struct fm_limits limits;
    bool cpu_limited; /* --limit cpu_ms was given; by default only memory is limited here */
    bool wall_limited;
    bool output_limited;
    uint64_t output_bytes; /* written so far */
    const char *env[ENV_MAX + 1];
    size_t env_count;
    const char *const *args;
    size_t args_count;
    const char *dirs[DIR_MAX]; /* of this machine; preopens[i] is what the module sees of it */
    struct fm_preopen preopens[DIR_MAX];
    size_t dirs_count;
    const char *files; /* NULL, or the folder that the module sees as its user's files */
    struct fm_contents *contents;
    struct fm_node *tree;

    struct fm_engine *engine;
    struct fm_module *module;
    struct fm_version *version;
    struct fm_call *call;
    struct fm_guest *guest;
    struct fm_buffer input;
    uint64_t cpu_start_ns;
    pthread_t ticker;
    bool ticking;
    atomic_bool stop;
};

/* --- streams ---------------------------------------------------------------------------------- */

static int write_all(int fd, const uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t written = write(fd, data, bytes);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return FM_ERR_IO;
        data += written;
        bytes -= (size_t)written;
    }
    return 0;
}

/* A command reads its input as it comes; the offset is where it has got to. */
static int64_t read_stream(struct fm_call *call, uint64_t offset, uint8_t *data, size_t bytes)
{
    (void)call;
    (void)offset;
    for (;;) {
        ssize_t got = read(STDIN_FILENO, data, bytes);
        if (got >= 0)
            return got;
        if (errno != EINTR)
            return FM_ERR_IO;
    }
}

static int write_stream(struct fm_call *call, const uint8_t *data, size_t bytes)
{
    struct run *run = call->owner;
    if (run->output_limited && bytes > run->limits.output_bytes - run->output_bytes)
        return FM_ERR_GUEST_LIMIT;
    run->output_bytes += bytes;
    return write_all(STDOUT_FILENO, data, bytes);
}

/* What was written cannot be taken back, so it is kept until the end: the last counts. */
static int keep_output(struct fm_call *call, const uint8_t *data, size_t bytes)
{
    return fm_call_io_memory.set_output(call, data, bytes);
}

static void log_stream(struct fm_call *call, const uint8_t *data, size_t bytes)
{
    if (write_all(STDERR_FILENO, data, bytes) != 0)
        call->log_truncated = true;
}

static const struct fm_call_io io_streamed = {read_stream, write_stream, keep_output, log_stream};

static int64_t read_whole(struct fm_call *call, uint64_t offset, uint8_t *data, size_t bytes)
{
    return fm_call_io_memory.read_input(call, offset, data, bytes);
}

/* Native functions ask for their input's size, so it is read before they start. */
static const struct fm_call_io io_whole = {read_whole, write_stream, keep_output, log_stream};

static int read_descriptor(int fd, struct fm_buffer *buffer, const char *name,
                           struct fm_error *error)
{
    for (;;) {
        int failed = fm_buffer_reserve(buffer, 64 * FM_KIB);
        if (failed == FM_ERR_TOO_LARGE) /* the last piece before the ceiling */
            failed = fm_buffer_reserve(buffer, buffer->length_max - buffer->length);
        if (failed)
            return fm_error_set(error, failed, "cannot read '%s': %s", name,
                                fm_err_meaning(failed));
        size_t room = buffer->capacity - buffer->length;
        room = (size_t)fm_min_u64(room, buffer->length_max - buffer->length);
        uint8_t beyond; /* at the ceiling: only the end of the file may follow */
        ssize_t got = read(fd, room ? buffer->data + buffer->length : &beyond, room ? room : 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fm_error_errno(error, errno, "cannot read '%s'", name);
        if (got == 0)
            return 0;
        if (room == 0)
            return fm_error_set(error, FM_ERR_TOO_LARGE, "'%s' is larger than %zu bytes", name,
                                buffer->length_max);
        buffer->length += (size_t)got;
    }
}

/* --- the stages ------------------------------------------------------------------------------- */

/* As the server does at upload; here its log is shown, too. */
static int initialize(const uint8_t *wasm, size_t bytes, struct fm_snapshot *ret_snapshot,
                      struct fm_error *error)
{
    struct fm_arena arena;
    struct fm_refusal refusal = {0};
    fm_arena_init(&arena, 16 * FM_MIB);
    int failed = fm_snapshot_make(wasm, bytes, true, &arena, ret_snapshot, &refusal, error);
    if (failed || refusal.log)
        (void)fprintf(stderr, "%s%s", refusal.log ? refusal.log : "",
                      refusal.backtrace ? refusal.backtrace : "");
    fm_arena_done(&arena);
    return failed;
}

static int compile_binary(struct run *run, const uint8_t *wasm, size_t bytes,
                          struct fm_error *error)
{
    struct fm_snapshot snapshot = {0};
    bool wanted = fm_snapshot_wanted(wasm, bytes);
    int failed = wanted ? initialize(wasm, bytes, &snapshot, error) : 0;
    const uint8_t *source = wanted ? snapshot.wasm : wasm;
    size_t source_bytes = wanted ? snapshot.bytes : bytes;
    if (!failed)
        failed = fm_module_compile(run->engine, source, source_bytes, &run->module, error);
    if (!failed && fm_module_lines(run->module, wasm, bytes, source, source_bytes) != 0)
        failed = fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    free(snapshot.wasm);
    return failed;
}

static int compile(struct run *run, struct fm_error *error)
{
    struct fm_buffer wasm;
    fm_buffer_init(&wasm, FM_MODULE_BYTES_MAX_DEFAULT);
    int fd = open(run->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fm_error_errno(error, errno, "cannot read '%s'", run->path);
    int failed = read_descriptor(fd, &wasm, run->path, error);
    (void)close(fd); /* only read */
    if (!failed) {
        struct fm_error cause = {0};
        uint8_t *binary = NULL;
        size_t bytes = 0;
        failed = fm_module_from_text(wasm.data, wasm.length, &binary, &bytes, &cause);
        if (!failed)
            failed = compile_binary(run, binary ? binary : wasm.data, binary ? bytes : wasm.length,
                                    &cause);
        free(binary);
        if (failed)
            failed = fm_error_set(error, failed, "'%s': %s", run->path, cause.text);
    }
    fm_buffer_done(&wasm);
    return failed;
}

static int make_version(struct run *run, struct fm_error *error)
{
    struct fm_arena arena;
    fm_arena_init(&arena, 16 * FM_MIB);
    const char *slash = strrchr(run->path, '/');
    struct fm_version version = {
        .user = "run",
        .function = slash ? slash + 1 : run->path,
        .id = "0",
        .limits = run->limits,
        .env = run->env,
        .env_count = run->env_count,
        .args = run->args,
        .args_count = run->args_count,
    };
    struct fm_error cause = {0};
    int failed = fm_guest_classify(run->module, &arena, &version.facts, NULL, &cause);
    if (!failed)
        failed = fm_guest_prepare(run->module, version.facts.abi, &cause);
    if (failed)
        failed = fm_error_set(error, failed, "'%s': %s", run->path, cause.text);
    if (!failed && fm_version_new(&version, &run->version) != 0)
        failed = fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    fm_arena_done(&arena);
    return failed;
}

static int open_files(struct run *run, struct fm_error *error)
{
    if (run->files) {
        const struct fm_contents_config config = {.bytes_max = CONTENTS_BYTES,
                                                  .files_max = CONTENTS_FILES};
        if (fm_contents_new(&config, &run->contents) != 0)
            return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
        uint64_t left_out = 0;
        int failed = fm_run_tree_read(run->files, run->contents, &run->tree, &left_out, error);
        if (failed)
            return failed;
        if (left_out > 0)
            (void)fprintf(stderr, "faasm: %s: '%s': left out what are no plain files (%llu)\n",
                          VERB, run->files, (unsigned long long)left_out);
    }
    for (size_t i = 0; i < run->dirs_count; i++) {
        int failed = fm_run_files_open(run->dirs[i], &run->preopens[i].folder, error);
        if (failed)
            return failed;
    }
    return 0;
}

static int make_call(struct run *run, struct fm_error *error)
{
    if (fm_call_new(run->version, &run->call) != 0)
        return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    struct fm_call *call = run->call;
    call->owner = run;
    call->io = &io_streamed;
    call->output.length_max = run->output_limited ? (size_t)run->limits.output_bytes : PTRDIFF_MAX;
    call->files = run->tree;
    call->preopens = run->files ? NULL : run->preopens; /* perhaps none */
    call->preopens_count = run->dirs_count;
    if (run->version->facts.abi != FM_ABI_WASI) {
        call->io = &io_whole;
        fm_buffer_init(&run->input, (size_t)run->limits.input_bytes);
        /* Nobody types the input of a function: at a terminal it is empty. */
        int failed = isatty(STDIN_FILENO)
                         ? 0
                         : read_descriptor(STDIN_FILENO, &run->input, "standard input", error);
        if (failed)
            return failed;
        call->input = run->input.data;
        call->input_bytes = run->input.length;
    }
    call->created_real_ns = fm_clock_real_ns();
    call->created_ns = fm_clock_monotonic_ns();
    call->deadline_ns =
        run->wall_limited ? call->created_ns + run->limits.wall_ms * FM_NS_PER_MS : UINT64_MAX;
    return 0;
}

static int on_tick(void *data)
{
    struct fm_call *call = data;
    struct run *run = call->owner;
    if (fm_clock_monotonic_ns() >= call->deadline_ns)
        return FM_ERR_DEADLINE;
    if (run->cpu_limited &&
        fm_clock_thread_cpu_ns() - run->cpu_start_ns > run->limits.cpu_ms * FM_NS_PER_MS) {
        fm_call_fail_limit(call, "cpu_ms", run->limits.cpu_ms);
        return FM_ERR_GUEST_LIMIT;
    }
    return 0;
}

static void *tick(void *data)
{
    struct run *run = data;
    while (!atomic_load(&run->stop)) {
        const struct timespec millisecond = {.tv_nsec = (long)FM_NS_PER_MS};
        (void)nanosleep(&millisecond, NULL); /* the tick itself; early is fine */
        fm_engine_tick(run->engine);
    }
    return NULL;
}

static void sleep_until(uint64_t until_ns)
{
    if (until_ns == UINT64_MAX) {
        (void)pause(); /* waits for ever, as it asked; a signal ends the process */
        return;
    }
    const struct timespec until = {.tv_sec = (time_t)(until_ns / FM_NS_PER_S),
                                   .tv_nsec = (long)(until_ns % FM_NS_PER_S)};
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL); /* early is fine */
}

static int execute(struct run *run, struct fm_error *error)
{
    struct fm_call *call = run->call;
    if (run->cpu_limited || run->wall_limited) {
        if (pthread_create(&run->ticker, NULL, tick, run) != 0)
            return fm_error_set(error, FM_ERR_BUSY, "cannot start a thread");
        run->ticking = true;
    }
    if (fm_guest_new(call, run->module, on_tick, &run->guest) != 0)
        return fm_error_set(error, FM_ERR_NOMEM, "out of memory");

    run->cpu_start_ns = fm_clock_thread_cpu_ns();
    fm_call_set_state(call, FM_CALL_RUNNING, fm_clock_monotonic_ns());
    for (;;) {
        enum fm_guest_state state = fm_guest_run(run->guest);
        if (state == FM_GUEST_DONE)
            break;
        if (state != FM_GUEST_PARKED)
            continue;
        struct fm_guest_wait wait;
        fm_guest_wait(run->guest, &wait);
        if (wait.content) {
            fm_guest_content_loaded(run->guest, fm_content_load(wait.content));
            continue;
        }
        if (call->deadline_ns < wait.until_ns) {
            sleep_until(call->deadline_ns);
            fm_call_fail(call, FM_ERR_DEADLINE, NULL);
            break;
        }
        sleep_until(wait.until_ns);
    }
    run->guest = fm_guest_free(run->guest);
    if (call->output.length > 0 &&
        write_all(STDOUT_FILENO, call->output.data, call->output.length) != 0)
        fm_call_fail(call, FM_ERR_IO, "the output could not be written");
    fm_call_set_state(call, FM_CALL_DONE, fm_clock_monotonic_ns());
    return 0;
}

static int write_dump(const struct run *run, struct fm_error *error)
{
    const struct fm_dump *dump = run->call->dump;
    if (!run->dump_path || run->call->error == 0)
        return 0;
    if (!dump)
        return fm_error_set(error, FM_ERR_NOT_FOUND, "no core dump was made");
    int fd = open(run->dump_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return fm_error_errno(error, errno, "cannot write '%s'", run->dump_path);
    int failed = write_all(fd, dump->data, dump->bytes);
    if (close(fd) != 0)
        failed = FM_ERR_IO;
    return failed ? fm_error_set(error, failed, "cannot write '%s'", run->dump_path) : 0;
}

/* What the shell sees: the module's own exit code (a shell has only 8 bits; what is not 0 stays
 * so), for other ends a message and a code of ours. */
static int report(const struct run *run)
{
    const struct fm_call *call = run->call;
    if (call->chains_count > 0)
        (void)fprintf(stderr, "faasm: %s: chained calls were not run (%u)\n", VERB,
                      call->chains_count);
    if (call->children_refused > 0)
        (void)fprintf(stderr, "faasm: %s: child calls were not run (%u)\n", VERB,
                      call->children_refused);
    if (call->error == 0 || call->error == FM_ERR_GUEST_EXIT) {
        int code = call->exit_code & 0xff;
        return code == 0 && call->exit_code != 0 ? 1 : code;
    }
    (void)fprintf(stderr, "faasm: %s: '%s': %s%s%s%s%s\n", VERB, run->path,
                  fm_err_meaning(call->error), call->trap[0] ? ": " : "", call->trap,
                  call->detail[0] ? ": " : "", call->detail);
    if (call->backtrace[0])
        (void)fprintf(stderr, "%s", call->backtrace);
    return fm_err_exit_code(call->error);
}

static void run_done(struct run *run)
{
    run->guest = fm_guest_free(run->guest);
    if (run->ticking) {
        atomic_store(&run->stop, true);
        (void)pthread_join(run->ticker, NULL); /* our own thread: cannot fail */
    }
    if (run->call)
        fm_call_free(run->call);
    for (size_t i = 0; i < run->dirs_count; i++) {
        struct fm_file *folder = run->preopens[i].folder;
        if (folder)
            folder->ops->close(folder);
    }
    fm_node_release(run->tree);
    if (run->contents)
        fm_contents_free(run->contents);
    fm_buffer_done(&run->input);
    fm_version_free(run->version);
    fm_module_free(run->module);
    fm_engine_free(run->engine);
}

/* --- arguments -------------------------------------------------------------------------------- */

static int parse_limit(struct run *run, const char *text)
{
    char name[32];
    const char *equals = strchr(text, '=');
    size_t length = equals ? (size_t)(equals - text) : 0;
    if (!equals || length >= sizeof(name))
        return fm_cmd_usage(VERB, "--limit wants NAME=VALUE, not '%s'", text);
    memcpy(name, text, length);
    name[length] = '\0';
    const struct fm_limit_row *row = fm_limit_row_find(name);
    if (!row)
        return fm_cmd_usage(VERB, "no limit is called '%s'", name);
    uint64_t value = 0;
    struct fm_error error = {0};
    if (fm_limit_parse(row, equals + 1, &value, &error) != 0)
        return fm_cmd_usage(VERB, "%s: %s", name, error.text);
    *fm_limits_at(&run->limits, row) = value;
    if (strcmp(name, "cpu_ms") == 0)
        run->cpu_limited = true;
    else if (strcmp(name, "wall_ms") == 0)
        run->wall_limited = true;
    else if (strcmp(name, "output_bytes") == 0)
        run->output_limited = true;
    else if (strcmp(name, "memory_bytes") != 0 && strcmp(name, "input_bytes") != 0 &&
             strcmp(name, "file_bytes") != 0 && strcmp(name, "chain_fanout") != 0)
        return fm_cmd_usage(VERB, "the limit %s means nothing here", name);
    return 0;
}

static int parse_env(struct run *run, const char *text)
{
    if (!strchr(text, '=') || text[0] == '=')
        return fm_cmd_usage(VERB, "--env wants NAME=VALUE, not '%s'", text);
    if (run->env_count == ENV_MAX)
        return fm_cmd_usage(VERB, "more than %d --env", ENV_MAX);
    run->env[run->env_count++] = text;
    return 0;
}

/* HOST or HOST::GUEST; cuts the text in two. */
static int parse_dir(struct run *run, char *text)
{
    char *guest = strstr(text, "::");
    if (guest) {
        *guest = '\0';
        guest += 2;
    } else {
        guest = text;
    }
    if (text[0] == '\0' || guest[0] == '\0')
        return fm_cmd_usage(VERB, "--dir wants HOST or HOST::GUEST");
    if (strlen(guest) > FM_FILE_PATH_BYTES_MAX)
        return fm_cmd_usage(VERB, "the name of a --dir has more than %d bytes",
                            FM_FILE_PATH_BYTES_MAX);
    if (run->dirs_count == DIR_MAX)
        return fm_cmd_usage(VERB, "more than %d --dir", DIR_MAX);
    run->dirs[run->dirs_count] = text;
    run->preopens[run->dirs_count].name = guest;
    run->dirs_count++;
    return 0;
}

static int parse(struct run *run, int argc, char **argv)
{
    static const struct option options[] = {
        {"coredump", required_argument, NULL, 'c'}, {"dir", required_argument, NULL, 'd'},
        {"env", required_argument, NULL, 'e'},      {"files", required_argument, NULL, 'f'},
        {"limit", required_argument, NULL, 'l'},    {NULL, 0, NULL, 0},
    };
    fm_limits_defaults(&run->limits);
    run->limits.input_bytes = FM_GIB; /* of a file that is the user's own */
    opterr = 0;
    optind = 1;
    for (;;) {
        int option = getopt_long(argc, argv, "+:", options, NULL);
        if (option == -1)
            break;
        int failed = 0;
        switch (option) {
        case 'c':
            run->dump_path = optarg;
            run->limits.coredump_bytes = FM_GIB;
            break;
        case 'd':
            failed = parse_dir(run, optarg);
            break;
        case 'e':
            failed = parse_env(run, optarg);
            break;
        case 'f':
            if (run->files)
                failed = fm_cmd_usage(VERB, "more than one --files");
            run->files = optarg;
            break;
        case 'l':
            failed = parse_limit(run, optarg);
            break;
        case ':':
            failed = fm_cmd_usage(VERB, "%s wants a value", argv[optind - 1]);
            break;
        default:
            failed = fm_cmd_usage(VERB, "bad option '%s'", argv[optind - 1]);
        }
        if (failed)
            return failed;
    }
    if (run->files && run->dirs_count > 0)
        return fm_cmd_usage(VERB, "either --dir or --files");
    if (optind == argc)
        return fm_cmd_usage(VERB, "which module?");
    run->path = argv[optind];
    run->args = (const char *const *)&argv[optind + 1];
    run->args_count = (size_t)(argc - optind - 1);
    return 0;
}

static int run_verb(int argc, char **argv)
{
    struct run run = {0};
    int usage = parse(&run, argc, argv);
    if (usage)
        return usage;

    struct fm_engine_config config;
    fm_engine_config_init(&config, false);
    config.memory_bytes_max = run.limits.memory_bytes;
    struct fm_error error = {0};
    int failed = open_files(&run, &error);
    if (!failed)
        failed = fm_engine_new(&config, &run.engine, &error);
    if (!failed)
        failed = fm_guest_imports_add(run.engine, &error);
    if (!failed)
        failed = compile(&run, &error);
    if (!failed)
        failed = make_version(&run, &error);
    if (!failed)
        failed = make_call(&run, &error);
    if (!failed)
        failed = execute(&run, &error);
    int code = failed ? fm_cmd_fail(VERB, &error) : report(&run);
    if (!failed && write_dump(&run, &error) != 0)
        code = fm_cmd_fail(VERB, &error);
    run_done(&run);
    return code;
}

const struct fm_verb fm_verb_run = {
    .name = VERB,
    .summary = "run one module once, without a server",
    .usage =
        "Usage: faasm run [OPTION...] FILE.wasm [ARG...]\n"
        "\n"
        "Runs a module once, as the server would: standard input is the function's input, "
        "standard\n"
        "output its output, standard error its log; the exit code is the module's own.\n"
        "\n"
        "  --coredump FILE     where a core dump is written if the module fails\n"
        "  --dir HOST[::GUEST] a folder that the module may also write, by its name here or\n"
        "                      as GUEST (may be given several times)\n"
        "  --files HOST        a folder that the module finds as /, as a user's files are on the\n"
        "                      server: what it writes stays in memory, and is gone at its end\n"
        "  --env NAME=VALUE    an environment variable (may be given several times)\n"
        "  --limit NAME=VALUE  a limit: memory_bytes, file_bytes (64MiB if not given),\n"
        "                      input_bytes (1GiB), chain_fanout (1000), cpu_ms, wall_ms,\n"
        "                      output_bytes (none)\n"
        "\n"
        "Without --dir and --files the module finds no folder at all.\n"
        "\n"
        "FILE may also be in the text format. Calls that the function chains or starts are not\n"
        "run.\n",
    .run = run_verb,
};
