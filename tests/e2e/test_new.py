"""`faasm new`: what it makes builds with one command, says hello, and can be debugged; what it
refuses."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from languages import (FAASM, ROOT, WASI, need_clang, need_quickjs, need_rust, need_zig, run, sh)

LANGUAGES = {"c": need_clang, "cpp": need_clang, "js": need_quickjs,
             "rust": lambda: need_rust(*WASI), "zig": need_zig}


def new(folder, *words):
    """Runs the verb in a folder: (exit code, output, error)."""
    done = subprocess.run([FAASM, "new", *words], cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def project(folder, language, name="hello"):
    code, output, error = new(folder, language, name)
    assert (code, error) == (0, "")
    assert f"cd {name} && make" in output
    return folder / name


@pytest.mark.parametrize("language", LANGUAGES)
def test_says_hello(tmp_path, language):
    found = LANGUAGES[language]()
    folder = project(tmp_path, language, "greeter-1.0")
    options = [f"ZIG={found}"] if language == "zig" else []
    sh("make", *options, cwd=folder)
    module = folder / "greeter-1.0.wasm"
    assert run(module) == (0, b"Hello faasm!", "")
    assert run(module, b"you") == (0, b"Hello you!", "")
    assert b"up to date" in sh("make", *options, cwd=folder)

    readme = (folder / "README.md").read_text()
    assert 8 <= len(readme.splitlines()) <= 15
    for words in ("\n    make ", "faasm run greeter-1.0.wasm", "curl -X PUT --data-binary "
                  "@greeter-1.0.wasm http://localhost:8080/f/me/greeter-1.0"):
        assert words in readme
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix in ("", ".md", ".toml"):
            assert "@NAME@" not in path.read_text(), path

    sh("make", "clean", cwd=folder)
    assert not module.exists()


@pytest.mark.parametrize("language", ["c", "cpp"])
def test_native_program(tmp_path, language):
    need_clang()
    compiler = {"c": "gcc", "cpp": "g++"}[language]
    if not shutil.which(compiler):
        pytest.skip(f"not run: no {compiler}")
    folder = project(tmp_path, language)
    sh("make", "native", cwd=folder)
    done = subprocess.run([folder / "hello.native"], input=b"you", capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"Hello you!", b"")

    if not shutil.which("gdb"):
        pytest.skip("no gdb: breakpoints are not tried")
    (folder / "input").write_bytes(b"debugger")
    told = sh("gdb", "-batch", "-nx", "-ex", "set debuginfod enabled off", "-ex", "break exec",
              "-ex", "run < input", "-ex", "backtrace", "-ex", "finish", "-ex", "continue",
              "./hello.native", cwd=folder).decode()
    source = f"function.{language}"
    assert re.search(rf"Breakpoint 1, exec \(memory=0x[0-9a-f]+\) at {source}:\d+", told)
    assert re.search(rf"#0  exec \(memory=0x[0-9a-f]+\) at {source}:\d+\n#1 .* faasm_call_exec .*"
                     r"\n#2 .* main ", told)
    assert "Hello debugger!" in told


def test_setjmp_in_a_project(tmp_path):
    if not shutil.which("clang-22"):
        pytest.skip("not run: needs LLVM 22")
    sh(ROOT / "sdk/c/install", tmp_path / "toolchain")
    folder = project(tmp_path, "c")
    (folder / "function.c").write_text("""
        #include <setjmp.h>
        #include "faasm.h"
        static jmp_buf buffer;
        int exec(struct FaasmMemory *memory)
        {
            int value = setjmp(buffer);
            memory->output[0] = (uint8_t)('0' + value);
            if (value < 3)
                longjmp(buffer, value + 1);
            return 0;
        }""")
    sh("make", f"CLANG={tmp_path}/toolchain/bin/clang --setjmp", cwd=folder)
    assert run(folder / "hello.wasm") == (0, b"3", "")


def test_rust_project_is_an_ordinary_program_too(tmp_path):
    if not shutil.which("cargo"):
        pytest.skip("not run: no cargo")
    folder = project(tmp_path, "rust")
    done = subprocess.run(["cargo", "run", "--quiet", "--offline"], cwd=folder, input=b"you",
                          capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"Hello you!", b"")


def test_several_files(tmp_path):
    need_clang()
    folder = project(tmp_path, "c")
    (folder / "more.c").write_text('#include "more.h"\nint more(void) { return 41 + MORE; }\n')
    (folder / "more.h").write_text("#define MORE 1\nint more(void);\n")
    (folder / "function.c").write_text(
        '#include "faasm.h"\n#include "more.h"\n'
        "int exec(struct FaasmMemory *m) { m->output[0] = (uint8_t)more(); return 0; }\n")
    sh("make", cwd=folder)
    assert run(folder / "hello.wasm")[1] == b"*"
    later = (folder / "hello.wasm").stat().st_mtime + 2
    (folder / "more.h").write_text("#define MORE 2\nint more(void);\n")
    os.utime(folder / "more.h", (later, later))
    sh("make", cwd=folder)
    assert run(folder / "hello.wasm")[1] == b"+"


# --- what it refuses ------------------------------------------------------------------------------


def test_nothing_is_written_over(tmp_path):
    folder = project(tmp_path, "c")
    (folder / "function.c").write_text("mine")
    before = sorted(folder.rglob("*"))
    assert new(tmp_path, "rust", "hello") == (73, "", "faasm: new: 'hello' exists already\n")
    assert sorted(folder.rglob("*")) == before
    assert (folder / "function.c").read_text() == "mine"

    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("file", "dangling"):
        assert new(tmp_path, "c", name)[0] == 73
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", ["", ".", "..", ".x", "-x", "a/b", "/tmp/x", "ä", "a b", "x" * 65])
def test_names(tmp_path, name):
    code, output, error = new(tmp_path, "c", name)
    assert (code, output) == (64, "")
    assert f"'{name}' is no name of a function" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x", "0", "a.b_c-D", "build", "include", "x" * 64])
def test_names_that_are_fine(tmp_path, name):
    need_clang()
    folder = project(tmp_path, "c", name)
    sh("make", "-n", cwd=folder)


def test_languages(tmp_path):
    listed = ", ".join(LANGUAGES)
    assert new(tmp_path, "cobol", "x") == (
        64, "", f"faasm: new: no language is called 'cobol'; there are {listed} "
                "(see `faasm new --help`)\n")
    helped = new(tmp_path, "--help")[1]
    assert re.findall(r"^  (\w+)  ", helped, re.M) == list(LANGUAGES)


@pytest.mark.parametrize("words", [[], ["c"], ["c", "x", "y"], ["--fast", "c", "x"]])
def test_mistakes_in_the_arguments(tmp_path, words):
    code, output, error = new(tmp_path, *words)
    assert (code, output) == (64, "") and "faasm new --help" in error
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(["sh", "-c", 'rmdir "$PWD"; exec "$0" new c hello', FAASM], cwd=gone,
                          capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        66, "faasm: new: cannot make the folder 'hello': No such file or directory\n")


def test_a_disk_that_is_full_leaves_nothing(tmp_path):
    """Files may have 4 KiB here, and one of those is longer."""
    done = subprocess.run(["bash", "-c", 'ulimit -f 4; trap "" XFSZ; exec "$0" new js hello', FAASM],
                          cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 65, done.stderr
    assert "cannot write 'hello/runner/" in done.stderr
    assert list(tmp_path.iterdir()) == []


# --- the templates --------------------------------------------------------------------------------


def test_every_template_is_in_the_program():
    listed = set(re.findall(r'X\(\w+, "([^"]+)"\)', (ROOT / "src/cmd/new_files.c").read_text()))
    there = {str(path.relative_to(ROOT)) for folder in ("sdk/templates", "sdk/rust/src")
             for path in (ROOT / folder).rglob("*") if path.is_file()}
    there |= {"sdk/rust/Cargo.toml", "sdk/zig/faasm.zig"}
    there |= {str(path.relative_to(ROOT)) for path in (ROOT / "sdk/js").iterdir()}
    there |= {str(path.relative_to(ROOT)) for path in (ROOT / "include/faasm").iterdir()}
    assert listed == there


def test_files_are_those_of_the_sources(tmp_path):
    for language in LANGUAGES:
        project(tmp_path, language, language)
    for made, source in (("c/include/faasm.h", "include/faasm/faasm.h"),
                         ("js/runner/runner.c", "sdk/js/runner.c"),
                         ("rust/faasm/src/lib.rs", "sdk/rust/src/lib.rs"),
                         ("zig/faasm.zig", "sdk/zig/faasm.zig")):
        assert (tmp_path / made).read_bytes() == (ROOT / source).read_bytes()
    modes = {path.name for path in pathlib.Path(tmp_path).rglob("*")
             if path.is_file() and path.stat().st_mode & 0o111}
    assert modes == {"build"}
