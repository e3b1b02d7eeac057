/* new_files.c - the templates of sdk/, and what they need of the SDK, as data of the program.
 *
 * So `faasm new` works wherever the program does, and what it writes fits the program's version.
 * The alternative, a folder beside the program, is one more thing to install, find and keep in
 * step. The assembler takes the files in as they are (CMakeLists.txt tells it where they are, and
 * the build what this file depends on); tests/e2e/test_new.py looks that none was forgotten. */
#include "cmd/new_files.h"

/* Each source once: a name for it here, and its path. */
#define SOURCES(X)                                                                                 \
    X(gitignore, "sdk/templates/gitignore")                                                        \
    X(faasm_h, "include/faasm/faasm.h")                                                            \
    X(faasm_native_h, "include/faasm/faasm-native.h")                                              \
    X(c_makefile, "sdk/templates/c/Makefile")                                                      \
    X(c_readme, "sdk/templates/c/README.md")                                                       \
    X(c_function, "sdk/templates/c/function.c")                                                    \
    X(cpp_makefile, "sdk/templates/cpp/Makefile")                                                  \
    X(cpp_readme, "sdk/templates/cpp/README.md")                                                   \
    X(cpp_function, "sdk/templates/cpp/function.cpp")                                              \
    X(js_makefile, "sdk/templates/js/Makefile")                                                    \
    X(js_readme, "sdk/templates/js/README.md")                                                     \
    X(js_function, "sdk/templates/js/function.js")                                                 \
    X(js_build, "sdk/js/build")                                                                    \
    X(js_runner, "sdk/js/runner.c")                                                                \
    X(js_libc, "sdk/js/quickjs-libc.h")                                                            \
    X(rust_makefile, "sdk/templates/rust/Makefile")                                                \
    X(rust_readme, "sdk/templates/rust/README.md")                                                 \
    X(rust_cargo, "sdk/templates/rust/Cargo.toml")                                                 \
    X(rust_main, "sdk/templates/rust/main.rs")                                                     \
    X(rust_crate_cargo, "sdk/rust/Cargo.toml")                                                     \
    X(rust_crate_lib, "sdk/rust/src/lib.rs")                                                       \
    X(rust_crate_host, "sdk/rust/src/host.rs")                                                     \
    X(rust_crate_native, "sdk/rust/src/native.rs")                                                 \
    X(rust_crate_with_std, "sdk/rust/src/with_std.rs")                                             \
    X(zig_makefile, "sdk/templates/zig/Makefile")                                                  \
    X(zig_readme, "sdk/templates/zig/README.md")                                                   \
    X(zig_function, "sdk/templates/zig/function.zig")                                              \
    X(zig_faasm, "sdk/zig/faasm.zig")

#define EMBED(name, path)                                                                          \
    __asm__(".pushsection .rodata\n"                                                               \
            "fm_new_" #name ":\n"                                                                  \
            "    .incbin \"" FAASM_SOURCES "/" path "\"\n"                                         \
            "1:\n"                                                                                 \
            "    .balign 8\n"                                                                      \
            "fm_new_" #name "_bytes:\n"                                                            \
            "    .quad 1b - fm_new_" #name "\n"                                                    \
            ".popsection\n");                                                                      \
    extern const char fm_new_##name[] __attribute__((visibility("hidden")));                       \
    extern const uint64_t fm_new_##name##_bytes __attribute__((visibility("hidden")));
SOURCES(EMBED)

#define ROW(language, path, name)                                                                  \
    {                                                                                              \
        language, path, fm_new_##name, &fm_new_##name##_bytes, false                               \
    }
#define PROGRAM(language, path, name)                                                              \
    {                                                                                              \
        language, path, fm_new_##name, &fm_new_##name##_bytes, true                                \
    }

const struct fm_new_file fm_new_files[] = {
    ROW("c", ".gitignore", gitignore),
    ROW("c", "Makefile", c_makefile),
    ROW("c", "README.md", c_readme),
    ROW("c", "function.c", c_function),
    ROW("c", "include/faasm.h", faasm_h),
    ROW("c", "include/faasm-native.h", faasm_native_h),
    ROW("cpp", ".gitignore", gitignore),
    ROW("cpp", "Makefile", cpp_makefile),
    ROW("cpp", "README.md", cpp_readme),
    ROW("cpp", "function.cpp", cpp_function),
    ROW("cpp", "include/faasm.h", faasm_h),
    ROW("cpp", "include/faasm-native.h", faasm_native_h),
    ROW("js", ".gitignore", gitignore),
    ROW("js", "Makefile", js_makefile),
    ROW("js", "README.md", js_readme),
    ROW("js", "function.js", js_function),
    PROGRAM("js", "runner/build", js_build),
    ROW("js", "runner/runner.c", js_runner),
    ROW("js", "runner/quickjs-libc.h", js_libc),
    ROW("js", "runner/include/faasm.h", faasm_h),
    ROW("rust", ".gitignore", gitignore),
    ROW("rust", "Cargo.toml", rust_cargo),
    ROW("rust", "Makefile", rust_makefile),
    ROW("rust", "README.md", rust_readme),
    ROW("rust", "src/main.rs", rust_main),
    ROW("rust", "faasm/Cargo.toml", rust_crate_cargo),
    ROW("rust", "faasm/src/lib.rs", rust_crate_lib),
    ROW("rust", "faasm/src/host.rs", rust_crate_host),
    ROW("rust", "faasm/src/native.rs", rust_crate_native),
    ROW("rust", "faasm/src/with_std.rs", rust_crate_with_std),
    ROW("zig", ".gitignore", gitignore),
    ROW("zig", "Makefile", zig_makefile),
    ROW("zig", "README.md", zig_readme),
    ROW("zig", "faasm.zig", zig_faasm),
    ROW("zig", "function.zig", zig_function),
};
const size_t fm_new_files_count = FM_ARRAY_LENGTH(fm_new_files);
