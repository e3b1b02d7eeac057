"""Calls that start calls and wait for them: the samples, trees on few slots, ends of every kind, and
that nothing of a tree is left."""
import collections
import concurrent.futures
import json
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import time

import pytest

from process import SLEEP, Server

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOUR_NS = 3_600_000_000_000
IMPORTS = """
  (import "faasm" "input_read" (func $r (param i32 i32 i32) (result i32)))
  (import "faasm" "input_size" (func $size (result i32)))
  (import "faasm" "output_write" (func $w (param i32 i32) (result i32)))
  (import "faasm" "call_start" (func $start (param i32 i32 i32 i32) (result i64)))
  (import "faasm" "call_wait" (func $wait (param i64 i64) (result i32)))
  (import "faasm" "call_wait_any" (func $any (param i32 i32 i64) (result i32)))
  (import "faasm" "call_output_size" (func $outsize (param i64) (result i32)))
  (import "faasm" "call_output_read" (func $out (param i64 i32 i32 i32) (result i32)))
  (import "faasm" "call_info" (func $info (param i32 i32 i32) (result i32)))
  (memory (export "memory") 4)"""

# Input: a name. Starts it with the input "x" and gives, as two numbers of 4 bytes, what the start
# and the wait of %d ms have said (or the start alone), and then its output, if it has ended.
ONE = f"""(module {IMPORTS} (data (i32.const 200) "x")
  (func (export "_start") (local $h i64)
    (local.set $h (call $start (i32.const 1000) (call $r (i32.const 0) (i32.const 1000)
      (i32.const 100)) (i32.const 200) (i32.const 1)))
    (i32.store (i32.const 0) (i32.wrap_i64 (local.get $h)))
    (drop (call $w (i32.const 0) (i32.const 4)))
    (if (i64.gt_s (local.get $h) (i64.const 0)) (then
      (i32.store (i32.const 0) (call $wait (local.get $h) (i64.const %d)))
      (drop (call $w (i32.const 0) (i32.const 4)))
      (if (i32.ne (i32.load (i32.const 0)) (i32.const -73)) (then
        (drop (call $w (i32.const 2000) (call $out (local.get $h) (i32.const 0) (i32.const 2000)
          (i32.const 1000))))))))))"""

# Input: a number of 4 bytes. Calls `nest` one less deep; the output is 1 + what that has found, or 0
# when none could be started.
NEST = f"""(module {IMPORTS} (data (i32.const 200) "nest")
  (func (export "_start") (local $h i64)
    (drop (call $r (i32.const 0) (i32.const 0) (i32.const 4)))
    (if (i32.load (i32.const 0)) (then
      (i32.store (i32.const 0) (i32.sub (i32.load (i32.const 0)) (i32.const 1)))
      (local.set $h (call $start (i32.const 200) (i32.const 4) (i32.const 0) (i32.const 4)))
      (if (i64.gt_s (local.get $h) (i64.const 0)) (then
        (if (call $wait (local.get $h) (i64.const -1)) (then unreachable))
        (drop (call $out (local.get $h) (i32.const 0) (i32.const 8) (i32.const 4)))
        (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))))))
    (drop (call $w (i32.const 8) (i32.const 4)))))"""

# Input: how many batches and how many in each, 4 bytes each, then a name. Starts these with their
# number in all as input, awaits each batch, and gives the sum of their outputs of 4 bytes.
BATCHES = f"""(module {IMPORTS}
  (func (export "_start") (local $b i32) (local $i i32) (local $n i32) (local $name i32)
      (local $sum i32)
    (local.set $name (i32.sub (call $r (i32.const 0) (i32.const 100) (i32.const 100))
      (i32.const 8)))
    (loop $batch
      (local.set $i (i32.const 0))
      (loop $more
        (i32.store (i32.const 0) (local.get $n))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (i64.store (i32.add (i32.const 1000) (i32.mul (i32.const 8) (local.get $i)))
          (call $start (i32.const 108) (local.get $name) (i32.const 0) (i32.const 4)))
        (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))
          (i32.load (i32.const 104)))))
      (loop $more
        (local.set $i (i32.sub (local.get $i) (i32.const 1)))
        (if (call $wait (i64.load (i32.add (i32.const 1000) (i32.mul (i32.const 8)
          (local.get $i)))) (i64.const -1)) (then unreachable))
        (drop (call $out (i64.load (i32.add (i32.const 1000) (i32.mul (i32.const 8)
          (local.get $i)))) (i32.const 0) (i32.const 0) (i32.const 4)))
        (local.set $sum (i32.add (local.get $sum) (i32.load (i32.const 0))))
        (br_if $more (local.get $i)))
      (br_if $batch (i32.lt_u (local.tee $b (i32.add (local.get $b) (i32.const 1)))
        (i32.load (i32.const 100)))))
    (i32.store (i32.const 0) (local.get $sum))
    (drop (call $w (i32.const 0) (i32.const 4)))))"""

# Starts two of what its data names and waits for both, for ever.
TWO = f"""(module {IMPORTS} (data (i32.const 200) "%s")
  (func (export "_start") (local $one i64) (local $two i64)
    (local.set $one (call $start (i32.const 200) (i32.const %d) (i32.const 0) (i32.const 0)))
    (local.set $two (call $start (i32.const 200) (i32.const %d) (i32.const 0) (i32.const 0)))
    (drop (call $wait (local.get $one) (i64.const -1)))
    (drop (call $wait (local.get $two) (i64.const -1)))))"""
# The same, and returns at once, traps at once, or loops.
START_AND = f"""(module {IMPORTS} (data (i32.const 200) "tree")
  (func (export "_start") (local $h i64)
    (local.set $h (call $start (i32.const 200) (i32.const 4) (i32.const 0) (i32.const 0)))
    (drop (call $wait (local.get $h) (i64.const %d)))
    %s))"""

# Everything that call_info tells, a line each.
INFO = f"""(module {IMPORTS} (data (i32.const 0) "\\n")
  (func (export "_start") (local $i i32)
    (loop $more
      (drop (call $w (i32.const 100) (call $info (local.get $i) (i32.const 100) (i32.const 100))))
      (drop (call $w (i32.const 0) (i32.const 1)))
      (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))
        (i32.const 7))))))"""

ECHO = f"""(module {IMPORTS} (func (export "_start")
    (drop (call $w (i32.const 0) (call $r (i32.const 0) (i32.const 0) (i32.const 1000))))))"""
WRITE = f"""(module {IMPORTS} (func (export "_start")
    (drop (call $w (i32.const 0) (i32.const %d)))))"""
EXIT = """(module (import "wasi_snapshot_preview1" "proc_exit" (func $e (param i32)))
  (memory (export "memory") 1) (func (export "_start") (call $e (i32.const %d))))"""
TRAP = '(module (memory (export "memory") 1) (func (export "_start") unreachable))'
SPIN = '(module (memory (export "memory") 1) (func (export "_start") (loop $l (br $l))))'
CHAIN = """(module (import "faasm" "chain" (func $c (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 0) "nobody")
  (func (export "_start")
    (drop (call $c (i32.const 0) (i32.const 6) (i32.const 0) (i32.const 0)))))"""

MODULES = {
    "one": (ONE % -1, ""),
    "poll": (ONE % 0, ""),
    "briefly": (ONE % 20, ""),
    "hasty": (ONE % -1, "?limit.wall_ms=3s"),
    "narrow": (ONE % -1, "?limit.children_bytes=99"),
    "shallow": (ONE % -1, "?limit.chain_depth=0"),
    "lonely": (ONE % -1, "?limit.chain_fanout=0"),
    "nest": (NEST, ""),
    "batches": (BATCHES, "?limit.chain_fanout=10000"),
    "forest": (TWO % ("tree", 4, 4), ""),
    "tree": (TWO % ("twig", 4, 4), ""),
    "twig": (TWO % ("doze", 4, 4), ""),
    "late": (TWO % ("twig", 4, 4), "?limit.wall_ms=300ms"),
    "returns": (START_AND % (50, ""), ""),
    "traps": (START_AND % (50, "unreachable"), ""),
    "burns": (START_AND % (50, "(loop $l (br $l))"), "?limit.cpu_ms=50ms"),
    "info": (INFO, ""),
    "echo": (ECHO, ""),
    "doze": (SLEEP % HOUR_NS, "?limit.wall_ms=1h"),
    "exit0": (EXIT % 0, ""),
    "exit7": (EXIT % 7, ""),
    "exit256": (EXIT % 256, ""),
    "trap": (TRAP, ""),
    "spin": (SPIN, "?limit.cpu_ms=20ms"),
    "tardy": (SLEEP % HOUR_NS, "?limit.wall_ms=20ms"),
    "nothing": (ECHO, "?limit.input_bytes=0"),
    "write99": (WRITE % 99, ""),
    "write100": (WRITE % 100, ""),
    "chain": (CHAIN, ""),
}


def upload(server):
    for name, (text, query) in MODULES.items():
        server.put(f"ada/{name}", text, query)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("await") / "data", samples=True).ready()
    upload(server)
    yield server
    try:
        server.stop()
    finally:
        server.process.kill()


@pytest.fixture
def other(tmp_path):
    """Servers with settings of their own."""
    started = []

    def start(*options):
        started.append(Server(tmp_path / "data", *options).ready())
        upload(started[-1])
        return started[-1]

    yield start
    for one in started:
        one.stop()


def nothing_left(server):
    for name in ("faasm_calls_children", "faasm_calls", "faasm_sandboxes", "faasm_calls_parked"):
        server.wait_metric(name, 0)


def call(server, name, body=b""):
    status, output = server.call(f"ada/{name}", body)
    assert status == 200, output
    return output


def numbers(output):
    return list(struct.unpack(f"<{len(output) // 4}i", output[: len(output) // 4 * 4]))


# --- the samples --------------------------------------------------------------------------------


def fibonacci(n):
    one, two = 0, 1
    for _ in range(n):
        one, two = two, one + two
    return one


@pytest.mark.parametrize("n", [0, 1, 2, 6, 7, 8, 20, 24])
def test_fib(server, n):
    before = server.metric("faasm_calls_submitted_total")
    assert server.call("simon/fib", str(n)) == (200, str(fibonacci(n)).encode())
    if n > 1:
        assert server.metric("faasm_calls_submitted_total") > before + 1
    nothing_left(server)


def test_fib_of_many_at_once(server):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: server.call("simon/fib", str(n)), range(1, 17)))
    assert answers == [(200, str(fibonacci(n)).encode()) for n in range(1, 17)]
    nothing_left(server)


def test_wordcount(server):
    status, output = server.call("simon/wordcount", b"a rose is a rose")
    assert (status, output) == (200, b"a 2\nis 1\nrose 2\n")
    # Pieces of 32 KiB, and more of them than one call may have: two levels of calls.
    text = b" ".join(b"word%d" % (number * number % 9973) for number in range(300_000))
    assert len(text) > 2 * 65536 * 16
    counts = collections.Counter(text.split())
    expected = b"".join(b"%s %d\n" % (word, counts[word]) for word in sorted(counts))
    before = server.metric("faasm_calls_submitted_total")
    assert server.call("simon/wordcount", text) == (200, expected)
    assert server.metric("faasm_calls_submitted_total") > before + 64
    nothing_left(server)


# --- outcomes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("parent", "child", "expected", "output"), [
    ("one", "echo", [1, 0], b"x"),
    ("one", "exit0", [1, 0], b""),
    ("one", "exit7", [1, 7], b""),
    ("one", "exit256", [1, 1], b""),
    ("one", "trap", [1, -21], b""),
    ("one", "spin", [1, -19], b""),  # cpu_ms
    ("one", "tardy", [1, -19], b""),  # wall_ms
    ("one", "chain", [1, -29], b""),  # what it chained does not exist
    ("one", "nobody", [-44], b""),
    ("one", "../x", [-28], b""),
    ("one", "", [-28], b""),
    ("one", "nothing", [-1], b""),  # takes no input
    ("shallow", "echo", [-6], b""),
    ("lonely", "echo", [-6], b""),
    ("narrow", "write99", [1, 0], bytes(99)),
    ("narrow", "write100", [1, -19], b""),
    ("poll", "doze", [1, -73], b""),
    ("briefly", "doze", [1, -73], b""),
])
def test_outcomes(server, parent, child, expected, output):
    answer = call(server, parent, child.encode())
    assert numbers(answer[: 4 * len(expected)]) == expected
    assert answer[4 * len(expected):] == output
    nothing_left(server)


def test_a_child_that_is_cut_short_by_its_parents_deadline(server):
    """The child may sleep for an hour, its parent may live for three seconds."""
    status, body = server.call("ada/hasty", b"doze")
    assert status == 504, body
    nothing_left(server)


def test_a_child_is_told_about_itself(server):
    started_ms = time.time() * 1000
    answer, body, headers = server.request("POST", "/f/ada/hasty", b"info")
    assert answer == 200
    assert numbers(body[:8]) == [1, 0]
    info = body[8:].decode().split("\n")
    assert len(info) == 8
    assert re.fullmatch(r"[0-9a-f-]{36}", info[0])
    assert info[1:3] == ["ada", "info"]
    assert info[3] == json.loads(server.request("GET", "/f/ada/info")[1])["version"]
    assert info[4] == "1"
    assert started_ms <= int(info[5]) <= time.time() * 1000 + 3000  # not its own minute
    assert info[6] == headers["X-Faasm-Call-Id"]
    assert info[0] > info[6]


def test_children_in_the_call_json(server):
    _, body, _ = server.request("POST", "/fa/ada/batches", struct.pack("<II", 3, 5) + b"echo")
    path = "/calls/" + json.loads(body)["id"]
    record = json.loads(server.request("GET", path + "?wait=60")[1])
    assert record["status"] == "succeeded", record
    assert len(set(record["children"])) == 15
    assert record["children"] == sorted(record["children"])
    nothing_left(server)


def test_a_chained_call_knows_its_parent(server):
    server.put("ada/chaininfo", CHAIN.replace("nobody", "info\\00\\00").replace(
        "(i32.const 6)", "(i32.const 4)"))
    _, body, _ = server.request("POST", "/fa/ada/chaininfo")
    parent = json.loads(body)["id"]
    record = json.loads(server.request("GET", f"/calls/{parent}?wait=60")[1])
    child, = record["children"]
    assert server.request("GET", f"/calls/{child}?wait=60")[0] == 200
    status, output, _ = server.request("GET", f"/calls/{child}/output")
    assert status == 200
    assert output.decode().split("\n")[6] == parent


# --- many, deep, and on few slots ---------------------------------------------------------------


def test_ten_thousand_children_in_batches(server):
    answer = call(server, "batches", struct.pack("<II", 100, 100) + b"echo")
    assert numbers(answer) == [sum(range(10000))]
    status, body = server.call("ada/batches", struct.pack("<II", 1, 10001) + b"echo")
    assert status == 502, body  # one more than chain_fanout: waiting for that is an error, so a trap
    nothing_left(server)


def nest(server, depth):
    found, = numbers(call(server, "nest", struct.pack("<I", depth)))
    return found


def test_nested_to_the_limit(server):
    """chain_depth and await_depth are both 32."""
    for depth in (0, 1, 31, 32):
        assert nest(server, depth) == depth
    assert nest(server, 33) == 32  # the last could not be started
    assert nest(server, 1000) == 32
    nothing_left(server)


@pytest.mark.parametrize(("slots", "workers"), [(1, 1), (2, 1), (3, 1), (4, 1), (2, 2), (4, 2)])
def test_parents_that_hold_all_slots(other, slots, workers):
    """Many more callers than slots, all of which nest as deep as it goes."""
    server = other("--set", f"slots={slots}", "--workers", str(workers))
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        assert list(pool.map(lambda depth: nest(server, depth), [32] * 24)) == [32] * 24
        answers = pool.map(lambda _: call(server, "batches", struct.pack("<II", 5, 20) + b"echo"),
                           range(24))
        assert [numbers(answer) for answer in answers] == [[sum(range(100))]] * 24
    nothing_left(server)


def test_less_depth(other):
    server = other("--set", "slots=4", "--workers", "1", "--set", "await_depth=2")
    assert [nest(server, depth) for depth in (1, 2, 3)] == [1, 2, 2]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        assert list(pool.map(lambda depth: nest(server, depth), [3] * 12)) == [2] * 12
    nothing_left(server)


def test_no_depth(other):
    server = other("--set", "await_depth=0")
    assert numbers(call(server, "one", b"echo")) == [-6]
    assert nest(server, 1) == 0
    nothing_left(server)


# --- ends ---------------------------------------------------------------------------------------


def grown(server, calls):
    """The tree is complete: all of it waits."""
    server.wait_metric("faasm_calls_parked", calls)
    assert server.metric("faasm_calls_children") == calls - 1


def test_a_client_that_hangs_up_ends_the_tree(server):
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"POST /f/ada/forest HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        grown(server, 15)  # 1 + 2 + 4 + 8
    nothing_left(server)


def test_delete_ends_the_tree(server):
    _, body, _ = server.request("POST", "/fa/ada/forest")
    path = "/calls/" + json.loads(body)["id"]
    grown(server, 15)
    assert server.request("DELETE", path)[0] == 202
    nothing_left(server)
    record = json.loads(server.request("GET", path + "?wait=60")[1])  # until that is on disk
    assert record["status"] == "cancelled"
    assert len(record["children"]) == 2


def record_of(server, call, query=""):
    status, body, _ = server.request("GET", f"/calls/{call}{query}")
    assert status == 200, body
    return json.loads(body)


def test_started_calls_are_calls(server):
    """Listed and found while they run and afterwards; one may be cancelled alone."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"POST /f/ada/forest HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        grown(server, 15)
        listed = json.loads(server.request("GET", "/calls?user=ada&status=running")[1])["calls"]
        assert len(listed) == 15
        calls = {call["id"]: call for call in listed}
        twig = next(call for call in listed if call["function"] == "twig")
        tree = calls[twig["parent"]]
        assert tree["function"] == "tree" and twig["id"] in tree["children"]
        assert [calls[call]["function"] for call in twig["children"]] == ["doze", "doze"]
        first, second = twig["children"]
        assert record_of(server, first)["parent"] == twig["id"]
        status, body, _ = server.request("DELETE", f"/calls/{first}")
        assert status == 202 and json.loads(body)["status"] == "cancelled"
        grown(server, 14)  # the rest waits on
        assert record_of(server, second)["status"] == "running"
    nothing_left(server)
    for call in (first, second, tree["id"]):
        record = record_of(server, call, "?wait=60")
        assert record["status"] == "cancelled" and record["parent"] == calls[call]["parent"]
        assert record["children"] == calls[call]["children"]


def test_what_a_started_call_chains_is_on_disk(server):
    server.put("ada/relay", CHAIN.replace("nobody", "echo\\00\\00").replace(
        "(i32.const 6)", "(i32.const 4)"))
    status, body, headers = server.request("POST", "/f/ada/one", b"relay")
    assert status == 200, body
    parent = record_of(server, headers["X-Faasm-Call-Id"])
    child, = parent["children"]
    record = record_of(server, child)
    assert record["status"] == "succeeded" and record["parent"] == parent["id"]
    chained, = record["children"]
    record = record_of(server, chained, "?wait=60")
    assert record["status"] == "succeeded" and record["parent"] == child
    nothing_left(server)


def test_a_deadline_ends_the_tree(server):
    status, body = server.call("ada/late")
    assert status == 504, body
    nothing_left(server)


@pytest.mark.parametrize(("name", "status"), [("returns", 200), ("traps", 502), ("burns", 502)])
def test_a_parent_that_ends_takes_its_children_along(server, name, status):
    assert server.call(f"ada/{name}")[0] == status
    nothing_left(server)


def test_trees_end_with_the_server(other):
    """Those that do not end in time after SIGTERM are cancelled; Server.stop() wants exit code 0."""
    server = other("--set", "drain_ms=100ms", "--set", "slots=64", "--workers", "1")
    for _ in range(3):
        server.request("POST", "/fa/ada/forest")
    server.wait_metric("faasm_calls_parked", 3 * 15)
    server.stop()


def test_a_draining_server_lets_parents_finish(other):
    """SIGTERM comes while a parent sleeps, which then starts a child."""
    server = other("--set", "drain_ms=20s")
    server.put("ada/later", START_LATER)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.call, "ada/later")
        server.wait_metric("faasm_calls_parked", 1)
        server.process.terminate()
        server.wait_line(r" draining")
        assert answer.result() == (200, b"child")


# Sleeps for a second, then starts echo and gives its output.
START_LATER = f"""(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $p (param i32 i32 i32 i32) (result i32)))
  {IMPORTS} (data (i32.const 200) "echochild")
  (func (export "_start") (local $h i64)
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 1000000000))
    (drop (call $p (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))
    (local.set $h (call $start (i32.const 200) (i32.const 4) (i32.const 204) (i32.const 5)))
    (drop (call $wait (local.get $h) (i64.const -1)))
    (drop (call $w (i32.const 300) (call $out (local.get $h) (i32.const 0) (i32.const 300)
      (i32.const 100))))))"""


# --- from C -------------------------------------------------------------------------------------

FIRST = """
#include "faasm.h"

/* The first of three that ends: two sleep. */
int exec(struct FaasmMemory *memory)
{
    int64_t calls[3];
    calls[0] = faasmCallStart(memory, "doze", "", 0);
    calls[1] = faasmCallStart(memory, "echo", "hello", 5);
    calls[2] = faasmCallStart(memory, "doze", "", 0);
    int first = faasmAwaitAny(memory, calls, 3, FAASM_FOR_EVER);
    int size = faasmAwaitCallOutput(memory, calls[first], memory->output, 3);
    memory->output[size] = (uint8_t)('0' + first);
    return faasmAwaitAny(memory, calls, 1, 1) == -73 ? 0 : 1;
}
"""


@pytest.mark.skipif(not (shutil.which("clang-22") or shutil.which("clang")), reason="no clang")
def test_await_any_from_c(server, tmp_path):
    (tmp_path / "first.c").write_text(FIRST)
    clang = "clang-22" if shutil.which("clang-22") else "clang"
    subprocess.run([clang, "--target=wasm32-wasi", "-Wno-deprecated", "-O3", "-I",
                    ROOT / "include/faasm", "-o", tmp_path / "first.wasm", tmp_path / "first.c"],
                   check=True)
    server.put("ada/first", (tmp_path / "first.wasm").read_bytes())
    assert server.call("ada/first") == (200, b"hel\0\0" + b"1")  # cut, but the size is told
    nothing_left(server)
