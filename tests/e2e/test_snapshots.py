"""Functions that are initialised once, at upload, and start from there."""
import json
import pathlib
import shutil
import subprocess

import pytest

from process import FAASM, Server

# Counts how often its parts have run; a call adds to it, and must not find what another has added.
COUNTER = """(module
  (import "faasm" "output_write" (func $w (param i32 i32) (result i32)))
  (memory (export "memory") 1) (global $started (mut i32) (i32.const 0))
  (func $add (param $at i32) (i32.store8 (local.get $at) (i32.add (i32.load8_u (local.get $at)) (i32.const 1))))
  (func (export "_initialize") (call $add (i32.const 0)) (drop (memory.grow (i32.const 3))))
  (func (export "wizer-initialize") (call $add (i32.const 1)) (global.set $started (i32.const 7)))
  (func (export "handle") (result i32)
    (call $add (i32.const 2))
    (i32.store8 (i32.const 3) (global.get $started))
    (global.set $started (i32.const 9))
    (i32.store8 (i32.const 4) (memory.size))
    (drop (call $w (i32.const 0) (i32.const 5)))
    (i32.const 0)))"""

INITIALIZE = '(func (export "wizer-initialize") %s) (func (export "_start") %s)'


def command(init="", start="", more="", imports=""):
    return f'(module {imports} (memory (export "memory") 1) {more} {INITIALIZE % (init, start)})'


@pytest.fixture(scope="module", name="server")
def server_fixture(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("data") / "d").ready()
    yield running
    running.stop()


def refused(server, module, query=""):
    status, body, _ = server.request("PUT", f"/f/bad/module{query}", module)
    problem = json.loads(body)
    assert status in (400, 422), problem
    assert server.request("GET", "/f/bad/module")[0] == 404
    return problem


def test_it_runs_once_and_every_call_starts_from_it(server):
    server.put("ada/counter", COUNTER)
    for _ in range(5):
        assert server.call("ada/counter") == (200, bytes([1, 1, 1, 7, 4]))
    function = json.loads(server.request("GET", "/f/ada/counter")[1])
    assert function["snapshot"] is True and function["snapshot_us"] >= 0
    assert function["memory_pages_min"] == 4 and function["has_initialize"] is False
    assert function["abi"] == "reactor" and function["size"] == len(COUNTER)

    server.put("ada/plain", '(module (memory (export "memory") 1) (func (export "_start")))')
    function = json.loads(server.request("GET", "/f/ada/plain")[1])
    assert function["snapshot"] is False and "snapshot_us" not in function


def test_after_a_restart_and_made_again(tmp_path):
    data = tmp_path / "d"
    first = Server(data).ready()
    first.put("ada/counter", COUNTER)
    first.stop()
    code, = pathlib.Path(data).glob("functions/ada/counter/*/function.cwasm")
    second = Server(data).ready()
    assert second.call("ada/counter") == (200, bytes([1, 1, 1, 7, 4]))
    second.stop()
    code.write_bytes(b"no machine code")
    third = Server(data).ready()
    assert third.call("ada/counter") == (200, bytes([1, 1, 1, 7, 4]))
    assert json.loads(third.request("GET", "/f/ada/counter")[1])["snapshot"] is True
    third.stop()


def test_what_fails_says_why(server):
    log = '(import "wasi_snapshot_preview1" "fd_write" (func $p (param i32 i32 i32 i32) (result i32)))'
    say = ('(i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 6))'
           '(drop (call $p (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))')
    problem = refused(server, command(say + "(call $broken)", "", '(data (i32.const 16) "sorry\\0a")'
                                      '(func $broken unreachable)', log))
    assert problem["code"] == "bad_module" and "wizer-initialize failed" in problem["detail"]
    assert problem["trap"] == "unreachable" and problem["log_tail"] == "sorry\n"
    assert problem["backtrace"].startswith("broken (module offset 0x")


@pytest.mark.parametrize("name, type_, arguments", [
    ("clock_time_get", "(param i32 i64 i32) (result i32)", "(i32.const 0) (i64.const 0) (i32.const 0)"),
    ("random_get", "(param i32 i32) (result i32)", "(i32.const 0) (i32.const 8)"),
    ("poll_oneoff", "(param i32 i32 i32 i32) (result i32)",
     "(i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)"),
])
def test_nothing_is_frozen_that_must_change(server, name, type_, arguments):
    module = command(f"(drop (call $f {arguments}))", "",
                     imports=f'(import "wasi_snapshot_preview1" "{name}" (func $f {type_}))')
    problem = refused(server, module)
    assert problem["trap"] == "not_in_snapshot" and name in problem["detail"]
    # The call itself may.
    server.put("ada/later", command("", f"(drop (call $f {arguments}))", imports=(
        f'(import "wasi_snapshot_preview1" "{name}" (func $f {type_}))')))
    assert server.call("ada/later")[0] == 200


def test_ending_is_no_initialisation(server):
    module = command("(call $e (i32.const 0))", imports=(
        '(import "wasi_snapshot_preview1" "proc_exit" (func $e (param i32)))'))
    assert "proc_exit" in refused(server, module)["detail"]


def test_what_a_snapshot_cannot_hold(server):
    table = command("(table.set (i32.const 0) (ref.null func))", "", "(table 1 funcref)")
    problem = refused(server, table)
    assert problem["code"] == "unsupported_module" and "table.set" in problem["detail"]
    assert "reference type" in refused(
        server, command(more="(global $g (mut funcref) (ref.null func))"))["detail"]
    assert "()->()" in refused(server, '(module (memory (export "memory") 1) (func (export "_start"))'
                               '(func (export "wizer-initialize") (param i32)))')["detail"]


def test_usual_refusals_stay_the_same(server):
    problem = refused(server, command(imports='(import "host" "strange" (func))'))
    assert problem["missing_imports"] == ["host.strange"]
    assert refused(server, command("(i64.add)"))["code"] == "bad_module"
    assert refused(server, b"\0asm\1\0\0\0\7\x13\1\x10wizer-initialize\0")["code"] == "bad_module"


def test_its_memory_is_the_functions(server):
    grown = command("(drop (memory.grow (i32.const 31)))")
    problem = refused(server, grown, "?limit.memory_bytes=1MiB")
    assert "memory_bytes" in problem["detail"]
    server.put("ada/grown", grown, "?limit.memory_bytes=2MiB")
    assert server.call("ada/grown")[0] == 200


@pytest.mark.parametrize("mebibytes, accepted", [(60, True), (65, False)])
def test_its_size_is_bounded(server, mebibytes, accepted):
    """Not what it reserves: what it fills."""
    module = command(f"(drop (memory.grow (i32.const 3000)))"
                     f"(memory.fill (i32.const 65536) (i32.const 7) (i32.const {mebibytes << 20}))",
                     "(if (i32.ne (i32.load8_u (i32.const 1000000)) (i32.const 7)) (then unreachable))")
    if accepted:
        server.put("ada/filled", module, "?limit.memory_bytes=256MiB")
        assert server.call("ada/filled")[0] == 200
    else:
        problem = refused(server, module, "?limit.memory_bytes=256MiB")
        assert problem["code"] == "unsupported_module" and "67108864" in problem["detail"]


def test_lines_are_those_of_the_upload(server, tmp_path):
    clang = shutil.which("clang-22") or shutil.which("clang")
    if not clang:
        pytest.skip("no clang")
    (tmp_path / "late.c").write_text("""
        static int *big;
        __attribute__((export_name("wizer-initialize"))) void prepare(void)
        {
            static int memory[100000];
            for (int i = 0; i < 100000; i++)
                memory[i] = i;
            big = memory;
        }
        int main(void)
        {
            if (big && big[99999] == 99999)
                __builtin_trap();
            return 1;
        }""")
    command_line = [clang, "--target=wasm32-wasi", "-Wno-deprecated", "-O1", "-g"]
    subprocess.run(command_line + ["-o", "late.wasm", "late.c"], cwd=tmp_path, check=True)
    server.put("ada/late", (tmp_path / "late.wasm").read_bytes())
    problem = json.loads(server.request("POST", "/f/ada/late")[1])
    assert "late.c:1" in problem["backtrace"].splitlines()[0]

    done = subprocess.run([FAASM, "run", tmp_path / "late.wasm"], capture_output=True, check=False)
    assert done.stderr.decode().split("assertion)\n")[1] == problem["backtrace"]


def test_run_shows_its_log(tmp_path):
    (tmp_path / "counter.wat").write_text(COUNTER)
    done = subprocess.run([FAASM, "run", tmp_path / "counter.wat"], capture_output=True, check=True)
    assert done.stdout == bytes([1, 1, 1, 7, 4]) and done.stderr == b""
    (tmp_path / "bad.wat").write_text(command("unreachable"))
    done = subprocess.run([FAASM, "run", tmp_path / "bad.wat"], capture_output=True, check=False)
    assert done.returncode == 65 and b"wizer-initialize failed" in done.stderr
