/* function.h - a function's version: an immutable description of what runs.
 *
 * Every upload makes a new version.  A version is shared by all threads and never changes; the
 * registry (registry.h) says which one is current. */
#pragma once

#include "base/arena.h"
#include "base/base.h"
#include "base/error.h"
#include "base/limits.h"

enum fm_abi {
    FM_ABI_FAASM,      /* `_start`, and imports from `faasm` */
    FM_ABI_WASI,       /* `_start`: a plain command */
    FM_ABI_FAASM_2018, /* `run(i32,i32,i32,i32) -> i32` */
    FM_ABI_REACTOR,    /* `handle() -> i32`, perhaps `_initialize` */
};

const char *fm_abi_text(enum fm_abi abi); /* "faasm", "wasi", "faasm-2018", "reactor" */
FM_MUST_CHECK int fm_abi_parse(const char *text, enum fm_abi *ret_abi);

/* What the module itself says, found at compile time. */
struct fm_module_facts {
    enum fm_abi abi;
    bool has_initialize;        /* `_initialize`, to be called before each entry */
    bool snapshot;              /* calls start from its memory after its initialisation */
    uint64_t snapshot_us;       /* CPU time that this took */
    uint64_t memory_pages_min;  /* of 64 KiB */
    const char *const *imports; /* "module.name", sorted, each once */
    size_t imports_count;
};

/* What a module that was refused imports, and this server lacks or has with another type. */
struct fm_missing_imports {
    const char *const *names; /* as in the facts; NULL: they are over FM_IMPORTS_BYTES_MAX */
    size_t count;             /* 0: it was refused for something else */
};

/* Why a module was refused, beside the error.  Texts are printable; NULL where there is none. */
struct fm_refusal {
    struct fm_missing_imports missing;
    const char *trap; /* of its initialisation, and so are these */
    const char *backtrace;
    const char *log; /* the last of it */
};

/* Whether it imports this, "module.name". */
bool fm_module_imports(const struct fm_module_facts *facts, const char *import);

/* What names take in JSON without escapes: quotes and comma count, since many may be short. */
size_t fm_imports_bytes(const char *const *names, size_t count);

struct fm_version {
    const char *user;
    const char *function;
    const char *id;      /* of this version: sorts by upload time */
    const char *folder;  /* where its files lie; "" for a module without files */
    const char *sha256;  /* of the module, 64 hexadecimal digits */
    uint64_t size;       /* of the module, bytes */
    uint64_t created_ns; /* real time */
    struct fm_module_facts facts;
    struct fm_limits limits;
    const char *const *env; /* "NAME=value", NULL at the end */
    size_t env_count;
    const char *const *args; /* without argv[0], which is the function's name */
    size_t args_count;

    /* Of its module's imports, so that no call has to look at them. */
    bool uses_files;       /* it reaches files by name */
    bool writes_output;    /* by an import for it, and not by printing */
    bool awaits_outputs;   /* as programs of later do: guest/later.c */
    struct fm_arena arena; /* holds all texts and lists above */
};

/* A deep copy, everything in its own arena.  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_version_new(const struct fm_version *from, struct fm_version **ret_version);
struct fm_version *fm_version_free(struct fm_version *version); /* NULL is fine; returns NULL */
