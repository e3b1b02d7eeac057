"""Functions to upload: the samples, and those of bench/guests."""
import pathlib
import shutil
import subprocess
import sys
import tempfile

BENCH = pathlib.Path(__file__).resolve().parent.parent
SAMPLES = BENCH.parent / "build" / "samples"


def sample(name):
    """The bytes of a sample function."""
    path = SAMPLES / "simon" / f"{name}.wasm"
    if not path.is_file():
        raise RuntimeError(f"{path} is missing: run script/samples")
    return path.read_bytes()


def guest(name):
    """The bytes of bench/guests/NAME.wat, assembled."""
    if not shutil.which("wat2wasm"):
        raise RuntimeError("wat2wasm is missing: apt-get install wabt")
    source = BENCH / "guests" / f"{name}.wat"
    command = ["wat2wasm", str(source), "--output=-"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def variant(module, number):
    """The same module in other bytes: with a custom section, which changes nothing."""
    content = b"\x05bench" + number.to_bytes(8, "little")
    return module + b"\x00" + bytes([len(content)]) + content


def unsigned(data, at):
    """An integer in LEB128 (WebAssembly, 5.2.2), and where it ends."""
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
        shift += 7


def leb(value):
    groups = []
    while True:
        groups.append(value & 0x7F)
        value >>= 7
        if not value:
            return bytes([group | 0x80 for group in groups[:-1]] + groups[-1:])


def code_section(module):
    """Where it begins, with its id, where its content does, and where it ends."""
    at = 8
    while True:
        size, content = unsigned(module, at + 1)
        if module[at] == 10:
            return at, content, content + size
        at = content + size


def with_one_function_changed(module, number):
    """The same, but that the function in the middle begins with `i32.const number, drop`."""
    start, content, end = code_section(module)
    count, body = unsigned(module, content)
    for _ in range(count // 2):
        size, code = unsigned(module, body)
        body = code + size
    size, code = unsigned(module, body)
    groups, after_locals = unsigned(module, code)
    for _ in range(groups):
        after_locals = unsigned(module, after_locals)[1] + 1
    added = b"\x41" + leb(number) + b"\x1a"
    assert number < 64  # a signed integer of one byte
    changed = leb(size + len(added)) + module[code:after_locals] + added + module[after_locals:code + size]
    section = module[content:body] + changed + module[code + size:end]
    return module[:start] + b"\x0a" + leb(len(section)) + section + module[end:]


def unprepared_sample(name):
    """A sample that has no snapshot, so that each call initialises it."""
    clang = "clang-22" if shutil.which("clang-22") else "clang"
    command = [clang, "--target=wasm32-wasi", "-O3", "-msimd128"]
    command += ["-mllvm", "-unroll-partial-threshold=300", "-Wl,--stack-first"]
    command += ["-Wl,-z,stack-size=262144", "-Wl,--strip-debug", "-Wno-deprecated"]
    command += [f"-D{name.upper()}_NOT_PREPARED", "-I", "include/faasm", "-o", "/dev/stdout"]
    root = BENCH.parent
    command += [f"func/function_{name}.c"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=root).stdout


def program(name):
    """The bytes of a program of tests/programs, compiled for WebAssembly; kept in the tests' cache."""
    root = BENCH.parent
    sys.path.append(str(root / "tests/e2e"))
    import programs  # not before: it is for those who need other people's sources

    recipe, = [recipe for recipe in programs.recipes() if recipe.name == name]
    with tempfile.TemporaryDirectory(prefix="faasm-bench-") as toolchain:
        subprocess.run([root / "sdk/c/install", toolchain], check=True)
        try:
            return programs.Built(recipe, pathlib.Path(toolchain)).wasm.read_bytes()
        except programs.Missing as reason:
            raise RuntimeError(f"{name}: {reason}") from None
