"""What a user compiles, and what comes of it: faasm.h, the compiler wrapper, the samples and the
lines of docs/functions.md, each built with every compiler that is there and run by `faasm run`.

    FAASM           the program under test
    FAASM_SAMPLES   where script/samples has put the sample functions
"""

import collections
import os
import pathlib
import random
import re
import shlex
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FAASM = os.environ["FAASM"]
SAMPLES = pathlib.Path(os.environ["FAASM_SAMPLES"])
INCLUDE = ROOT / "include/faasm"
OLD_STYLE = ROOT / "tests/data/2018"

LIMIT = 65536  # MAX_INPUT_BYTES
REFUSED = 75
WARNINGS = ["-Wall", "-Wextra", "-pedantic", "-Wshadow", "-Wconversion", "-Wcast-qual", "-Wundef"]

NO_CPP_LIBRARY = "-nostdinc++"  # its headers want their own version of clang

# With which clang: 22, or Debian's default where there is no 22; and 14 where that can link.
DEFAULT = "22" if shutil.which("clang-22") else ""
VERSIONS = [DEFAULT]
if DEFAULT != "14" and shutil.which("clang-14") and shutil.which("wasm-ld-14"):
    VERSIONS.append("14")


def sh(*command, **options):
    """Runs a command that must succeed without a word of complaint."""
    result = subprocess.run([str(word) for word in command], capture_output=True, cwd=ROOT,
                            **options)
    assert result.returncode == 0, result.stderr.decode()
    assert result.stderr == b"", result.stderr.decode()
    return result.stdout


def complaint(*command, **options):
    """Runs a command that must fail; what it says about that."""
    result = subprocess.run([str(word) for word in command], capture_output=True, cwd=ROOT,
                            **options)
    assert result.returncode != 0
    return result.stderr.decode()


def run(program, stdin=b"", options=()):
    """Runs a module with `faasm run`, or a native program: (exit code, output, log)."""
    command = [str(program)]
    if command[0].endswith(".wasm"):
        command = [FAASM, "run", *options, *command]
    result = subprocess.run(command, input=stdin, capture_output=True, timeout=120)
    return result.returncode, result.stdout, result.stderr.decode()


def documented_line(driver):
    """The words of the line in docs/functions.md, up to what is compiled."""
    lines = (ROOT / "docs/functions.md").read_text().splitlines()
    line, = [line for line in lines if line.startswith(f"{driver}-22 ")]
    words = shlex.split(line)
    return words[: words.index("-o")]


class Compiler:
    """One way to compile: the documented line or the wrapper, with one LLVM."""

    def __init__(self, version, prefix=None):
        self.version = version
        self.prefix = prefix

    def command(self, driver="clang"):
        if self.prefix:
            return [self.prefix / "bin" / driver, "-I", INCLUDE]
        words = documented_line(driver)
        return [driver + (f"-{self.version}" if self.version else ""), *words[1:]]

    def environment(self):
        return dict(os.environ, FAASM_LLVM=self.version) if self.version else None

    def compile(self, out, *arguments, driver="clang"):
        sh(*self.command(driver), "-o", out, *arguments, env=self.environment())
        return out


@pytest.fixture(scope="session")
def prefix(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toolchain")
    sh(ROOT / "sdk/c/install", folder)
    return folder


@pytest.fixture(scope="session", params=[f"{way}-{version}" for way in ("line", "wrapper")
                                         for version in VERSIONS])
def compiler(request, prefix):
    way, version = request.param.split("-")
    return Compiler(version, prefix if way == "wrapper" else None)


@pytest.fixture(scope="session")
def wrapper(prefix):
    return Compiler(DEFAULT, prefix)


def source(folder, text, name="function.c"):
    path = folder / name
    path.write_text(f'#include "faasm.h"\n{text}\n')
    return path


def details(module):
    return sh("wasm-objdump", "-x", module).decode()


def imports(module):
    return set(re.findall(r" <- ([a-z0-9_.]+)$", details(module), re.M))


def exports(module):
    return set(re.findall(r' -> "([^"]+)"$', details(module), re.M))


OLD_IMPORTS = {"faasm.input_size", "faasm.input_read", "faasm.output_write", "faasm.log",
               "wasi_snapshot_preview1.proc_exit"}


# --- the sample functions ------------------------------------------------------------------------


def bytes_of(size):
    return random.Random(size).randbytes(size)


def check_hello(program):
    assert run(program) == (0, b"Hello faasm!", "")
    assert run(program, bytes_of(LIMIT)) == (0, b"Hello faasm!", "")


def check_echo(program):
    for text in (b"hello faasm", b"a\0b\0\0", b"\0", b"\0" * 70000):
        assert run(program, text) == (0, text, "")
    for size in (0, 1, LIMIT - 1, LIMIT, LIMIT + 1, 2 * LIMIT, 2 * LIMIT + 1, 3000000):
        assert run(program, bytes_of(size)) == (0, bytes_of(size), "")


def check_x2(program):
    assert run(program, bytes(range(10))) == (0, bytes(range(0, 20, 2)), "")
    for size in (0, 1, LIMIT - 1, LIMIT, LIMIT + 1, 1000000):
        given = bytes_of(size)
        assert run(program, given) == (0, bytes(2 * byte & 255 for byte in given), "")


def check_dummy(program):
    assert run(program, b"anything") == (0, bytes(range(5)), "")


def check_chain(program):
    code, output, log = run(program)
    assert (code, output) == (0, b"")
    if program.suffix != ".wasm":
        assert log == "".join(f"faasm: chains {name} with 3 bytes\n"
                              for name in ("echo", "x2", "dummy"))
        return
    # With no room for a chained call, each of the three is told to the log.
    code, output, log = run(program, options=["--limit", "chain_fanout=0"])
    assert log.count("not chained") == 3


def xorshift(steps):
    state = 88172645463325252
    for _ in range(steps):
        state ^= state << 13 & 2**64 - 1
        state ^= state >> 7
        state ^= state << 17 & 2**64 - 1
    return b"%016x" % state


def check_cpu(program):
    for text, steps in ((b"0", 0), (b"1", 1), (b"1000", 1000), (b"1000\n", 1000)):
        assert run(program, text) == (0, xorshift(steps), "")
    assert run(program)[1] == run(program, b"1000000")[1] == run(program, b"\n")[1]
    for bad in (b"x", b"12x", b"-1", b" 1", b"1\n1", b"18446744073709551616", b"9" * 1000):
        code, output, log = run(program, bad)
        assert (code, output) == (1, b"")
        assert "must be a number" in log


def run_alone(program, stdin):
    """Where no calls can be started: what is said of that, once at least, is taken off the log."""
    code, output, log = run(program, stdin)
    told = "child calls were not run" if program.suffix == ".wasm" else "faasm: cannot start"
    return code, output, [line for line in log.splitlines() if told not in line], told in log


def check_fib(program):
    for n, result in ((0, 0), (1, 1), (2, 1), (10, 55), (25, 75025)):
        assert run_alone(program, b"%d" % n) == (0, b"%d" % result, [], n > 1)
    assert run_alone(program, b"")[:3] == (0, b"6765", [])
    assert run_alone(program, b"15 15\n") == (0, b"610", [], False)  # as a child is asked
    for bad in (b"94", b"x", b"-1", b"99999999999"):
        code, output, log, _ = run_alone(program, bad)
        assert (code, output) == (1, b"")
        assert "must be a number" in log[0]


def words_of(text):
    counts = collections.Counter(re.findall(rb"[^ \t-\r]+", text))
    return b"".join(b"%s %d\n" % (word, counts[word]) for word in sorted(counts))


def check_wordcount(program):
    for text in (b"", b"\n", b"a", b" b a  b\tc\na b ", b"\0 \xff \0 a\0b", b"ab abc a ab b"):
        assert run_alone(program, text) == (0, words_of(text), [], False)
    long = b" ".join(b"%d" % number for number in random.Random(1).choices(range(5000), k=50000))
    assert run_alone(program, long) == (0, words_of(long), [], True)
    for size in (LIMIT - 1, LIMIT, LIMIT + 1, 300000):  # one word, which cannot be cut
        assert run_alone(program, b"x" * size) == (0, b"x" * size + b" 1\n", [], False)


def check_events(program):
    """Without HTTP there are three of them, a second apart."""
    code, output, log = run(program, b"tick\nmore")
    assert (code, log) == (0, "")
    assert output == b"".join(b"id: %d\ndata: tick %d\n\n" % (i, i) for i in (1, 2, 3))


def check_page(program):
    for body in (b"", b"hello", bytes_of(100000)):
        code, output, log = run(program, body)
        assert (code, log) == (0, "")
        assert output.startswith(b"Content-Type: text/html; charset=utf-8\n\n<!doctype html>")
        assert b"<p>%d bytes came" % len(body) in output


def check_primes(program):
    limit = 4000000
    sieve = bytearray([1]) * (limit + 1)
    sieve[:2] = b"\0\0"
    for n in range(2, int(limit ** 0.5) + 1):
        if sieve[n]:
            sieve[n * n::n] = bytes(len(range(n * n, limit + 1, n)))
    for n in (0, 1, 2, 3, 4, 8191, 8192, 8193, 1000000, limit):
        expected = b"%d %d" % (sum(sieve[:n + 1]), sieve.rfind(1, 0, n + 1) if n > 1 else 0)
        assert run(program, b"%d\n" % n) == (0, expected, "")
    for bad in (b"", b"x", b"4000001", b"7x", b"99999999999"):
        code, output, log = run(program, bad)
        assert (code, output) == (1, b"") and "must be a number" in log


SAMPLE_CHECKS = {"echo": check_echo, "x2": check_x2, "dummy": check_dummy, "chain": check_chain,
                 "cpu": check_cpu, "fib": check_fib, "wordcount": check_wordcount,
                 "events": check_events, "page": check_page, "primes": check_primes}

CALL_IMPORTS = {f"faasm.call_{name}" for name in
                ("info", "start", "wait", "output_size", "output_read")}
MORE_EXPORTS = {"primes": {"wizer-initialize"}}
MORE_IMPORTS = {"chain": {"faasm.chain"}, "fib": CALL_IMPORTS, "wordcount": CALL_IMPORTS,
                "events": {f"faasm.http_{name}" for name in ("header", "header_set", "flush")} |
                          {f"wasi_snapshot_preview1.{name}" for name in  # snprintf brings stdio
                           ("poll_oneoff", "fd_close", "fd_seek", "fd_write")}}
ALL_IMPORTS = {"page": {f"wasi_snapshot_preview1.{name}" for name in  # of a C library with stdio
                        ("environ_get", "environ_sizes_get", "fd_close", "fd_fdstat_get", "fd_read",
                         "fd_seek", "fd_write", "proc_exit")}}


def test_every_sample_has_its_check_and_is_built():
    names = {path.stem.removeprefix("function_") for path in (ROOT / "func").glob("function_*.c")}
    assert names == set(SAMPLE_CHECKS)
    assert {path.name for path in (SAMPLES / "simon").iterdir()} == {f"{n}.wasm" for n in names}


@pytest.mark.parametrize("name", SAMPLE_CHECKS)
def test_sample_as_built(name):
    SAMPLE_CHECKS[name](SAMPLES / "simon" / f"{name}.wasm")


@pytest.mark.parametrize("name", SAMPLE_CHECKS)
def test_sample(compiler, tmp_path, name):
    module = compiler.compile(tmp_path / f"{name}.wasm", *WARNINGS, f"func/function_{name}.c")
    assert imports(module) == ALL_IMPORTS.get(name, OLD_IMPORTS | MORE_IMPORTS.get(name, set()))
    assert exports(module) == {"memory", "_start"} | MORE_EXPORTS.get(name, set())
    SAMPLE_CHECKS[name](module)


@pytest.mark.parametrize("name", SAMPLE_CHECKS)
def test_sample_natively(tmp_path, name):
    program = tmp_path / name
    sh("gcc", "-g", "-fsanitize=address,undefined", *WARNINGS, "-I", INCLUDE, "-o", program,
       f"func/function_{name}.c")
    SAMPLE_CHECKS[name](program)


# --- the command lines ---------------------------------------------------------------------------


def test_hello(compiler, tmp_path):
    module = compiler.compile(tmp_path / "hello.wasm", *WARNINGS, "hello.c")
    assert imports(module) == OLD_IMPORTS
    assert exports(module) == {"memory", "_start"}
    check_hello(module)


@pytest.mark.parametrize("version", VERSIONS)
def test_literal_line_of_the_readme(prefix, tmp_path, version):
    """With the installation's folder for /toolchain, and a binaryen that must not be asked."""
    intruder = tmp_path / "wasm-opt"
    intruder.write_text("#!/bin/sh\necho wasm-opt was run >&2\nexit 1\n")
    intruder.chmod(0o755)
    environment = dict(os.environ, PATH=f"{tmp_path}:{os.environ['PATH']}", FAASM_LLVM=version)
    module = tmp_path / "hello.wasm"
    line = (f"{prefix}/bin/clang --target=wasm32-unknown-unknown-wasm --sysroot={prefix}/sysroot "
            f"-o {module} -I include/faasm")
    sh(*line.split(), "hello.c", env=environment)
    assert imports(module) == OLD_IMPORTS
    check_hello(module)

    sh(*line.split(), "-O2", "func/function_echo.c", env=environment)
    check_echo(module)


def test_wrapper_without_a_word_about_target_and_sysroot(prefix, tmp_path):
    module = tmp_path / "hello.wasm"
    sh(prefix / "bin/clang", "-o", module, "hello.c")  # faasm.h is in the sysroot
    check_hello(module)


def test_wrapper_through_a_link(prefix, tmp_path):
    link = tmp_path / "faasm-clang++"
    link.symlink_to(prefix / "bin/clang++")
    module = tmp_path / "function.wasm"
    sh(link, "-o", module, source(tmp_path, """
        #include <string>
        int exec(struct FaasmMemory *memory)
        {
            return faasmWriteOutput(memory, std::string("linked").data(), 6);
        }""", "function.cpp"))
    assert run(module)[1] == b"linked"


def test_wrapper_compiles_and_links_separately(compiler, tmp_path):
    command = [word for word in compiler.command() if not str(word).startswith("-Wl,")]
    sh(*command, "-c", "-o", tmp_path / "hello.o", "hello.c", env=compiler.environment())
    check_hello(compiler.compile(tmp_path / "hello.wasm", "-Wno-unused-command-line-argument",
                                 tmp_path / "hello.o"))


def test_wrapper_says_which_header_is_missing(wrapper, tmp_path):
    text = tmp_path / "net.c"
    text.write_text("#include <netdb.h>\n")
    said = complaint(*wrapper.command(), "-c", "-o", "/dev/null", text)
    assert "'netdb.h' file not found" in said
    assert "bits/" not in said


def test_wrapper_answers_questions(wrapper):
    command = str(wrapper.command()[0])
    assert b"clang version" in sh(command, "--version")
    for question in ("-v", "-print-search-dirs"):
        result = subprocess.run([command, question], capture_output=True)
        assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("main", ["int main(void) { puts(\"own\"); return 3; }",
                                  "int main(int argc, char **argv)"
                                  "{ puts(argc && argv ? \"own\" : \"\"); return 3; }"])
def test_wrapper_leaves_a_program_its_own_main(wrapper, tmp_path, main):
    text = tmp_path / "own.c"
    text.write_text("#include <stdio.h>\n" + main)
    module = wrapper.compile(tmp_path / "own.wasm", *WARNINGS, text)
    assert not any(name.startswith("faasm.") for name in imports(module))
    assert run(module) == (3, b"own\n", "")

    text = source(tmp_path, "int helper(void);" + main + "int helper(void) { return 1; }")
    module = wrapper.compile(tmp_path / "own.wasm", "-DFAASM_NO_MAIN", text)
    assert run(module)[:2] == (3, b"own\n")


def test_a_program_without_exec_does_not_link(compiler, tmp_path):
    text = source(tmp_path, "int helper(void); int helper(void) { return 1; }")
    assert "undefined symbol: exec" in complaint(*compiler.command(), "-o", tmp_path / "x.wasm",
                                                 text, env=compiler.environment())


def test_defaults_can_be_overridden(wrapper, tmp_path):
    pages = []
    for size in (262144, 1048576):
        module = wrapper.compile(tmp_path / "hello.wasm", f"-Wl,-z,stack-size={size}", "hello.c")
        pages.append(int(re.search(r"pages: initial=(\d+)", details(module))[1]))
    assert pages[1] - pages[0] == (1048576 - 262144) // LIMIT

    sections = [re.findall(r'"(\.debug_info|name)"', details(
        wrapper.compile(tmp_path / "hello.wasm", *flags, "hello.c"))) for flags in ([], ["-g"])]
    assert sections == [["name"], [".debug_info", "name"]]


LOOP = """
__attribute__((export_name("sum"))) long sum(long *a, int n)
{
    long total = 0;
    for (int i = 0; i < n; i++)
        total ^= a[i] + total;
    return total;
}
"""


def test_loops_are_unrolled_unless_size_matters(wrapper, tmp_path):
    def loads(*flags):
        out = tmp_path / "loop.wasm"
        module = wrapper.compile(out, "-nostdlib", "-Wl,--no-entry", *flags, source(tmp_path, LOOP))
        return sh("wasm-objdump", "-d", module).decode().count("i32.load")

    assert loads() > loads("-mllvm", "-unroll-partial-threshold=0") >= 1
    assert loads("-Os") == loads("-Oz") == 1


# Each function at every place in a vector and with every length, against the plain way; then with
# what they may not touch: the end of the memory.
STRINGS = r"""
#include <stdlib.h>
#include <string.h>

#define PLACES 40
static int failed;

static void check(int ok, const char *what, size_t from, size_t length)
{
    char text[100];
    if (!ok && failed++ < 10) {
        snprintf(text, sizeof(text), "%s at %zu, length %zu", what, from, length);
        faasmLog(FAASM_LOG_ERROR, text);
    }
}

static int sign(int n)
{
    return (n > 0) - (n < 0);
}

static int plain_memcmp(const unsigned char *one, const unsigned char *other, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (one[i] != other[i])
            return one[i] < other[i] ? -1 : 1;
    return 0;
}

static void searches(char *text, size_t from, size_t length)
{
    memset(text, 0xe4, 3 * PLACES);
    memset(text + from, 'a', length);
    text[from + length] = 0;
    check(strlen(text + from) == length, "strlen", from, length);
    check(strchr(text + from, 0) == text + from + length, "strchr of 0", from, length);
    check(!strchr(text + from, 0xe4), "strchr beyond the end", from, length);
    check(!memchr(text + from, 0xe4, length), "memchr beyond the end", from, length);
    check(!memchr(text + from, 0, length), "memchr one beyond the end", from, length);
    check(memchr(text + from, 0, length + 1) == text + from + length, "memchr", from, length);
    check(memchr(text + from, 0, (size_t)-1) == text + from + length, "memchr, no end", from, length);
    for (size_t at = length; at-- > 0;) { /* the first is found, of those that have been put */
        text[from + at] = (char)0xe4;
        check(strchr(text + from, 0xe4) == text + from + at, "strchr", from, at);
        check(memchr(text + from, 0xe4, length) == text + from + at, "memchr", from, at);
        check(strchr(text + from, -28) == text + from + at, "strchr of a char", from, at);
    }
}

static void comparisons(unsigned char *one, unsigned char *other, size_t from, size_t length)
{
    for (size_t i = 0; i < 3 * PLACES; i++)
        one[i] = other[i] = (unsigned char)(i * 37);
    other[from + length] ^= 0x80; /* not looked at */
    check(memcmp(one + from, other + from, length) == 0, "memcmp of equal", from, length);
    for (size_t at = 0; at < length; at++) {
        for (int change = 1; change < 256; change += 127) {
            other[from + at] ^= (unsigned char)change;
            if (at + 1 < length)
                other[from + length - 1] ^= 0xff; /* the first difference counts */
            check(sign(memcmp(one + from, other + from, length)) ==
                      plain_memcmp(one + from, other + from, length), "memcmp", from, length);
            check(sign(memcmp(other + from, one + from, length)) ==
                      plain_memcmp(other + from, one + from, length), "memcmp", from, length);
            memcpy(other, one, 3 * PLACES);
        }
    }
}

int exec(struct FaasmMemory *memory)
{
    static char text[3 * PLACES] __attribute__((aligned(16)));
    static unsigned char other[3 * PLACES] __attribute__((aligned(16)));
    char *end = (char *)(__builtin_wasm_memory_size(0) * 65536);
    (void)memory;
    for (size_t from = 0; from < PLACES; from++) {
        for (size_t length = 0; length < 2 * PLACES - from; length++) {
            searches(text, from, length);
            comparisons((unsigned char *)text, other, from, length);
        }
    }
    for (size_t length = 1; length < PLACES; length++) {
        char *last = end - length;
        memset(last, 'a', length - 1);
        end[-1] = 0;
        check(strlen(last) == length - 1, "strlen at the end", 0, length);
        check(!strchr(last, 'b'), "strchr at the end", 0, length);
        check(!memchr(last, 'b', length), "memchr at the end", 0, length);
        check(memcmp(last, last, length) == 0, "memcmp at the end", 0, length);
    }
    return failed != 0;
}
"""


@pytest.mark.parametrize("flags", [["-fno-builtin"], ["-fno-builtin", "-mno-simd128"], ["-Os"]],
                         ids=" ".join)
def test_string_functions(wrapper, tmp_path, flags):
    text = source(tmp_path, "#include <stdio.h>\n" + STRINGS)
    module = wrapper.compile(tmp_path / "strings.wasm", *flags, "-g", text)
    code, _, log = run(module)
    assert (code, log) == (0, "")


def test_string_functions_are_those_with_vectors(wrapper, tmp_path):
    text = source(tmp_path, "int exec(struct FaasmMemory *m) { return (int)strlen((char *)m->input); }")
    vectors = []
    for flags in ([], ["-mno-simd128"]):
        module = wrapper.compile(tmp_path / "strings.wasm", *flags, text)
        vectors.append("i8x16" in sh("wasm-objdump", "-d", module).decode())
    assert vectors == [True, False]


def test_a_stack_overflow_traps(compiler, tmp_path):
    """The stack lies below all data, so that it runs out of the memory and not into them."""
    text = source(tmp_path, """
        static uint8_t data[1] = {1};
        int exec(struct FaasmMemory *memory)
        {
            return (uintptr_t)&memory->chainCount < (uintptr_t)data ? 0 : 1;
        }""")
    assert run(compiler.compile(tmp_path / "x.wasm", "-O0", text))[0] == 0

    text = source(tmp_path, """
        static uint8_t data[100000];
        static int dig(volatile uint8_t *above)
        {
            volatile uint8_t here[1000];
            here[0] = above[0];
            return dig(here) + here[0];
        }
        int exec(struct FaasmMemory *memory)
        {
            data[0] = memory->input[0];
            return dig(data);
        }""")
    code, output, log = run(compiler.compile(tmp_path / "x.wasm", "-Wno-infinite-recursion", text))
    assert code == 70 and output == b""
    assert "dig" in log  # the backtrace has names


SETJMP = """
#include <setjmp.h>
static jmp_buf outer, inner;
static int deep(int depth, int value)
{
    if (depth == 0)
        longjmp(value < 0 ? inner : outer, value);
    return deep(depth - 1, value) + 1;
}

int exec(struct FaasmMemory *memory)
{
    volatile uint32_t length = 0;
    volatile int rounds = 0;
    int value = setjmp(outer); /* returns six times: 0, and what is thrown */
    memory->output[length++] = (uint8_t)('0' + value);
    if (++rounds < 5)
        deep(rounds * 100, rounds == 1 ? 0 : rounds);
    if (rounds == 5) {
        int seen = setjmp(inner); /* two buffers of one frame */
        memory->output[length++] = (uint8_t)('a' - seen);
        if (seen == 0)
            deep(3, -2);
        deep(10, 9); /* back to the first */
    }
    return 0;
}"""


SETJMP_IN_LOOPS = """
#include <setjmp.h>
struct level { jmp_buf buffer; struct level *above; };
static volatile uint32_t jumps;

static int raise_from(struct level *level, int depth)
{
    if (depth == 0)
        longjmp(level->buffer, 0); /* arrives as 1 */
    return raise_from(level, depth - 1) + 1;
}

/* Each level sets its own mark again and again, and a jump to it leaves those above it valid. */
static int nest(struct level *above, int levels)
{
    struct level mine;
    volatile int rounds = 0;
    mine.above = above;
    if (levels == 0)
        return 0;
    for (volatile int i = 0; i < 3; i++) {
        int value = setjmp(mine.buffer);
        if (value == 0) {
            nest(&mine, levels - 1);
            raise_from(&mine, 10);
        }
        jumps += value == 1;
        rounds++;
    }
    if (above && levels == 1) {
        jumps += 100;
        longjmp(above->buffer, 5);
    }
    return rounds;
}

int exec(struct FaasmMemory *memory)
{
    int rounds = nest(0, 2);
    return sprintf((char *)memory->output, "%d %u", rounds, (unsigned)jumps) < 0;
}"""

SETJMP_CPP = """
#include <setjmp.h>
#include <vector>
static jmp_buf buffer;
struct Loud {
    const char *name;
    explicit Loud(const char *given) : name(given) {}
    Loud(const Loud &) = delete;
    ~Loud() { faasmLog(FAASM_LOG_INFO, name); }
};

static int dig(int depth)
{
    Loud skipped("skipped");
    if (depth == 0)
        longjmp(buffer, 3);
    return dig(depth - 1) + static_cast<int>(skipped.name[0]);
}

int exec(struct FaasmMemory *memory)
{
    Loud outer("outer");
    int value = setjmp(buffer);
    if (value == 0)
        dig(10);
    std::vector<int> numbers(100, value);
    memory->output[0] = static_cast<uint8_t>('0' + numbers[99]);
    return 0;
}"""


@pytest.mark.skipif(DEFAULT != "22", reason="needs LLVM 22")
@pytest.mark.parametrize("level", ["-O0", "-O3"])
def test_setjmp(wrapper, tmp_path, level):
    text = source(tmp_path, SETJMP)
    module = wrapper.compile(tmp_path / "x.wasm", "--setjmp", level, text)
    assert run(module) == (0, b"01234ac9", "")

    wrapper.compile(tmp_path / "x.o", "--setjmp", level, "-c", text)
    wrapper.compile(tmp_path / "x.wasm", "--setjmp", tmp_path / "x.o")
    assert run(module) == (0, b"01234ac9", "")


@pytest.mark.skipif(DEFAULT != "22", reason="needs LLVM 22")
@pytest.mark.parametrize("level", ["-O0", "-O3"])
def test_setjmp_in_loops_within_loops(wrapper, tmp_path, level):
    """The outer level goes round three times; in each, the inner one jumps to itself three times
    and then to the outer one."""
    module = wrapper.compile(tmp_path / "x.wasm", "--setjmp", *WARNINGS, level,
                             source(tmp_path, SETJMP_IN_LOOPS))
    assert run(module) == (0, b"3 309", "")


@pytest.mark.skipif(DEFAULT != "22", reason="needs LLVM 22")
@pytest.mark.parametrize("level", ["-O0", "-O3"])
def test_setjmp_in_cpp_runs_no_destructors(wrapper, tmp_path, level):
    module = wrapper.compile(tmp_path / "x.wasm", "--setjmp", *WARNINGS, level,
                             source(tmp_path, SETJMP_CPP, "function.cpp"), driver="clang++")
    assert run(module) == (0, b"3", "INFO outer\n")


@pytest.mark.skipif(DEFAULT != "22", reason="needs LLVM 22")
def test_longjmp_to_a_frame_that_is_gone(wrapper, tmp_path):
    module = wrapper.compile(tmp_path / "x.wasm", "--setjmp", source(tmp_path, """
        #include <setjmp.h>
        static jmp_buf buffer;
        __attribute__((noinline)) static int fill(void) { return setjmp(buffer); }
        int exec(struct FaasmMemory *memory)
        {
            memory->output[0] = 'x';
            if (fill() == 0)
                longjmp(buffer, 1);
            return 0;
        }"""))
    code, output, log = run(module)
    assert (code, output) == (70, b"") and "uncaught_exception" in log


def test_setjmp_is_an_option_and_says_so(wrapper, tmp_path):
    text = source(tmp_path, SETJMP)
    for options, version, expected in (([], DEFAULT, "needs the option --setjmp"),
                                       (["--setjmp"], "14", "--setjmp needs LLVM 22")):
        assert expected in complaint(*wrapper.command(), *options, "-c", "-o", "/dev/null", text,
                                     env=dict(os.environ, FAASM_LLVM=version))


# --- faasm.h -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["gcc -std=c99", "gcc -std=c17", "g++ -std=c++98",
                                     "g++ -std=c++20"])
def test_header_compiles_natively_without_a_warning(tmp_path, command):
    if not shutil.which(command.split()[0]):
        pytest.skip(f"no {command}")
    text = source(tmp_path, "int exec(struct FaasmMemory *memory) { return memory->chainCount; }",
                  "function.cc" if "++" in command else "function.c")
    sh(*command.split(), *WARNINGS, "-O2", "-I", INCLUDE, "-o", tmp_path / "x", text)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("options", ["-x c -std=c99", "-x c -std=gnu17 -Wstrict-prototypes",
                                     "-x c++ -std=c++98",
                                     "-x c++ -std=c++20"])
@pytest.mark.parametrize("level", ["-O0", "-O3"])
def test_header_compiles_without_a_warning(tmp_path, version, options, level):
    """Every function of the header is used: an unused one is not looked at so closely."""
    text = source(tmp_path, """
        int exec(struct FaasmMemory *memory)
        {
            uint8_t data[4];
            faasmLog(FAASM_LOG_INFO, "text");
            faasmSetOutputLength(memory, faasmInputSize(memory));
            chainFunction(memory, "foo", data, 4);
            return faasmReadInput(memory, 0, data, 4) + faasmWriteOutput(memory, data, 4) +
                   faasmChain(memory, "foo", data, 4);
        }""")
    sh("clang" + (f"-{version}" if version else ""), "--target=wasm32-wasi", "-Wno-deprecated",
       NO_CPP_LIBRARY, *options.split(), *WARNINGS, level, "-I", INCLUDE, "-c",
       "-o", tmp_path / "x.o", text)


def test_the_example_of_the_readme_about_chaining(compiler, tmp_path):
    module = compiler.compile(tmp_path / "x.wasm", source(tmp_path, """
        int exec(struct FaasmMemory *memory) {
            uint8_t funcData[] = {1, 2, 3, 4};
            int dataLength = 4;
            char* funcName = "foo";

            chainFunction(memory, funcName, funcData, dataLength);

            return 0;
        }"""))
    assert run(module) == (0, b"", "faasm: run: chained calls were not run (1)\n")
    assert "not chained" in run(module, options=["--limit", "chain_fanout=0"])[2]


CPP = """
#include <algorithm>
#include <string>
#include <vector>

struct Greeting {
    std::string text;
    Greeting() : text("constructed ") {}
    ~Greeting() { faasmLog(FAASM_LOG_INFO, "destroyed"); }
} greeting;

int exec(struct FaasmMemory *memory)
{
    std::vector<uint8_t> data(faasmInputSize(memory));
    faasmReadInput(memory, 0, data.data(), (uint32_t)data.size());
    std::reverse(data.begin(), data.end());
    std::string output = greeting.text + std::string(data.begin(), data.end());
    return faasmWriteOutput(memory, output.data(), (uint32_t)output.size());
}
"""


@pytest.mark.parametrize("way", ["line", "wrapper"])
def test_cpp(prefix, tmp_path, way):
    """Only with the default LLVM: there can be one C++ library, and it wants its own compiler."""
    compiler = Compiler(DEFAULT, prefix if way == "wrapper" else None)
    text = source(tmp_path, CPP, "function.cpp")
    module = compiler.compile(tmp_path / "x.wasm", *WARNINGS, text, driver="clang++")
    assert exports(module) == {"memory", "_start"}
    assert run(module, b"abc") == (0, b"constructed cba", "INFO destroyed\n")
    big = bytes_of(200000)
    assert run(module, big)[1] == b"constructed " + big[::-1]


def test_files_in_two_languages(compiler, tmp_path):
    """Both files bring a main() and buffers; there is one program."""
    c = source(tmp_path, """
        int from_cpp(struct FaasmMemory *memory);
        int exec(struct FaasmMemory *memory)
        {
            memory->output[0] = 'c';
            return from_cpp(memory);
        }""", "one.c")
    cpp = source(tmp_path, """
        extern "C" int from_cpp(struct FaasmMemory *memory);
        extern "C" int from_cpp(struct FaasmMemory *memory)
        {
            memory->output[1] = static_cast<uint8_t>(memory->output[0] + memory->input[0]);
            return 0;
        }""", "two.cpp")
    for first, second in ((c, cpp), (cpp, c)):
        module = compiler.compile(tmp_path / "x.wasm", NO_CPP_LIBRARY, first, second)
        assert run(module, b"\1") == (0, b"cd", "")
        assert run(module, bytes(LIMIT + 1))[0] == REFUSED


def test_exit_code_and_output_of_a_failure(compiler, tmp_path):
    module = compiler.compile(tmp_path / "x.wasm", source(tmp_path, """
        int exec(struct FaasmMemory *memory)
        {
            memory->output[2] = 'x';
            return memory->input[0];
        }"""))
    assert run(module, b"\7") == (7, b"\0\0x", "")
    assert run(module) == (0, b"\0\0x", "")


def test_output_length(compiler, tmp_path):
    """What the first letter of the input asks for, and what comes out."""
    module = compiler.compile(tmp_path / "x.wasm", source(tmp_path, """
        int exec(struct FaasmMemory *memory)
        {
            memory->output[0] = 'o';
            switch (memory->input[0]) {
            case 'z': faasmSetOutputLength(memory, 3); break;
            case '0': faasmSetOutputLength(memory, 0); break;
            case 'm': faasmSetOutputLength(memory, MAX_INPUT_BYTES); break;
            case 'M': faasmSetOutputLength(memory, MAX_INPUT_BYTES + 1); break;
            case 'w': return faasmWriteOutput(memory, "w\\0", 2);
            case 'e': return faasmWriteOutput(memory, "", 0);
            case 'b': return faasmWriteOutput(memory, "w", 1) + faasmWriteOutput(memory, "W", 1);
            case 's': faasmSetOutputLength(memory, 2); return faasmWriteOutput(memory, "w", 1);
            case 'f': memset(memory->output, 255, MAX_INPUT_BYTES); break;
            default: break;
            }
            return 0;
        }"""))
    for letter, expected in ((b"", b"o"), (b"z", b"o\0\0"), (b"0", b""), (b"w", b"w\0"),
                             (b"m", b"o" + bytes(LIMIT - 1)), (b"e", b""), (b"b", b"wW"),
                             (b"s", b"wo\0"), (b"f", b"\xff" * LIMIT)):
        assert run(module, letter) == (0, expected, "")
    code, output, log = run(module, b"M")
    assert (code, output) == (70, b"")
    assert "room for 65536 bytes" in log


def test_every_length_without_trailing_zeros(compiler, tmp_path):
    """The search goes by 32 bytes: a last byte at each place in one of its steps, and at the ends."""
    module = compiler.compile(tmp_path / "x.wasm", source(tmp_path, """
        int exec(struct FaasmMemory *memory)
        {
            uint32_t at;
            memcpy(&at, memory->input, sizeof(at));
            if (at < MAX_INPUT_BYTES)
                memory->output[at] = 1;
            return 0;
        }"""))
    for at in (*range(66), LIMIT - 33, LIMIT - 32, LIMIT - 1):
        assert run(module, at.to_bytes(4, "little")) == (0, bytes(at) + b"\1", "")
    assert run(module, LIMIT.to_bytes(4, "little")) == (0, b"", "")


def test_input_is_followed_by_zeros(compiler, tmp_path):
    module = compiler.compile(tmp_path / "x.wasm", source(tmp_path, """
        int exec(struct FaasmMemory *memory)
        {
            size_t length = strlen((const char *)memory->input);
            memcpy(memory->output, &length, sizeof(length));
            memory->output[4] = '.';
            return 0;
        }"""))
    for size in (0, 1, 1000, LIMIT - 1, LIMIT):
        assert run(module, b"x" * size) == (0, size.to_bytes(4, "little") + b".", "")


def test_read_input(compiler, tmp_path):
    """The answers of faasmReadInput(): within, across the end, at the end, beyond it."""
    module = compiler.compile(tmp_path / "x.wasm", source(tmp_path, """
        int exec(struct FaasmMemory *memory)
        {
            uint32_t size = faasmInputSize(memory);
            uint8_t got[8] = {0};
            int answers[] = {faasmReadInput(memory, 0, got, 4),
                             faasmReadInput(memory, size - 2, got + 4, 4),
                             faasmReadInput(memory, size, got, 4),
                             faasmReadInput(memory, UINT32_MAX, got, 4),
                             faasmReadInput(memory, 0, got, 0)};
            return faasmWriteOutput(memory, answers, sizeof(answers)) +
                   faasmWriteOutput(memory, got, sizeof(got));
        }"""))
    given = bytes_of(100000)
    answers = b"".join(answer.to_bytes(4, "little") for answer in (4, 2, 0, 0, 0))
    assert run(module, given) == (0, answers + given[:4] + given[-2:] + b"\0\0", "")


def test_chains_and_their_limits(compiler, tmp_path):
    module = compiler.compile(tmp_path / "x.wasm", source(tmp_path, """
        int exec(struct FaasmMemory *memory)
        {
            for (int i = 0; i < MAX_CHAINS + 2; i++)
                chainFunction(memory, "next", memory->input, 3);
            chainFunction(memory, "next", memory->input, -1);
            memory->output[0] = (uint8_t)memory->chainCount;
            memory->output[1] = (uint8_t)faasmChain(memory, "next", memory->input, 0);
            memory->output[2] = faasmChain(memory, "../next", memory->input, 0) < 0;
            return 0;
        }"""))
    code, output, log = run(module)
    assert (code, output) == (0, b"\x14\x15\1")
    assert log == (3 * "ERROR chainFunction: not chained, MAX_CHAINS reached\n" +
                   "faasm: run: chained calls were not run (21)\n")

    code, output, log = run(module, options=["--limit", "chain_fanout=5"])
    assert output[0] == 5
    assert log.count("the host refused") == 17 and log.count("length is negative") == 1


def test_calls_cannot_be_started_without_a_server(compiler, tmp_path):
    text = source(tmp_path, """
        int exec(struct FaasmMemory *memory)
        {
            const int64_t calls[] = {1, 2};
            char text[8] = "?";
            int64_t started = faasmCallStart(memory, "next", memory->input, 3);
            int errors[] = {
                faasmAwaitCall(memory, 1, FAASM_FOR_EVER), faasmAwaitCall(memory, started, 0),
                faasmAwaitAny(memory, calls, 2, 0), faasmAwaitAny(memory, calls, 0, 0),
                faasmCallOutputSize(memory, 1), faasmCallOutput(memory, 1, 0, text, 8),
                faasmAwaitCallOutput(memory, 1, text, 8), faasmCallInfo(memory, 7, text, 8),
                faasmCallInfo(memory, FAASM_INFO_ATTEMPT, text, 1),
                faasmCallInfo(memory, FAASM_INFO_ATTEMPT, text, 2),
                faasmCallInfo(memory, FAASM_INFO_PARENT, text + 4, 1)};
            int length = sprintf((char *)memory->output, "%d %s", (int)started, text);
            for (unsigned i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
                length += sprintf((char *)memory->output + length, " %d", errors[i]);
            return 0;
        }""")
    module = compiler.compile(tmp_path / "x.wasm", *WARNINGS, text)
    expected = b"-6 1 -44 -44 -44 -28 -44 -44 -44 -28 -51 1 0"
    assert run(module) == (0, expected, "faasm: run: child calls were not run (1)\n")

    sh("gcc", "-O2", *WARNINGS, "-I", INCLUDE, "-o", tmp_path / "x", text)
    expected = b"-38 1 -2 -2 -2 -22 -2 -2 -2 -22 -28 1 0"
    assert run(tmp_path / "x") == (0, expected, "faasm: cannot start next with 3 bytes\n")


def test_slots_of_2018_trap_when_written_by_hand(compiler, tmp_path):
    for field in ("chainFunctions[0]", "chainFunctions[19 * MAX_NAME_LENGTH]", "chainInputs[0]",
                  "chainInputs[20 * MAX_INPUT_BYTES - 1]"):
        module = compiler.compile(tmp_path / "x.wasm", source(tmp_path, f"""
            int exec(struct FaasmMemory *memory)
            {{
                memory->{field} = 'x';
                return 0;
            }}"""))
        assert run(module)[0] == 70


# --- inputs over 64 KiB --------------------------------------------------------------------------

OLD = "int exec(struct FaasmMemory *memory) { memory->output[0] = 'r'; return 0; }"
SIZE = "int exec(struct FaasmMemory *memory) { return faasmInputSize(memory) ? 0 : 1; }"
READ = ("int exec(struct FaasmMemory *memory) "
        "{ return memory->input[0] != 1 ? faasmReadInput(memory, 0, memory->output, 1) : 0; }")
DEAD = "uint32_t dead(struct FaasmMemory *m) { return faasmInputSize(m); }" + OLD


@pytest.mark.parametrize("options", ["-O0", "-O3", "-Oz -Wl,--strip-all", "-O2 -flto", "-O1 -g"])
def test_old_sources_are_not_run_on_what_they_cannot_see(compiler, tmp_path, options):
    """Whatever the options, and also if only code that nothing calls could read more."""
    for text in (OLD, DEAD):
        module = compiler.compile(tmp_path / "x.wasm", *options.split(), source(tmp_path, text))
        assert run(module, bytes(LIMIT)) == (0, b"r", "")
        code, output, log = run(module, bytes(LIMIT + 1))
        assert (code, output) == (REFUSED, b"")
        assert "over 65536 bytes" in log and "faasmReadInput()" in log

    # Any use will do, also on a path that the call does not take.
    for text in (SIZE, READ):
        module = compiler.compile(tmp_path / "x.wasm", *options.split(), source(tmp_path, text))
        assert run(module, b"\1" + bytes(LIMIT))[0] == 0


def test_a_use_in_any_file_counts(compiler, tmp_path):
    call = "int other(struct FaasmMemory *memory);"
    one = source(tmp_path, call + "int exec(struct FaasmMemory *m) { return other(m); }", "one.c")
    two = source(tmp_path, call + "int other(struct FaasmMemory *m) "
                                  "{ return faasmInputSize(m) != 65537; }", "two.c")
    for files in ((one, two), (two, one)):
        module = compiler.compile(tmp_path / "x.wasm", *files)
        assert run(module, bytes(LIMIT + 1)) == (0, b"", "")


def test_the_same_natively(tmp_path):
    for text, expected in ((OLD, REFUSED), (SIZE, 0)):
        sh("gcc", "-O2", "-I", INCLUDE, "-o", tmp_path / "x", source(tmp_path, text))
        assert run(tmp_path / "x", bytes(LIMIT))[0] == 0
        assert run(tmp_path / "x", bytes(LIMIT + 1))[0] == expected


# --- the header of 2018 --------------------------------------------------------------------------


@pytest.fixture(scope="session", params=VERSIONS)
def old_module(request, prefix, tmp_path_factory):
    """A source and a header in the style of 2018, with the command line of then."""
    module = tmp_path_factory.mktemp("old") / "upper.wasm"
    sh(f"{prefix}/bin/clang", "--target=wasm32-unknown-unknown-wasm",
       f"--sysroot={prefix}/sysroot", "-o", module, "-I", OLD_STYLE,
       OLD_STYLE / "function_upper.c", env=dict(os.environ, FAASM_LLVM=request.param))
    return module


def test_2018_source(old_module):
    assert exports(old_module) == {"memory", "_start"}
    assert {name for name in imports(old_module) if name.startswith("faasm.")} == {
        f"faasm.{name}" for name in ("input_size", "input_read", "output_write", "chain", "log")}
    code, output, _ = run(old_module, b"hello 2018")
    assert (code, output) == (0, b"HELLO 2018")
    code, output, _ = run(old_module, b"x" * LIMIT)
    assert (code, output) == (0, b"X" * LIMIT)


def test_2018_source_is_not_run_on_what_it_cannot_see(old_module):
    code, output, log = run(old_module, b"x" * (LIMIT + 1))
    assert (code, output) == (REFUSED, b"")
    assert "over 65536 bytes" in log


def test_2018_source_chains(old_module):
    def chained(digits, fanout):
        code, output, log = run(old_module, digits, ["--limit", f"chain_fanout={fanout}"])
        assert (code, output) == (0, digits)
        return log.count("the host refused"), log.count("MAX_CHAINS reached")

    assert chained(b"0", 0) == (0, 0)
    assert chained(b"12", 0) == (3, 0)
    assert chained(b"992", 0) == (20, 0)
    assert chained(b"993", 0) == (20, 1)  # the 21st that a header of 2018 let pass
    assert chained(b"999", 19) == (1, 1)
