"""Where the compilers of the languages are that functions can be written in; and running what they
make. A language whose compiler is missing is skipped, and the reason says so."""

import functools
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FAASM = os.environ["FAASM"]
CACHE = pathlib.Path(os.environ.get("FAASM_CACHE") or
                     pathlib.Path(os.environ.get("XDG_CACHE_HOME") or
                                  pathlib.Path.home() / ".cache") / "faasm")


def sh(*command, **options):
    """Runs a command that must succeed."""
    result = subprocess.run([str(word) for word in command], capture_output=True, **options)
    assert result.returncode == 0, (result.stdout + result.stderr).decode()
    return result.stdout


def run(module, stdin=b"", options=()):
    """Runs a module: (exit code, output, log)."""
    result = subprocess.run([FAASM, "run", *options, str(module)], input=stdin, capture_output=True,
                            timeout=120)
    return result.returncode, result.stdout, result.stderr.decode()


def documented(language):
    """The first example of a language in docs/functions.md."""
    text = (ROOT / "docs/functions.md").read_text()
    return re.search(rf"^```{language}\n(.*?)^```", text, re.M | re.S)[1]


@functools.cache
def rust(*targets):
    """(rustc, target) of the first Rust that has one of the targets."""
    for rustc in ("rustc", "/usr/bin/rustc"):
        for target in targets:
            if shutil.which(rustc):
                asked = subprocess.run([rustc, "--print", "target-libdir", "--target", target],
                                       capture_output=True, text=True)
                if asked.returncode == 0 and pathlib.Path(asked.stdout.strip()).is_dir():
                    return rustc, target
    return None


WASI = ("wasm32-wasip1", "wasm32-wasi")


def need_rust(*targets):
    found = rust(*targets)
    if not found:
        pytest.skip("not run: no Rust with a target for WebAssembly (script/bootstrap --languages)")
    return found


def need_zig():
    for zig in (shutil.which("zig"), *sorted(CACHE.glob("zig-*/ziglang/zig"))):
        if zig:
            return str(zig)
    return pytest.skip("not run: no Zig (script/bootstrap --languages)")


def need_clang():
    if not shutil.which("clang-22") and not shutil.which("clang"):
        pytest.skip("not run: no clang")


def need_quickjs():
    """What the first build of a script has to fetch."""
    need_clang()
    if not shutil.which("cargo") and not list(CACHE.glob("rquickjs-sys-*")):
        pytest.skip("not run: no cargo, which fetches QuickJS")
