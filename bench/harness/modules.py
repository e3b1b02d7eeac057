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
