"""Guests that take all they can get (tests/guests/hostile.c), beside a neighbour that must not
notice: each ends its own call, for the right reason, and leaves the server as it was."""

import json
import os
import pathlib
import shutil
import subprocess
import threading

import pytest

from process import Server

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLANG = shutil.which("clang-22") or "clang"
SANITIZED = bool(os.environ.get("FAASM_SANITIZE"))
LIMITS = "&limit.cpu_ms=1000&limit.wall_ms=20000&limit.memory_bytes=32MiB&limit.file_bytes=8MiB"
ECHO = """(module
  (import "faasm" "input_read" (func $r (param i32 i32 i32) (result i32)))
  (import "faasm" "output_write" (func $w (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $w (i32.const 0) (call $r (i32.const 0) (i32.const 0) (i32.const 1024))))))"""

# way -> what the answer must hold: a text that was printed, or members of the problem
GENEROUS = "&limit.cpu_ms=60000"
WAYS = {
    "loop": {"code": "guest_limit", "limit": "cpu_ms"},
    "recursion": {"code": "guest_limit", "limit": "guest_stack_bytes"},
    "stack": {"code": "guest_trap", "trap": "memory_out_of_bounds"},
    "grow": "512 pages\n",
    "fill": {"code": "guest_limit", "limit": "cpu_ms"},
    "copy": {"code": "guest_limit", "limit": "cpu_ms"},
    "output": {"code": "guest_limit", "limit": "output_bytes"},
    "logs": "logged\n",
    "file": "No space left on device after 7 MiB\n",
    "names": "No space left on device, many\n",
    "descriptors": "No file descriptors available at 1024\n",
    "folders": "Filename too long at 64\n",
    "links": "Symbolic link loop\n",
    "renames": "renamed\n",
    "listing": {"code": "guest_limit", "limit": "cpu_ms"},
    "holes": "No space left on device\n",
    "sleeper": {"code": "deadline"},
    "pointer": {"code": "guest_trap", "trap": "memory_out_of_bounds"},
    "null": {"code": "guest_trap"},
    "ends": {"code": "guest_exit", "exit_code": 77},
}
BUSY = {"links", "renames", "names", "logs", "holes", "descriptors", "file"}


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile") / "hostile.wasm"
    subprocess.run([CLANG, "--target=wasm32-wasi", "-O1", "-mbulk-memory", "-Wno-deprecated",
                    "-Wall", "-Wno-infinite-recursion", "-Wl,--stack-first", "-o", path,
                    ROOT / "tests/guests/hostile.c"], check=True)
    return path.read_bytes()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("data") / "data", "--workers", "2").ready()
    server.put("good/echo", ECHO)
    yield server
    server.stop()


class Neighbour:
    """Calls another user's function again and again; every answer must be right."""

    def __init__(self, server):
        self.server, self.ended, self.calls, self.wrong = server, threading.Event(), 0, []
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.ended.is_set():
            text = b"%d" % self.calls
            answer = self.server.call("good/echo", text)
            if answer != (200, text):
                self.wrong.append(answer)
            self.calls += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        assert self.calls > 0 and not self.wrong, self.wrong[:3]


@pytest.mark.parametrize("way", WAYS)
def test_ends_alone(server, module, way):
    limits = LIMITS.replace("&limit.cpu_ms=1000", GENEROUS) if way in BUSY else LIMITS
    if way == "sleeper":
        limits = limits.replace("wall_ms=20000", "wall_ms=700")
    elif SANITIZED:
        limits = limits.replace("wall_ms=20000", "wall_ms=120000")
    server.put("evil/" + way, module, f"?arg={way}{limits}")
    before = server.metric("faasm_resident_bytes")
    with Neighbour(server):
        status, body, headers = server.request("POST", f"/f/evil/{way}", b"", timeout=150)
    expected = WAYS[way]
    if isinstance(expected, str):
        assert (status, body.decode()) == (200, expected)
    else:
        problem = json.loads(body)
        for key, value in expected.items():
            assert problem[key] == value, problem
    server.wait_metric("faasm_sandboxes", 0)
    if not SANITIZED:  # what it took is given back; the sanitizers keep what is freed for a while
        assert server.metric("faasm_resident_bytes") < before + 48 * 2**20


def test_the_culprit_pays(server, module):
    """A second of bulk operations, which no tick interrupts, is charged to who asked for them."""
    server.put("payer/fill", module, f"?arg=fill{LIMITS}")
    status, body, headers = server.request("POST", "/f/payer/fill", b"", timeout=150)
    assert json.loads(body)["limit"] == "cpu_ms"
    assert int(headers["X-Faasm-Cpu-Us"]) >= 1_000_000
    _, body, _ = server.request("GET", "/users/payer")
    assert json.loads(body)["use"]["cpu_us"] >= 1_000_000


def test_all_at_once(server, module):
    """Everybody's worst, side by side."""
    ways = [way for way in WAYS if way not in ("sleeper", "listing")]
    answers = {}

    def call(way):
        answers[way] = server.request("POST", f"/f/evil/{way}", b"", timeout=200)[0]
    for way in ways:
        server.put("evil/" + way, module, f"?arg={way}{LIMITS}".replace("20000", "120000"))
    with Neighbour(server):
        threads = [threading.Thread(target=call, args=(way,)) for way in ways]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(answers) == sorted(ways)
    assert set(answers.values()) <= {200, 500, 502}, answers
    server.wait_metric("faasm_sandboxes", 0)
