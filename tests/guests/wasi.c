/* wasi.c - every function of WASI preview 1, and every errno that it can give, from inside a guest.
 *
 * Runs in an empty folder that it may write, and leaves nothing there.  Prints what is not as the
 * specification has it; its exit code says whether there was any.  The functions are declared here
 * as they are in WebAssembly, so that any number can be handed to them. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define IMPORT(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))
#define I int32_t
#define L int64_t
#define P const void *

IMPORT(args_get) I args_get(P, P);
IMPORT(args_sizes_get) I args_sizes_get(P, P);
IMPORT(environ_get) I environ_get(P, P);
IMPORT(environ_sizes_get) I environ_sizes_get(P, P);
IMPORT(clock_res_get) I clock_res_get(I, P);
IMPORT(clock_time_get) I clock_time_get(I, L, P);
IMPORT(fd_advise) I fd_advise(I, L, L, I);
IMPORT(fd_allocate) I fd_allocate(I, L, L);
IMPORT(fd_close) I fd_close(I);
IMPORT(fd_datasync) I fd_datasync(I);
IMPORT(fd_fdstat_get) I fd_fdstat_get(I, P);
IMPORT(fd_fdstat_set_flags) I fd_fdstat_set_flags(I, I);
IMPORT(fd_fdstat_set_rights) I fd_fdstat_set_rights(I, L, L);
IMPORT(fd_filestat_get) I fd_filestat_get(I, P);
IMPORT(fd_filestat_set_size) I fd_filestat_set_size(I, L);
IMPORT(fd_filestat_set_times) I fd_filestat_set_times(I, L, L, I);
IMPORT(fd_pread) I fd_pread(I, P, I, L, P);
IMPORT(fd_prestat_get) I fd_prestat_get(I, P);
IMPORT(fd_prestat_dir_name) I fd_prestat_dir_name(I, P, I);
IMPORT(fd_pwrite) I fd_pwrite(I, P, I, L, P);
IMPORT(fd_read) I fd_read(I, P, I, P);
IMPORT(fd_readdir) I fd_readdir(I, P, I, L, P);
IMPORT(fd_renumber) I fd_renumber(I, I);
IMPORT(fd_seek) I fd_seek(I, L, I, P);
IMPORT(fd_sync) I fd_sync(I);
IMPORT(fd_tell) I fd_tell(I, P);
IMPORT(fd_write) I fd_write(I, P, I, P);
IMPORT(path_create_directory) I path_create_directory(I, P, I);
IMPORT(path_filestat_get) I path_filestat_get(I, I, P, I, P);
IMPORT(path_filestat_set_times) I path_filestat_set_times(I, I, P, I, L, L, I);
IMPORT(path_link) I path_link(I, I, P, I, I, P, I);
IMPORT(path_open) I path_open(I, I, P, I, I, L, L, I, P);
IMPORT(path_readlink) I path_readlink(I, P, I, P, I, P);
IMPORT(path_remove_directory) I path_remove_directory(I, P, I);
IMPORT(path_rename) I path_rename(I, P, I, I, P, I);
IMPORT(path_symlink) I path_symlink(P, I, I, P, I);
IMPORT(path_unlink_file) I path_unlink_file(I, P, I);
IMPORT(poll_oneoff) I poll_oneoff(P, P, I, P);
IMPORT(proc_raise) I proc_raise(I);
IMPORT(sched_yield) I yield(void);
IMPORT(random_get) I random_get(P, I);
IMPORT(sock_accept) I sock_accept(I, I, P);
IMPORT(sock_recv) I sock_recv(I, P, I, I, P, P);
IMPORT(sock_send) I sock_send(I, P, I, I, P);
IMPORT(sock_shutdown) I sock_shutdown(I, I);

enum {
    OK = 0, BADF = 8, EXIST = 20, FAULT = 21, FBIG = 22, ILSEQ = 25, INVAL = 28, ISDIR = 31,
    LOOP = 32, MFILE = 33, NAMETOOLONG = 37, NOENT = 44, NOTDIR = 54, NOTEMPTY = 55, NOTSOCK = 57,
    NOTSUP = 58, PERM = 63, SPIPE = 70, NOTCAPABLE = 76,
};
enum { CREATE = 1, DIRECTORY = 2, EXCLUSIVE = 4, TRUNCATE = 8 };
enum { FOLLOW = 1, APPEND = 1 };

#define READ ((L)1 << 1)
#define SEEK ((L)1 << 2)
#define SET_FLAGS ((L)1 << 3)
#define TELL ((L)1 << 5)
#define WRITE ((L)1 << 6)
#define READDIR ((L)1 << 14)
#define PATH_OPEN ((L)1 << 13)
#define PATH_STAT ((L)1 << 18)
#define FILE_ALL (L)(0x01 | 0x1fe | 7 << 21 | 1 << 27)

#define BAD ((P)0xfffffff0)     /* beyond every memory */
#define TEXT(s) (s), (I)(sizeof(s) - 1)

static int failures;
static int checks;
static I top; /* the folder */
static uint8_t out[256];
static uint32_t word;
static uint64_t number;

#define IS(expected, call) check(expected, call, #call, __LINE__)

static void check(long long expected, long long got, const char *what, int line)
{
    checks++;
    if (got == expected)
        return;
    failures++;
    printf("line %d: %s is %lld, not %lld\n", line, what, got, expected);
}

struct buffer {
    P at;
    uint32_t bytes;
};

static I open_file(const char *path, I oflags, L rights, I flags)
{
    I fd = -1;
    I failed = path_open(top, FOLLOW, path, (I)strlen(path), oflags, rights, 0, flags, &fd);
    IS(OK, failed);
    return fd;
}

static I open_folder(const char *path, L rights, L inheriting)
{
    I fd = -1;
    IS(OK, path_open(top, 0, path, (I)strlen(path), DIRECTORY, rights, inheriting, 0, &fd));
    return fd;
}

static uint64_t field(int offset)
{
    uint64_t value;
    memcpy(&value, out + offset, sizeof(value));
    return value;
}

/* --- what is not about files ------------------------------------------------------------------ */

static void process(void)
{
    uint32_t count = 0, bytes = 0;
    static char *pointers[64];
    static char texts[4096];
    IS(OK, args_sizes_get(&count, &bytes));
    IS(FAULT, args_sizes_get(BAD, &bytes));
    IS(FAULT, args_sizes_get(&count, BAD));
    IS(OK, args_get(pointers, texts));
    IS(1, strlen(pointers[0]) > 0);
    IS(FAULT, args_get(BAD, texts));
    IS(FAULT, args_get(pointers, BAD));
    IS(OK, environ_sizes_get(&count, &bytes));
    IS(FAULT, environ_sizes_get(BAD, &bytes));
    IS(OK, environ_get(pointers, texts));
    if (count > 0) {
        IS(1, strchr(pointers[0], '=') != NULL);
        IS(FAULT, environ_get(BAD, texts));
        IS(FAULT, environ_get(pointers, BAD));
    }
    for (I clock = 0; clock < 4; clock++) {
        IS(OK, clock_res_get(clock, &number));
        IS(1, number > 0);
        IS(OK, clock_time_get(clock, 0, &number));
        IS(FAULT, clock_res_get(clock, BAD));
        IS(FAULT, clock_time_get(clock, 0, BAD));
    }
    IS(INVAL, clock_res_get(4, &number));
    IS(INVAL, clock_time_get(-1, 0, &number));
    IS(OK, random_get(out, sizeof(out)));
    IS(OK, random_get(out, 0));
    IS(FAULT, random_get(BAD, 100));
    IS(OK, yield());
    IS(OK, proc_raise(0));
    IS(NOTSUP, proc_raise(1));
    IS(INVAL, proc_raise(31));
    IS(BADF, sock_accept(99, 0, &word));
    IS(NOTSOCK, sock_accept(1, 0, &word));
    IS(NOTSOCK, sock_recv(1, out, 0, 0, &word, &word));
    IS(BADF, sock_recv(99, out, 0, 0, &word, &word));
    IS(NOTSOCK, sock_send(top, out, 0, 0, &word));
    IS(BADF, sock_send(99, out, 0, 0, &word));
    IS(NOTSOCK, sock_shutdown(top, 1));
    IS(BADF, sock_shutdown(99, 1));
}

struct subscription {
    uint64_t userdata;
    uint8_t type;
    uint8_t unused[7];
    uint32_t fd; /* or a clock */
    uint64_t timeout;
    uint64_t precision;
    uint16_t flags;
};

static void polling(void)
{
    I fd = open_file("p", CREATE, FILE_ALL, 0);
    IS(OK, fd_filestat_set_size(fd, 10));
    struct subscription in[4] = {
        {.userdata = 1, .type = 1, .fd = (uint32_t)fd},
        {.userdata = 2, .type = 2, .fd = (uint32_t)fd},
        {.userdata = 3, .type = 1, .fd = 99},
        {.userdata = 4, .type = 0, .fd = 1, .timeout = 1000},
    };
    IS(OK, poll_oneoff(in, out, 3, &word));
    IS(3, word);
    IS(1, field(0));
    IS(0, field(8) & 0xffff);
    IS(10, field(16)); /* that many bytes can be read */
    IS(2, field(32));
    IS(0, field(40) & 0xffff);
    IS(BADF, field(72) & 0xffff);
    IS(OK, poll_oneoff(in + 3, out, 1, &word)); /* a microsecond */
    IS(1, word);
    IS(4, field(0));
    in[0].fd = (uint32_t)top;
    IS(OK, poll_oneoff(in, out, 1, &word));
    IS(ISDIR, field(8) & 0xffff);
    IS(INVAL, poll_oneoff(in, out, 0, &word));
    IS(FAULT, poll_oneoff(BAD, out, 1, &word));
    IS(FAULT, poll_oneoff(in, BAD, 1, &word));
    IS(FAULT, poll_oneoff(in, out, 1, BAD));
    in[0].type = 3;
    IS(INVAL, poll_oneoff(in, out, 1, &word));
    IS(OK, fd_close(fd));
    IS(OK, path_unlink_file(top, TEXT("p")));
}

/* --- folders that were given ------------------------------------------------------------------ */

static void preopens(void)
{
    static char name[4100];
    for (top = 3; fd_prestat_get(top, out) == OK; top++) {
        uint32_t length = (uint32_t)(field(0) >> 32);
        IS(0, out[0]);
        IS(OK, fd_prestat_dir_name(top, name, (I)sizeof(name)));
        IS(NAMETOOLONG, fd_prestat_dir_name(top, name, (I)length - 1));
        IS(FAULT, fd_prestat_dir_name(top, BAD, (I)length));
        IS(FAULT, fd_prestat_get(top, BAD));
        if (length == 1 && name[0] == '/')
            break;
    }
    IS(BADF, fd_prestat_get(99, out));
    IS(BADF, fd_prestat_get(1, out));
    IS(BADF, fd_prestat_dir_name(99, name, 10));
    IS(OK, fd_fdstat_get(top, out));
    IS(3, out[0]);
    IS(OK, fd_filestat_get(top, out));
    IS(3, out[16]);
    IS(FAULT, fd_fdstat_get(top, BAD));
    IS(FAULT, fd_filestat_get(top, BAD));
}

/* --- path_open -------------------------------------------------------------------------------- */

static void opening(void)
{
    I fd = -1;
    IS(OK, path_open(top, 0, TEXT("f"), CREATE | EXCLUSIVE, FILE_ALL, 0, 0, &fd));
    IS(OK, fd_close(fd));
    IS(EXIST, path_open(top, 0, TEXT("f"), CREATE | EXCLUSIVE, FILE_ALL, 0, 0, &fd));
    IS(NOENT, path_open(top, 0, TEXT("g"), 0, FILE_ALL, 0, 0, &fd));
    IS(NOENT, path_open(top, 0, TEXT("g/h"), CREATE, FILE_ALL, 0, 0, &fd));
    IS(NOENT, path_open(top, 0, TEXT(""), 0, READ, 0, 0, &fd));
    IS(NOTDIR, path_open(top, 0, TEXT("f"), DIRECTORY, READ, 0, 0, &fd));
    IS(NOTDIR, path_open(top, 0, TEXT("f/"), 0, READ, 0, 0, &fd));
    IS(NOTDIR, path_open(top, 0, TEXT("f/g"), CREATE, READ, 0, 0, &fd));
    IS(ISDIR, path_open(top, 0, TEXT("."), DIRECTORY, READ | WRITE, 0, 0, &fd));
    IS(ISDIR, path_open(top, 0, TEXT("new/"), CREATE, READ, 0, 0, &fd));
    IS(PERM, path_open(top, 0, TEXT(".."), 0, READ, 0, 0, &fd));
    IS(PERM, path_open(top, 0, TEXT("/f"), 0, READ, 0, 0, &fd));
    IS(PERM, path_open(top, 0, TEXT("./../f"), 0, READ, 0, 0, &fd));
    IS(INVAL, path_open(top, 0, TEXT("f\0g"), 0, READ, 0, 0, &fd));
    IS(ILSEQ, path_open(top, 0, TEXT("f\xff"), 0, READ, 0, 0, &fd));
    IS(INVAL, path_open(top, 0, TEXT("f"), 16, READ, 0, 0, &fd));
    IS(INVAL, path_open(top, 0, TEXT("f"), 0, READ, 0, 32, &fd));
    IS(FAULT, path_open(top, 0, BAD, 20, 0, READ, 0, 0, &fd));
    IS(FAULT, path_open(top, 0, TEXT("f"), 0, READ, 0, 0, BAD));
    IS(BADF, path_open(99, 0, TEXT("f"), 0, READ, 0, 0, &fd));
    IS(NOTDIR, path_open(1, 0, TEXT("f"), 0, READ, 0, 0, &fd));

    static char path[5000];
    memset(path, 'x', sizeof(path));
    IS(NAMETOOLONG, path_open(top, 0, path, 256, CREATE, READ, 0, 0, &fd));
    IS(OK, path_open(top, 0, path, 255, CREATE, READ, 0, 0, &fd));
    IS(OK, fd_close(fd));
    IS(OK, path_unlink_file(top, path, 255));
    for (int i = 0; i + 2 < (int)sizeof(path); i += 2)
        memcpy(path + i, "./", 2);
    path[4094] = 'f';
    IS(OK, path_open(top, 0, path, 4095, 0, READ, 0, 0, &fd));
    IS(OK, fd_close(fd));
    IS(NAMETOOLONG, path_open(top, 0, path, 4096, 0, READ, 0, 0, &fd));
    IS(OK, path_unlink_file(top, TEXT("f")));
}

static void rights(void)
{
    I fd = -1, file = -1;
    IS(OK, path_create_directory(top, TEXT("d")));
    I folder = open_folder("d", PATH_OPEN | PATH_STAT, READ);
    IS(NOTCAPABLE, path_open(folder, 0, TEXT("f"), CREATE, READ, 0, 0, &fd));
    IS(NOTCAPABLE, path_create_directory(folder, TEXT("e")));
    IS(NOTCAPABLE, path_unlink_file(folder, TEXT("e")));
    IS(NOTCAPABLE, path_remove_directory(folder, TEXT("e")));
    IS(NOTCAPABLE, path_symlink(TEXT("x"), folder, TEXT("e")));
    IS(NOTCAPABLE, path_readlink(folder, TEXT("e"), out, 5, &word));
    IS(NOTCAPABLE, path_link(folder, 0, TEXT("e"), top, TEXT("f")));
    IS(NOTCAPABLE, path_link(top, 0, TEXT("e"), folder, TEXT("f")));
    IS(NOTCAPABLE, path_rename(folder, TEXT("e"), top, TEXT("f")));
    IS(NOTCAPABLE, path_rename(top, TEXT("e"), folder, TEXT("f")));
    IS(NOTCAPABLE, path_filestat_set_times(folder, 0, TEXT("."), 0, 0, 1));
    IS(NOTCAPABLE, fd_readdir(folder, out, sizeof(out), 0, &word));
    IS(NOTCAPABLE, fd_filestat_get(folder, out));
    IS(NOTCAPABLE, fd_filestat_set_times(folder, 0, 0, 1));
    IS(OK, path_filestat_get(folder, 0, TEXT("."), out));
    IS(ISDIR, fd_read(folder, out, 0, &word));
    IS(ISDIR, fd_write(folder, out, 0, &word));
    IS(ISDIR, fd_pread(folder, out, 0, 0, &word));
    IS(ISDIR, fd_pwrite(folder, out, 0, 0, &word));
    IS(NOTCAPABLE, fd_seek(folder, 0, 0, &number));
    IS(NOTCAPABLE, fd_tell(folder, &number));
    IS(NOTCAPABLE, fd_advise(folder, 0, 0, 0));
    IS(NOTCAPABLE, fd_allocate(folder, 0, 1));
    IS(NOTCAPABLE, fd_filestat_set_size(folder, 0));
    IS(NOTCAPABLE, fd_sync(folder));
    IS(NOTCAPABLE, fd_datasync(folder));
    IS(NOTCAPABLE, fd_fdstat_set_flags(folder, 0));
    IS(NOTCAPABLE, fd_fdstat_set_rights(folder, PATH_OPEN | READDIR, 0));
    IS(NOTCAPABLE, fd_fdstat_set_rights(folder, PATH_OPEN, READ | WRITE));
    file = open_file("d/f", CREATE, READ, 0);
    IS(NOTCAPABLE, path_open(folder, 0, TEXT("f"), TRUNCATE, READ, 0, 0, &fd));
    IS(NOTCAPABLE, path_open(folder, 0, TEXT("f"), 0, READ | WRITE, 0, 0, &fd));
    IS(NOTCAPABLE, path_open(folder, 0, TEXT("f"), 0, READ, WRITE, 0, &fd));
    IS(OK, path_open(folder, 0, TEXT("f"), 0, READ, 0, 0, &fd));
    IS(NOTCAPABLE, fd_write(fd, out, 0, &word));
    IS(NOTCAPABLE, fd_pread(fd, out, 0, 0, &word));
    IS(NOTCAPABLE, fd_seek(fd, 0, 0, &number));
    IS(NOTCAPABLE, fd_filestat_get(fd, out));
    IS(OK, fd_read(fd, out, 0, &word));
    IS(OK, fd_fdstat_set_rights(folder, 0, 0));
    IS(NOTCAPABLE, path_open(folder, 0, TEXT("f"), 0, 0, 0, 0, &fd));
    IS(NOTCAPABLE, path_filestat_get(folder, 0, TEXT("f"), out));
    IS(OK, fd_close(fd));
    IS(OK, fd_close(file));
    IS(OK, fd_close(folder));
    IS(OK, path_unlink_file(top, TEXT("d/f")));
    IS(OK, path_remove_directory(top, TEXT("d")));
}

/* --- data ------------------------------------------------------------------------------------- */

static void data(void)
{
    char got[16] = "";
    struct buffer two[2] = {{"hello", 5}, {" you", 4}};
    struct buffer in[2] = {{got, 3}, {got + 8, 8}};
    struct buffer bad[2] = {{got, 3}, {BAD, 100}};
    I fd = open_file("f", CREATE, FILE_ALL, 0);
    IS(OK, fd_write(fd, two, 2, &word));
    IS(9, word);
    IS(OK, fd_tell(fd, &number));
    IS(9, number);
    IS(OK, fd_seek(fd, -4, 1, &number));
    IS(5, number);
    IS(OK, fd_seek(fd, -8, 2, &number));
    IS(1, number);
    IS(OK, fd_read(fd, in, 2, &word));
    IS(8, word);
    IS(0, memcmp(got, "ell\0\0\0\0\0o you", 13));
    IS(OK, fd_read(fd, in, 2, &word));
    IS(0, word);
    IS(INVAL, fd_seek(fd, -1, 0, &number));
    IS(INVAL, fd_seek(fd, 0, 3, &number));
    IS(FAULT, fd_seek(fd, 0, 0, BAD));
    IS(FAULT, fd_tell(fd, BAD));
    IS(OK, fd_tell(fd, &number));
    IS(9, number);
    IS(FAULT, fd_read(fd, bad, 2, &word));
    IS(FAULT, fd_write(fd, bad, 2, &word));
    IS(FAULT, fd_read(fd, BAD, 1, &word));
    IS(FAULT, fd_write(fd, two, 1, BAD));
    IS(INVAL, fd_read(fd, two, 1025, &word));
    IS(BADF, fd_read(99, in, 1, &word));
    IS(BADF, fd_write(99, in, 1, &word));

    IS(OK, fd_pwrite(fd, two, 1, 20, &word));
    IS(5, word);
    IS(OK, fd_pread(fd, in, 2, 18, &word));
    IS(7, word);
    IS(0, memcmp(got, "\0\0h\0\0\0\0\0ello", 12));
    IS(OK, fd_tell(fd, &number));
    IS(9, number);
    IS(INVAL, fd_pread(fd, in, 1, -1, &word));
    IS(INVAL, fd_pwrite(fd, in, 1, -1, &word));
    IS(FAULT, fd_pread(fd, bad, 2, 0, &word));
    IS(FAULT, fd_pwrite(fd, bad, 2, 0, &word));
    IS(FAULT, fd_pread(fd, in, 1, 0, BAD));
    IS(BADF, fd_pread(99, in, 1, 0, &word));
    IS(BADF, fd_pwrite(99, in, 1, 0, &word));
    IS(SPIPE, fd_pread(0, in, 1, 0, &word));
    IS(SPIPE, fd_pwrite(1, in, 1, 0, &word));

    /* Buffers over one another are no way to make one call last. */
    static char page[65536];
    static struct buffer many[1024];
    for (int i = 0; i < 1024; i++)
        many[i] = (struct buffer){page, sizeof(page)};
    IS(OK, fd_filestat_set_size(fd, (L)1 << 40));
    IS(OK, fd_pread(fd, many, 1024, 100, &word));
    IS(__builtin_wasm_memory_size(0) * sizeof(page), word);
    IS(OK, fd_filestat_set_size(fd, 3));
    IS(INVAL, fd_filestat_set_size(fd, -1) == FBIG ? INVAL : fd_filestat_set_size(fd, -1));
    IS(OK, fd_filestat_get(fd, out));
    IS(4, out[16]);
    IS(1, field(24));
    IS(3, field(32));
    IS(OK, fd_allocate(fd, 0, 100));
    IS(INVAL, fd_allocate(fd, 0, 0));
    IS(OK, fd_filestat_get(fd, out));
    IS(100, field(32));
    IS(OK, fd_advise(fd, 0, 10, 5));
    IS(INVAL, fd_advise(fd, 0, 10, 6));
    IS(OK, fd_sync(fd));
    IS(OK, fd_datasync(fd));

    IS(OK, fd_filestat_set_times(fd, 5000, 7000, 5));
    IS(OK, fd_filestat_get(fd, out));
    IS(5000, field(40));
    IS(7000, field(48));
    IS(OK, fd_filestat_set_times(fd, 1, 1, 2));
    IS(OK, fd_filestat_get(fd, out));
    IS(1, field(40) > 1000000);
    IS(7000, field(48));
    IS(INVAL, fd_filestat_set_times(fd, 0, 0, 3));
    IS(INVAL, fd_filestat_set_times(fd, 0, 0, 12));
    IS(INVAL, fd_filestat_set_times(fd, 0, 0, 16));
    IS(OK, path_filestat_set_times(top, 0, TEXT("f"), 6000, 8000, 5));
    IS(OK, path_filestat_get(top, 0, TEXT("f"), out));
    IS(6000, field(40));
    IS(8000, field(48));
    IS(INVAL, path_filestat_set_times(top, 0, TEXT("f"), 0, 0, 3));
    IS(NOENT, path_filestat_set_times(top, 0, TEXT("g"), 0, 0, 1));
    IS(NOENT, path_filestat_get(top, 0, TEXT("g"), out));
    IS(FAULT, path_filestat_get(top, 0, TEXT("f"), BAD));
    IS(OK, fd_close(fd));
    IS(BADF, fd_close(fd));

    /* Appending moves to the end, whatever the position was. */
    fd = open_file("f", TRUNCATE, FILE_ALL, APPEND);
    IS(OK, fd_write(fd, two, 1, &word));
    IS(OK, fd_seek(fd, 0, 0, &number));
    IS(OK, fd_write(fd, two, 2, &word));
    IS(OK, fd_tell(fd, &number));
    IS(14, number);
    IS(OK, fd_fdstat_get(fd, out));
    IS(4, out[0]);
    IS(APPEND, out[2]);
    IS(FILE_ALL, field(8));
    IS(OK, fd_fdstat_set_flags(fd, 0));
    IS(INVAL, fd_fdstat_set_flags(fd, 32));
    IS(OK, fd_seek(fd, 0, 0, &number));
    IS(OK, fd_write(fd, two, 1, &word));
    IS(OK, fd_tell(fd, &number));
    IS(5, number);
    I other = open_file("f", 0, READ, 0);
    IS(OK, fd_renumber(fd, other));
    IS(BADF, fd_close(fd));
    IS(OK, fd_tell(other, &number));
    IS(5, number);
    IS(BADF, fd_renumber(other, fd));
    IS(BADF, fd_renumber(fd, other));
    IS(OK, fd_close(other));
    IS(OK, path_unlink_file(top, TEXT("f")));
}

/* --- names ------------------------------------------------------------------------------------ */

static void names(void)
{
    I fd = -1;
    IS(OK, path_create_directory(top, TEXT("d")));
    IS(EXIST, path_create_directory(top, TEXT("d")));
    IS(NOENT, path_create_directory(top, TEXT("x/y")));
    IS(PERM, path_create_directory(top, TEXT("../y")));
    IS(FAULT, path_create_directory(top, BAD, 20));
    IS(OK, path_create_directory(top, TEXT("d/e/")));
    IS(NOTEMPTY, path_remove_directory(top, TEXT("d")));
    IS(ISDIR, path_unlink_file(top, TEXT("d")));
    IS(OK, fd_close(open_file("d/f", CREATE, WRITE, 0)));
    IS(NOTDIR, path_remove_directory(top, TEXT("d/f")));
    IS(NOTDIR, path_unlink_file(top, TEXT("d/f/")));
    IS(NOENT, path_unlink_file(top, TEXT("d/g")));
    IS(NOENT, path_remove_directory(top, TEXT("d/g")));

    IS(OK, path_link(top, 0, TEXT("d/f"), top, TEXT("d/g")));
    IS(EXIST, path_link(top, 0, TEXT("d/f"), top, TEXT("d/g")));
    IS(INVAL, path_link(top, FOLLOW, TEXT("d/f"), top, TEXT("d/h")));
    IS(PERM, path_link(top, 0, TEXT("d/e"), top, TEXT("d/h")));
    IS(NOENT, path_link(top, 0, TEXT("d/x"), top, TEXT("d/h")));
    IS(PERM, path_link(top, 0, TEXT("d/f"), top, TEXT("../h")));
    IS(OK, path_filestat_get(top, 0, TEXT("d/g"), out));
    IS(2, field(24));
    IS(OK, path_unlink_file(top, TEXT("d/g")));

    IS(OK, path_symlink(TEXT("e"), top, TEXT("d/l")));
    IS(EXIST, path_symlink(TEXT("e"), top, TEXT("d/l")));
    IS(PERM, path_symlink(TEXT("/e"), top, TEXT("d/m")));
    IS(NOENT, path_symlink(TEXT("e"), top, TEXT("d/m/")));
    IS(OK, path_filestat_get(top, 0, TEXT("d/l"), out));
    IS(7, out[16]);
    IS(OK, path_filestat_get(top, FOLLOW, TEXT("d/l"), out));
    IS(3, out[16]);
    IS(LOOP, path_open(top, 0, TEXT("d/l"), 0, READ, 0, 0, &fd));
    IS(OK, path_readlink(top, TEXT("d/l"), out, 10, &word));
    IS(1, word);
    IS('e', out[0]);
    IS(OK, path_readlink(top, TEXT("d/l"), out, 0, &word));
    IS(0, word);
    IS(INVAL, path_readlink(top, TEXT("d/f"), out, 10, &word));
    IS(FAULT, path_readlink(top, TEXT("d/l"), BAD, 10, &word));
    IS(FAULT, path_readlink(top, TEXT("d/l"), out, 10, BAD));
    IS(OK, path_symlink(TEXT("../../out"), top, TEXT("d/out")));
    IS(PERM, path_open(top, FOLLOW, TEXT("d/out"), CREATE, READ, 0, 0, &fd));
    IS(OK, path_symlink(TEXT("loop"), top, TEXT("d/loop")));
    IS(LOOP, path_open(top, FOLLOW, TEXT("d/loop"), 0, READ, 0, 0, &fd));
    IS(LOOP, path_filestat_get(top, FOLLOW, TEXT("d/loop"), out));

    IS(OK, path_rename(top, TEXT("d/f"), top, TEXT("d/g")));
    IS(NOENT, path_rename(top, TEXT("d/f"), top, TEXT("d/g")));
    IS(NOTDIR, path_rename(top, TEXT("d/e"), top, TEXT("d/g")));
    IS(ISDIR, path_rename(top, TEXT("d/g"), top, TEXT("d/e")));
    IS(INVAL, path_rename(top, TEXT("d"), top, TEXT("d/e/d")));
    IS(PERM, path_rename(top, TEXT("d/g"), top, TEXT("../g")));
    IS(PERM, path_rename(top, TEXT("/g"), top, TEXT("g")));
    IS(FAULT, path_rename(top, BAD, 20, top, TEXT("g")));
    IS(FAULT, path_rename(top, TEXT("d/g"), top, BAD, 20));
    I folder = open_folder("d/e", (L)0x7ffffff & ~(READ | WRITE | FILE_ALL), 0);
    IS(OK, path_rename(top, TEXT("d/g"), folder, TEXT("g")));
    IS(NOTEMPTY, path_remove_directory(top, TEXT("d/e")));
    IS(OK, path_unlink_file(folder, TEXT("g")));
    IS(OK, fd_close(folder));
    IS(OK, path_unlink_file(top, TEXT("d/l")));
    IS(OK, path_unlink_file(top, TEXT("d/out")));
    IS(OK, path_unlink_file(top, TEXT("d/loop")));
    IS(OK, path_remove_directory(top, TEXT("d/e")));
    IS(OK, path_remove_directory(top, TEXT("d")));
}

/* --- listing ---------------------------------------------------------------------------------- */

static int list_with(I fd, I bytes, int *seen)
{
    static uint8_t buffer[4096];
    uint64_t from = 0;
    for (int rounds = 0; rounds < 1000; rounds++) {
        IS(OK, fd_readdir(fd, buffer, bytes, (L)from, &word));
        uint32_t at = 0;
        while (word - at >= 24) {
            uint32_t length;
            memcpy(&length, buffer + at + 16, 4);
            if (word - at < 24 + length)
                break;
            memcpy(&from, buffer + at, 8);
            const char *name = (const char *)buffer + at + 24;
            int which = length == 1 && name[0] == '.' ? 0
                        : length == 2 && name[0] == '.' ? 1
                        : length == 3 && name[0] == 'n' ? 2 + (name[1] - '0') * 10 + name[2] - '0'
                                                        : 99;
            seen[which]++;
            IS(which < 2 ? 3 : 4, buffer[at + 20]);
            at += 24 + length;
        }
        if (word < (uint32_t)bytes)
            return rounds;
    }
    return -1;
}

static void listing(void)
{
    char path[16] = "d/n00";
    IS(OK, path_create_directory(top, TEXT("d")));
    for (int i = 0; i < 40; i++) {
        path[3] = (char)('0' + i / 10);
        path[4] = (char)('0' + i % 10);
        IS(OK, fd_close(open_file(path, CREATE, 0, 0)));
    }
    I fd = open_folder("d", READDIR, 0);
    for (I bytes = 30; bytes <= 4096; bytes += bytes < 200 ? 7 : 1000) {
        int seen[100] = {0};
        IS(1, list_with(fd, bytes, seen) >= 0);
        for (int i = 0; i < 42; i++)
            IS(1, seen[i]);
        IS(0, seen[99]);
    }
    IS(OK, fd_readdir(fd, out, 0, 0, &word));
    IS(0, word);
    IS(FAULT, fd_readdir(fd, BAD, 100, 0, &word));
    IS(FAULT, fd_readdir(fd, out, 100, 0, BAD));
    IS(BADF, fd_readdir(99, out, 100, 0, &word));
    IS(NOTDIR, fd_readdir(1, out, 100, 0, &word));
    IS(OK, fd_close(fd));
    for (int i = 0; i < 40; i++) {
        path[3] = (char)('0' + i / 10);
        path[4] = (char)('0' + i % 10);
        IS(OK, path_unlink_file(top, path, 5));
    }
    IS(OK, path_remove_directory(top, TEXT("d")));
}

/* As many descriptors as there can be: 1024 with the streams and the folder. */
static void descriptors(void)
{
    I fd = -1;
    I first = open_file("f", CREATE, READ, 0);
    I last = first;
    while (path_open(top, 0, TEXT("f"), 0, READ, 0, 0, &fd) == OK)
        last = fd;
    IS(1023, last);
    IS(MFILE, path_open(top, 0, TEXT("f"), 0, READ, 0, 0, &fd));
    IS(OK, fd_close(500));
    IS(OK, path_open(top, 0, TEXT("f"), 0, READ, 0, 0, &fd));
    IS(500, fd); /* the lowest that is free */
    for (fd = first; fd <= last; fd++)
        IS(OK, fd_close(fd));
    IS(OK, path_unlink_file(top, TEXT("f")));
}

int main(void)
{
    preopens();
    process();
    polling();
    opening();
    rights();
    data();
    names();
    listing();
    descriptors();
    printf("%d checks, %d failures\n", checks, failures);
    return failures > 0;
}
