"""Every function and errno of WASI preview 1 (tests/guests/wasi.c), in every kind of folder: the
overlay of a call, a folder of the machine, and a call on a server."""

import os
import pathlib
import shutil
import subprocess

import pytest

from process import Server

ROOT = pathlib.Path(__file__).resolve().parents[2]
FAASM = os.environ["FAASM"]
CLANG = shutil.which("clang-22") or "clang"


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    path = tmp_path_factory.mktemp("wasi") / "wasi.wasm"
    subprocess.run([CLANG, "--target=wasm32-wasi", "-O1", "-Wno-deprecated", "-Wall", "-Wextra",
                    "-Werror", "-o", path, ROOT / "tests/guests/wasi.c"], check=True)
    return path


def run(*options):
    return subprocess.run([FAASM, "run", *map(str, options)], capture_output=True, text=True,
                          timeout=120)


@pytest.mark.parametrize("option", ["--files", "--dir"])
def test_run(module, tmp_path, option):
    folder = f"{tmp_path}::/" if option == "--dir" else tmp_path
    result = run(option, folder, "--env", "NAME=value", module)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.endswith(" checks, 0 failures\n")
    assert list(tmp_path.iterdir()) == []


def test_server(module, tmp_path):
    server = Server(tmp_path / "data")
    try:
        server.ready()
        server.put("me/wasi", module.read_bytes(), "?env.NAME=value")
        for _ in range(3):
            status, body = server.call("me/wasi")
            assert status == 200, body
            assert body.endswith(b" checks, 0 failures\n")
    finally:
        server.stop()
