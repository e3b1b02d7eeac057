"""Programs that people use, in WebAssembly and on this machine: both are compiled from the same
source, run on the same input, and must come to the same end, with the same output and files.

tests/programs/recipes.toml says what is compiled and run; programs.py finds sources and compiles.
Each program is run by `faasm run` on both kinds of files: on a folder of the machine (--dir), where
it writes what the native one writes, and on a copy of what that finds (--files), which it must leave
as it was.

    FAASM             the program under test
    FAASM_PROGRAMS    `required`: sources or compilers that are not to be had are an error, not a
                      reason to skip; `off`: all are skipped
"""

import os
import pathlib
import shutil
import subprocess

import pytest

import programs

FAASM = os.environ["FAASM"]
WISH = os.environ.get("FAASM_PROGRAMS", "")
INPUTS = programs.HERE / "inputs"
TIMEOUT_S = 120  # with a sanitizer, on a busy machine

assert WISH in ("", "required", "off"), f"FAASM_PROGRAMS={WISH}"


@pytest.fixture(scope="session")
def toolchain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toolchain")
    subprocess.run([programs.ROOT / "sdk/c/install", folder], check=True)
    return folder


def run(command, folder, stdin):
    done = subprocess.run([str(word) for word in command], cwd=folder, input=stdin,
                          capture_output=True, timeout=TIMEOUT_S, check=False)
    return done.returncode, done.stdout, done.stderr


def tree(folder):
    """All that is in a folder: contents of files, None for folders."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
            for path in folder.rglob("*")}


def fetch(text, built):
    if text.startswith("SOURCE/"):
        return built.folder / text[len("SOURCE/"):]
    return INPUTS / text


@pytest.mark.skipif(WISH == "off", reason="FAASM_PROGRAMS=off")
@pytest.mark.parametrize("program", programs.recipes(), ids=lambda program: program.name)
def test_program(program, toolchain, tmp_path, record_property):
    try:
        built = programs.Built(program, toolchain)
    except programs.Missing as missing:
        assert WISH != "required", missing
        pytest.skip(str(missing))
    record_property("version", built.version)
    native, wasm = tmp_path / "native", tmp_path / "wasm"
    native.mkdir()
    wasm.mkdir()
    # By one name, which programs put into their messages.
    name = program.name
    shutil.copy(built.native, tmp_path / name)
    shutil.copy(built.wasm, tmp_path / f"{name}.wasm")
    for number, given in enumerate(program.run):
        for text in given.get("inputs", []):
            for folder in (native, wasm):
                shutil.copy(fetch(text, built), folder)
        stdin = fetch(given["stdin"], built).read_bytes() if "stdin" in given else b""
        args = given.get("args", [])
        before = tmp_path / f"before-{number}"
        shutil.copytree(native, before)
        unchanged = tree(before)

        wanted = run([tmp_path / name, *args], native, stdin)
        module = tmp_path / f"{name}.wasm"
        for options, folder in ((["--dir", "."], wasm), (["--files", "."], before)):
            code, out, log = run([FAASM, "run", *options, module, *args], folder, stdin)
            assert out == wanted[1], f"{options} {args}: {log.decode(errors='replace')}"
            assert code == wanted[0], f"{options} {args}: {log.decode(errors='replace')}"
            assert same_log(log, wanted[2], name, tmp_path), f"{options} {args}"
        assert tree(wasm) == tree(native), args
        assert tree(before) == unchanged, args


def same_log(log, wanted, name, folder):
    """Messages are the same but for the program's own name."""
    names = (f"{folder}/{name}", f"{folder}/{name}.wasm", f"{name}.wasm")
    texts = []
    for text in (log, wanted):
        for own in sorted(names, key=len, reverse=True):
            text = text.replace(own.encode(), name.encode())
        texts.append(text)
    return texts[0] == texts[1]
