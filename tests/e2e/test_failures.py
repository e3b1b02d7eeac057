"""What a failed call leaves behind: backtrace with source lines, the last of its log, a core dump."""
import json
import shutil
import subprocess

import pytest

from calls import get, submit, wait
from process import FAASM, Server

CRASH = r"""
#include <stdio.h>

__attribute__((always_inline)) static inline void check(int n)
{
    if (n > 3) /* line 6: the compiler makes one of the two */
        __builtin_trap();
}

static volatile int found = 0x5ca1ab1e;

__attribute__((noinline)) static int middle(int n)
{
    volatile int values[4] = {n, n, n, n};
    check(values[2]); /* line 15 */
    return values[1] + found;
}

int main(void)
{
    for (int i = 0; i < 1000; i++)
        fprintf(stderr, "line %d\n", i);
    return middle(getchar());
}
"""

TRAP = """(module (memory (export "memory") 2) (data (i32.const 70000) "left behind")
  (func $inner unreachable) (func (export "_start") (call $inner)))"""


@pytest.fixture(scope="module", name="server")
def server_fixture(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("data") / "d").ready()
    running.put("ada/trap", TRAP)
    yield running
    running.stop()


@pytest.fixture(scope="module", name="crash")
def crash_fixture(tmp_path_factory):
    """A module with debug information, compiled from crash.c."""
    clang = shutil.which("clang-22") or shutil.which("clang")
    if not clang:
        pytest.skip("no clang")
    folder = tmp_path_factory.mktemp("crash")
    (folder / "crash.c").write_text(CRASH)
    subprocess.run([clang, "--target=wasm32-wasi", "-Wno-deprecated", "-O1", "-g", "-o", "crash.wasm",
                    "crash.c"], cwd=folder, check=True)
    return folder / "crash.wasm"


def assert_lines(backtrace):
    lines = backtrace.splitlines()
    assert lines[0].startswith("check (") and "crash.c:6:" in lines[0] and "inlined)" in lines[0]
    assert lines[1].startswith("middle (") and "crash.c:15:" in lines[1]
    assert ", module offset 0x" in lines[1]
    assert any(line.startswith("main (") and "crash.c:23:" in line for line in lines)


def assert_tail(tail):
    lines = tail.splitlines()
    assert lines[-1] == "line 999" and len(tail) <= 4096
    assert lines[0] == f"line {1000 - len(lines)}"  # only whole ones


def test_source_lines_and_the_end_of_the_log(server, crash):
    server.put("ada/crash", crash.read_bytes())
    status, body, headers = server.request("POST", "/f/ada/crash", b"x")
    problem = json.loads(body)
    assert (status, problem["trap"]) == (502, "unreachable")
    assert_lines(problem["backtrace"])
    assert_tail(problem["log_tail"])
    assert "coredump_bytes" not in problem

    record = get(server, headers["X-Faasm-Call-Id"])
    assert_lines(record["error"]["backtrace"])
    assert_tail(record["error"]["log_tail"])

    record = wait(server, submit(server, "ada/crash", b"x"))  # the same from disk
    assert_lines(record["error"]["backtrace"])
    assert_tail(record["error"]["log_tail"])
    status, body, _ = server.request("GET", "/calls")
    assert status == 200 and all("log_tail" not in (call["error"] or {})
                                 for call in json.loads(body)["calls"])


def test_lines_outlive_a_restart(tmp_path, crash):
    first = Server(tmp_path / "d").ready()
    first.put("ada/crash", crash.read_bytes())
    first.stop()
    second = Server(tmp_path / "d").ready()
    assert_lines(json.loads(second.request("POST", "/f/ada/crash", b"x")[1])["backtrace"])
    second.stop()


def test_broken_debug_information_refuses_nothing(server, crash):
    module = bytearray(crash.read_bytes())
    for name in (b".debug_line", b".debug_info", b".debug_abbrev", b".debug_str"):
        at = module.index(name) + len(name)
        for i in range(at + 8, min(at + 400, len(module))):
            module[i] = module[i] * 7 + 13 & 0xff
    server.put("ada/broken", bytes(module))
    problem = json.loads(server.request("POST", "/f/ada/broken", b"x")[1])
    assert problem["trap"] == "unreachable" and "middle" in problem["backtrace"]


def test_run_prints_lines(crash):
    done = subprocess.run([FAASM, "run", crash], input=b"x", capture_output=True, check=False)
    assert done.returncode == 70
    assert_lines(done.stderr.decode().split("assertion)\n")[1])


def test_where_a_limit_ended_it(server):
    server.put("ada/spin", '(module (memory (export "memory") 1) (func $around (loop $l (br $l)))'
               '(func (export "_start") (call $around)))', "?limit.cpu_ms=20ms")
    problem = json.loads(server.request("POST", "/f/ada/spin")[1])
    assert problem["limit"] == "cpu_ms" and problem["backtrace"].startswith("around")


def leb(data, at):
    number = shift = 0
    while True:
        number |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return number, at


def sections(dump):
    """Content by number, of custom ones by name."""
    assert dump[:8] == b"\0asm\1\0\0\0"
    found = {}
    at = 8
    while at < len(dump):
        kind = dump[at]
        size, at = leb(dump, at + 1)
        content = dump[at:at + size]
        at += size
        if kind == 0:
            length, start = leb(content, 0)
            kind, content = content[start:start + length].decode(), content[start + length:]
        found[kind] = content
    return found


def assert_dump(dump):
    found = sections(dump)
    assert {"core", "coremodules", "coreinstances", "corestack", 5, 11} <= set(found)
    assert found["corestack"].startswith(b"\0\4main\2")  # thread `main`, two frames
    assert found[5] == b"\1\0\2"  # one memory of two pages
    assert b"left behind" in found[11]


def test_a_core_dump_on_request(server):
    status, body, headers = server.request("POST", "/f/ada/trap?coredump=1")
    problem = json.loads(body)
    assert status == 502 and problem["coredump_bytes"] > 0
    path = f"/calls/{headers['X-Faasm-Call-Id']}/coredump"
    status, dump, headers = server.request("GET", path)
    assert (status, headers["Content-Type"]) == (200, "application/wasm")
    assert len(dump) == problem["coredump_bytes"]
    assert_dump(dump)
    assert server.request("GET", path)[1] == dump
    record = get(server, path.split("/")[2])
    assert record["error"]["coredump_bytes"] == len(dump)

    _, body, headers = server.request("POST", "/f/ada/trap")
    assert "coredump_bytes" not in json.loads(body)
    status, body, _ = server.request("GET", f"/calls/{headers['X-Faasm-Call-Id']}/coredump")
    assert (status, json.loads(body)["code"]) == (404, "not_found")
    assert server.request("GET", "/calls/nonsense/coredump")[0] == 404


def test_core_dumps_of_a_function(server):
    server.put("ada/dumps", TRAP, "?limit.coredump_bytes=1MiB")
    call = submit(server, "ada/dumps")
    shown = wait(server, call, "failed")["error"]["coredump_bytes"]
    status, dump, _ = server.request("GET", f"/calls/{call}/coredump")
    assert (status, len(dump)) == (200, shown)
    assert_dump(dump)

    server.put("ada/small", TRAP, f"?limit.coredump_bytes={len(dump) - 1}")
    _, body, headers = server.request("POST", "/f/ada/small")
    assert json.loads(body)["coredump_omitted"] is True
    assert server.request("GET", f"/calls/{headers['X-Faasm-Call-Id']}/coredump")[0] == 404
    server.put("ada/exact", TRAP, f"?limit.coredump_bytes={len(dump)}")
    assert json.loads(server.request("POST", "/f/ada/exact")[1])["coredump_bytes"] == len(dump)
    assert server.request("PUT", "/f/ada/large?limit.coredump_bytes=65MiB", TRAP)[0] == 400


def test_a_dump_of_a_large_memory_holds_nobody_up(server):
    """It is made in pieces, and has all of the memory."""
    server.put("ada/wide", """(module (memory (export "memory") 1) (func (export "_start") (local $i i32)
        (drop (memory.grow (i32.const 600)))
        (loop $l (i32.store (local.get $i) (local.get $i))
          (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4096)))
                              (i32.const 39000000))))
        unreachable))""", "?limit.coredump_bytes=1MiB")
    status, body, headers = server.request("POST", "/f/ada/wide")
    assert status == 502 and json.loads(body)["coredump_bytes"] > 9000 * 5
    dump = sections(server.request("GET", f"/calls/{headers['X-Faasm-Call-Id']}/coredump")[1])
    assert dump[5] == b"\1\0\xd9\4"  # 601 pages
    count, _ = leb(dump[11], 0)
    assert 9000 < count <= 9523


def test_users_dumps_are_bounded(server):
    ids = []
    for _ in range(9):
        ids.append(server.request("POST", "/f/ada/trap?coredump=1")[2]["X-Faasm-Call-Id"])
    found = [server.request("GET", f"/calls/{one}/coredump")[0] for one in ids]
    assert found[-1] == 200 and found.count(200) >= 8 - 1


def test_run_writes_a_dump(tmp_path):
    (tmp_path / "trap.wat").write_text(TRAP)
    core = tmp_path / "core"
    done = subprocess.run([FAASM, "run", "--coredump", core, tmp_path / "trap.wat"],
                          capture_output=True, check=False)
    assert done.returncode == 70
    assert_dump(core.read_bytes())
