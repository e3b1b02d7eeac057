"""HTTP as clients really speak it: curl's habits, raw sockets, limits, every error, and bad manners."""
import base64
import concurrent.futures
import hashlib
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import time

import pytest

from process import SLEEP, Server

ECHO = """(module
  (import "faasm" "input_read" (func $r (param i32 i32 i32) (result i32)))
  (import "faasm" "output_write" (func $w (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (local $at i32) (local $n i32)
    (loop $more
      (local.set $n (call $r (local.get $at) (i32.const 0) (i32.const 65536)))
      (if (local.get $n) (then
        (drop (call $w (i32.const 0) (local.get $n)))
        (local.set $at (i32.add (local.get $at) (local.get $n)))
        (br $more))))))"""
EXIT = """(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "faasm" "input_read" (func $r (param i32 i32 i32) (result i32)))
  (import "faasm" "output_write" (func $w (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $w (i32.const 0) (call $r (i32.const 0) (i32.const 0) (i32.const 1024))))
    (call $exit (i32.const %d))))"""
TRAP = """(module
  (memory (export "memory") 1)
  (func $inner (unreachable))
  (func (export "_start") (call $inner)))"""
DIVIDE = """(module
  (memory (export "memory") 1)
  (func (export "_start") (drop (i32.div_u (i32.const 1) (i32.load (i32.const 0))))))"""
STACK = """(module
  (memory (export "memory") 1)
  (func $down (param i32) (result i32)
    (i32.add (call $down (i32.add (local.get 0) (i32.const 1))) (local.get 0)))
  (func (export "_start") (drop (call $down (i32.const 0)))))"""
SPIN = '(module (memory (export "memory") 1) (func (export "_start") (loop $l (br $l))))'
GROW = """(module
  (import "faasm" "output_write" (func $w (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (block $full (loop $more
      (br_if $full (i32.eq (memory.grow (i32.const 1)) (i32.const -1)))
      (br $more)))
    (i32.store (i32.const 0) (memory.size))
    (drop (call $w (i32.const 0) (i32.const 4)))))"""
FLOOD = """(module
  (import "faasm" "output_write" (func $w (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (loop $more (drop (call $w (i32.const 0) (i32.const 1000))) (br $more))))"""
ABOUT = """(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $as (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $a (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $es (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $e (param i32 i32) (result i32)))
  (import "faasm" "output_write" (func $w (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $as (i32.const 0) (i32.const 4)))
    (drop (call $a (i32.const 1000) (i32.const 2000)))
    (drop (call $w (i32.const 2000) (i32.load (i32.const 4))))
    (drop (call $es (i32.const 0) (i32.const 4)))
    (drop (call $e (i32.const 1000) (i32.const 4000)))
    (drop (call $w (i32.const 4000) (i32.load (i32.const 4))))))"""
CHAIN = """(module
  (import "faasm" "chain" (func $c (param i32 i32 i32 i32) (result i32)))
  (import "faasm" "output_write" (func $w (param i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 0) "%s")
  (func (export "_start")
    (drop (call $c (i32.const 0) (i32.const %d) (i32.const 0) (i32.const 0)))
    (drop (call $w (i32.const 0) (i32.const %d)))))"""
MODULES = {
    "echo": (ECHO, ""),
    "small": (ECHO, "?limit.input_bytes=10"),
    "narrow": (ECHO, "?limit.output_bytes=10"),
    "exit": (EXIT % 3, ""),
    "trap": (TRAP, ""),
    "divide": (DIVIDE, ""),
    "stack": (STACK, ""),
    "spin": (SPIN, "?limit.cpu_ms=20ms"),
    "late": (SPIN, "?limit.wall_ms=50ms"),
    "grow": (GROW, "?limit.memory_bytes=1MiB"),
    "flood": (FLOOD, "?limit.output_bytes=100KB&limit.cpu_ms=50ms"),
    "sleep": (SLEEP % 300_000_000, ""),
    "doze": (SLEEP % 3_600_000_000_000, "?limit.wall_ms=1h"),
    "alone": (SLEEP % 3_600_000_000_000, "?limit.wall_ms=1h&limit.concurrency=1"),
    "chain": (CHAIN % ("echo", 4, 4), ""),
    "lost": (CHAIN % ("nobody", 6, 6), ""),
}
MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("http") / "data").ready()
    for name, (text, query) in MODULES.items():
        server.put(f"ada/{name}", text, query)
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
        return started[-1]

    yield start
    for one in started:
        one.stop()


def problem_of(answer, status, code):
    """Checks a problem and returns it with the answer's headers."""
    got, body, headers = answer
    assert headers["Content-Type"] == "application/problem+json", (got, body)
    problem = json.loads(body)
    assert (got, problem["code"]) == (status, code), problem
    assert problem["status"] == status
    assert problem["type"] and problem["title"] and problem["detail"]
    if status in (429, 503):
        assert headers["Retry-After"] == "1"
    return problem, headers


# --- curl -------------------------------------------------------------------------------------------


def curl(server, path, *options, data=None):
    """Runs curl; returns status, body, and the head as text."""
    command = ["curl", "-sS", "-i", *options, f"http://127.0.0.1:{server.port}{path}"]
    out = subprocess.run(command, input=data, capture_output=True, timeout=60)
    assert out.returncode == 0, out.stderr.decode()
    head, body = b"", out.stdout
    while re.match(rb"HTTP/1.1 1\d\d|$", head):  # 100 Continue comes first, with a head of its own
        head, _, body = body.partition(b"\r\n\r\n")
    return int(head.split()[1]), body, head.decode()


def test_curl_uploads_and_calls(server, tmp_path):
    module = tmp_path / "hello.wat"
    module.write_text(ECHO)
    status, body, head = curl(server, "/f/curl/hello", "-X", "PUT", "-T", str(module))
    assert status == 201 and json.loads(body)["function"] == "hello"
    assert "Location: /f/curl/hello" in head
    status, body, _ = curl(server, "/f/curl/hello/", "-T", str(module))  # adds /hello.wat
    assert status == 200 and json.loads(body)["function"] == "hello"
    assert curl(server, "/f/curl/hello", "-X", "POST", "-d", "Hello!")[:2] == (200, b"Hello!")
    assert curl(server, "/f/curl/hello", "-d", "a=b&c=%20")[:2] == (200, b"a=b&c=%20")
    assert curl(server, "/f/curl/hello", "-X", "POST")[:2] == (200, b"")
    assert curl(server, "/f/curl/hello", "-F", "x=y")[0] == 200  # multipart is taken raw too
    status, body, _ = curl(server, "/f/curl/hello", "--data-binary", "@-", data=b"\0\r\n\xff")
    assert (status, body) == (200, b"\0\r\n\xff")
    assert curl(server, "/f/curl/hello", "-X", "DELETE")[:2] == (204, b"")
    assert curl(server, "/f/curl/hello", "-d", "x")[0] == 404


def test_curl_expects_100_continue(server):
    data = os.urandom(3 * MIB)  # curl asks before it sends more than 1 MiB
    status, body, _ = curl(server, "/f/ada/echo", "--data-binary", "@-", data=data)
    assert status == 200 and body == data
    status, body, head = curl(server, "/f/ada/small", "--data-binary", "@-", data=data)
    assert status == 413 and "100 Continue" not in head
    status, _, _ = curl(server, "/f/ada/nope", "-H", "Expect: 100-continue", "-d", "x")
    assert status == 404


def test_curl_without_expect_reads_the_refusal(server):
    for name, expected in (("small", 413), ("nope", 404)):
        for size in (11, 60_000, 70_000, 4 * MIB):
            status, body, _ = curl(server, f"/f/ada/{name}", "-H", "Expect:", "--data-binary", "@-",
                                   data=b"x" * size)
            assert status == expected
            assert json.loads(body)["status"] == expected


def test_curl_chunked(server):
    data = os.urandom(2 * MIB)
    chunked = ("-H", "Transfer-Encoding: chunked", "--data-binary", "@-")
    assert curl(server, "/f/ada/echo", *chunked, data=data)[:2] == (200, data)
    status, body, _ = curl(server, "/f/ada/small", *chunked, data=data)
    assert status == 413 and json.loads(body)["code"] == "too_large"


def test_curl_keeps_the_connection(server):
    url = f"http://127.0.0.1:{server.port}"
    out = subprocess.run(
        ["curl", "-sS", "-w", "%{num_connects} ", "-o", "/dev/null", f"{url}/f/ada/echo", "-d", "x",
         "--next", "-sS", "-w", "%{num_connects} ", "-o", "/dev/null", f"{url}/f/ada/nope", "-d", "x",
         "--next", "-sS", "-w", "%{num_connects} ", "-o", "/dev/null", f"{url}/f/ada/exit", "-d", "x",
         "--next", "-sS", "-w", "%{num_connects} ", "-o", "/dev/null", f"{url}/healthz"],
        capture_output=True, check=True, timeout=60)
    assert out.stdout.split() == [b"1", b"0", b"0", b"0"]  # errors do not cost it


def test_curl_head_and_options(server):
    status, body, head = curl(server, "/f/ada/echo", "-I")
    assert status == 200 and body == b"" and "application/json" in head
    assert re.search(r"Content-Length: [1-9]", head)
    status, body, head = curl(server, "/f/ada/echo", "-X", "OPTIONS")
    assert (status, body) == (204, b"")
    assert "Allow: GET, HEAD, PUT, POST, DELETE, PATCH, OPTIONS" in head
    assert curl(server, "/nope", "-I")[0] == 404


# --- bodies -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, MIB, 16 * MIB - 1, 16 * MIB])
def test_output_is_byte_exact(server, size):
    data = random.Random(size).randbytes(size)
    status, body, headers = server.request("POST", "/f/ada/echo", data)
    assert status == 200
    assert hashlib.sha256(body).digest() == hashlib.sha256(data).digest()
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Length"] == str(size)


def test_every_byte_value(server):
    for data in (bytes(range(256)), b"\n", b"\0", b"a\n\n", b"HTTP/1.1 200 OK\r\n\r\n", b"\xff\xfe"):
        assert server.call("ada/echo", data) == (200, data)


def test_headers_of_a_call(server):
    _, _, headers = server.request("POST", "/f/ada/echo", b"x")
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", headers["X-Faasm-Call-Id"])
    assert headers["X-Faasm-Exit-Code"] == "0"
    assert headers["X-Faasm-Cpu-Us"].isdigit()
    assert headers["X-Faasm-Cold"] in ("0", "1")
    ids = [server.request("POST", "/f/ada/echo", b"x")[2]["X-Faasm-Call-Id"] for _ in range(3)]
    assert len(set(ids)) == 3


def test_the_first_call_after_an_upload_is_not_cold(server):
    server.put("warm/echo", ECHO)
    _, _, headers = server.request("POST", "/f/warm/echo", b"x")
    assert headers["X-Faasm-Cold"] == "0"


def test_a_module_that_nobody_called_goes_with_its_version(server):
    before = server.metric("faasm_modules_loaded")
    server.put("warm/unused", ECHO)
    assert server.metric("faasm_modules_loaded") == before + 1
    server.put("warm/unused", ECHO)  # the old version has been let go when this is answered
    assert server.metric("faasm_modules_loaded") == before + 1
    assert server.request("DELETE", "/f/warm/unused")[0] == 204
    assert server.metric("faasm_modules_loaded") == before


def test_the_first_call_after_a_change_is_cold(server):
    server.put("cold/echo", ECHO)
    patch = {"Content-Type": "application/merge-patch+json"}
    assert server.request("PATCH", "/f/cold/echo", b'{"args": ["x"]}', patch)[0] == 200
    _, _, headers = server.request("POST", "/f/cold/echo", b"x")
    assert headers["X-Faasm-Cold"] == "1"
    colds = [server.request("POST", "/f/cold/echo", b"x")[2]["X-Faasm-Cold"] for _ in range(20)]
    assert "0" in colds and colds.count("1") <= 1  # each worker loads it once at most


def test_input_limit(server):
    assert server.call("ada/small", b"123456789") == (200, b"123456789")
    assert server.call("ada/small", b"1234567890") == (200, b"1234567890")
    problem_of(server.request("POST", "/f/ada/small", b"12345678901"), 413, "too_large")
    assert server.call("ada/small", b"") == (200, b"")
    problem_of(server.request("POST", "/f/ada/echo", b"x" * (16 * MIB + 1)), 413, "too_large")


def test_output_limit(server):
    assert server.call("ada/narrow", b"123456789") == (200, b"123456789")
    assert server.call("ada/narrow", b"1234567890") == (200, b"1234567890")
    status, _, _ = server.request("POST", "/f/ada/narrow", b"12345678901")
    assert status in (200, 502)  # the guest may go on without the output, but never with a part of it
    if status == 200:
        assert server.call("ada/narrow", b"12345678901") == (200, b"")


# --- failing calls ----------------------------------------------------------------------------------


def test_exit_code(server):
    problem, headers = problem_of(server.request("POST", "/f/ada/exit", "grüße".encode()),
                                  500, "guest_exit")
    assert problem["exit_code"] == 3 and problem["output"] == "grüße"
    assert "output_encoding" not in problem
    assert headers["X-Faasm-Exit-Code"] == "3"
    problem, _ = problem_of(server.request("POST", "/f/ada/exit", b"\xff\0"), 500, "guest_exit")
    assert problem["output_encoding"] == "base64"
    assert base64.b64decode(problem["output"]) == b"\xff\0"


def test_traps(server):
    problem, headers = problem_of(server.request("POST", "/f/ada/trap"), 502, "guest_trap")
    assert problem["trap"] and "inner" in problem["backtrace"]
    assert headers["X-Faasm-Call-Id"]
    other, _ = problem_of(server.request("POST", "/f/ada/divide"), 502, "guest_trap")
    assert other["trap"] != problem["trap"]
    assert server.request("POST", "/f/ada/stack")[0] == 502


def test_limits_end_the_call_alone(server):
    problem, _ = problem_of(server.request("POST", "/f/ada/spin"), 502, "guest_limit")
    assert problem["limit"] == "cpu_ms" and "20" in problem["detail"]
    problem_of(server.request("POST", "/f/ada/late"), 504, "deadline")
    status, body = server.call("ada/grow")
    assert status == 200 and int.from_bytes(body, "little") == 16  # pages: 1 MiB
    problem, _ = problem_of(server.request("POST", "/f/ada/flood"), 502, "guest_limit")
    assert problem["limit"] in ("output_bytes", "cpu_ms")  # the guest may take no for an answer
    assert server.call("ada/echo", b"still here") == (200, b"still here")


def test_concurrency_quota(server):
    with socket.create_connection(("127.0.0.1", server.port)) as first:
        first.sendall(b"POST /f/ada/alone HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        server.wait_metric("faasm_calls_parked", 1)
        problem, _ = problem_of(server.request("POST", "/f/ada/alone"), 429, "quota")
        assert problem["quota"] == "concurrency"
    server.wait_metric("faasm_calls", 0)


def test_chain_without_a_target(server):
    assert server.call("ada/chain") == (200, b"echo")
    problem, _ = problem_of(server.request("POST", "/f/ada/lost"), 500, "chain_target")
    assert "nobody" in problem["detail"] and problem["output"] == "nobody"


# --- what is not there, and what is no request ------------------------------------------------------


@pytest.mark.parametrize("method, path, status, code", [
    ("POST", "/f/ada/nope", 404, "not_found"),
    ("POST", "/f/nobody/echo", 404, "not_found"),
    ("POST", "/fa/ada/nope", 404, "not_found"),
    ("GET", "/f/ada/nope", 404, "not_found"),
    ("DELETE", "/f/ada/nope", 404, "not_found"),
    ("GET", "/", 404, "not_found"),
    ("GET", "/f", 404, "not_found"),
    ("GET", "/calls/nope", 404, "not_found"),
    ("GET", "/calls/01890a5d-ac96-774b-bcce-b302099a8057", 404, "not_found"),
    ("GET", "/calls/01890a5d-ac96-774b-bcce-b302099a8057/output", 404, "not_found"),
    ("POST", "/f/ada/a%2fb", 400, "bad_name"),
    ("POST", "/f/ada/a%00b", 400, "bad_name"),
    ("POST", "/f/ada/%2e%2e", 400, "bad_name"),
    ("POST", "/f/../echo", 400, "bad_name"),
    ("POST", "/f/ada/" + 65 * "a", 400, "bad_name"),
    ("POST", "/f/ada/a%zz", 400, "bad_name"),
    ("POST", "/f/ada/-a", 400, "bad_name"),
    ("POST", "/f//echo", 400, "bad_name"),
    ("PUT", "/f/ada/a%2fb", 400, "bad_name"),
    ("GET", "/f/ada%2fecho", 400, "bad_name"),
    ("PATCH", "/f/ada", 405, "method_not_allowed"),
    ("PUT", "/f/ada", 405, "method_not_allowed"),
    ("GET", "/fa/ada/echo", 405, "method_not_allowed"),
    ("POST", "/healthz", 405, "method_not_allowed"),
    ("PUT", "/f/ada/x?limit.wibble=1", 400, "bad_request"),
    ("PUT", "/f/ada/x?limit.memory_bytes=5GiB", 400, "bad_request"),
    ("PUT", "/f/ada/x?limit.cpu_ms=soon", 400, "bad_request"),
    ("PUT", "/f/ada/x?wibble=1", 400, "bad_request"),
    ("PUT", "/f/ada/x?env.A=%FF", 400, "bad_request"),
    ("GET", "/f/ada/echo?x=1", 400, "bad_request"),
])
def test_mistakes(server, method, path, status, code):
    body = b"x" if method in ("PUT", "POST") else None
    problem, headers = problem_of(server.request(method, path, body), status, code)
    if status == 405:
        assert "OPTIONS" in headers["Allow"]
    if code == "bad_name":
        assert re.search(r"at byte \d+", problem["detail"])


def test_names_of_64_bytes(server):
    name = "a" * 64
    assert server.put(f"{name}/{name}", ECHO) == 201
    assert server.call(f"{name}/{name}", b"x") == (200, b"x")
    assert server.call(f"{name}/%61{name[1:]}", b"x") == (200, b"x")


def test_bad_modules(server):
    for module, status, code in (
            (b"", 422, "bad_module"),
            (b"not a module", 422, "bad_module"),
            (b"\0asm\1\0\0\0\xff\xff\xff", 422, "bad_module"),
            (b"\0asm\1\0\0\0", 422, "unsupported_module"),
            (b'(module (import "x" "y" (func)) (memory (export "memory") 1)'
             b'(func (export "_start")))', 422, "unsupported_module")):
        problem, _ = problem_of(server.request("PUT", "/f/bad/module", module), status, code)
    assert "x.y" in problem["detail"] and problem["missing_imports"] == ["x.y"]
    for module, status, code, words in (
            (b"", 422, "bad_module", "empty"),
            (b"#include <stdio.h>", 422, "bad_module", "no WebAssembly module"),
            (b"\0asm\x0d\0\1\0", 422, "unsupported_module", "component")):
        problem, _ = problem_of(server.request("PUT", "/f/bad/module", module), status, code)
        assert words in problem["detail"]
    assert server.request("GET", "/f/bad/module")[0] == 404


def test_a_bad_upload_leaves_the_old_version(server):
    server.put("keep/echo", ECHO)
    before = json.loads(server.request("GET", "/f/keep/echo")[1])
    assert server.request("PUT", "/f/keep/echo", b"broken")[0] == 422
    assert json.loads(server.request("GET", "/f/keep/echo")[1]) == before
    assert server.call("keep/echo", b"x") == (200, b"x")


# --- functions --------------------------------------------------------------------------------------


def test_function_json(server):
    query = "?limit.memory_bytes=2MiB&limit.wall_ms=1.5s&env.A=b%20c&env.N=&arg=x&arg=y+z"
    status, body, headers = server.request("PUT", f"/f/meta/about{query}", ABOUT)
    assert status == 201 and headers["Location"] == "/f/meta/about"
    made = json.loads(body)
    assert made["user"] == "meta" and made["function"] == "about" and made["abi"] == "faasm"
    assert made["limits"]["memory_bytes"] == 2 * MIB and made["limits"]["wall_ms"] == 1500
    assert made["limits"]["cpu_ms"] == 10000
    assert made["env"] == {"A": "b c", "N": ""} and made["args"] == ["x", "y z"]
    assert "faasm.output_write" in made["imports"] and made["memory_pages_min"] == 1
    assert len(made["sha256"]) == 64
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", made["created_at"])
    assert made["calls"] == {"total": 0, "failed": 0}
    assert json.loads(server.request("GET", "/f/meta/about")[1]) == made
    assert server.call("meta/about") == (200, b"about\0x\0y z\0A=b c\0N=\0")

    status, body, _ = server.request("PUT", "/f/meta/about", ABOUT)  # all of it is replaced
    again = json.loads(body)
    assert status == 200 and again["version"] > made["version"]
    assert again["env"] == {} and again["args"] == []
    assert again["limits"]["memory_bytes"] == 64 * MIB


def test_list_of_functions(server):
    for name in ("b", "a", "c.1"):
        server.put(f"list/{name}", ECHO)
    _, body, _ = server.request("GET", "/f/list")
    assert [f["function"] for f in json.loads(body)["functions"]] == ["a", "b", "c.1"]
    assert server.request("GET", "/f/list/")[1] == body
    assert json.loads(server.request("GET", "/f/nobody")[1]) == {"functions": []}


def test_removed_functions_are_gone(server):
    server.put("gone/echo", ECHO)
    assert server.request("DELETE", "/f/gone/echo")[0] == 204
    for _ in range(10):  # on any connection, so on any worker
        assert server.call("gone/echo")[0] == 404
    assert server.request("DELETE", "/f/gone/echo")[0] == 404
    assert server.put("gone/echo", ECHO) == 201
    assert server.call("gone/echo", b"x") == (200, b"x")


def test_a_new_version_is_there_when_it_is_answered(server):
    for i in range(10):
        server.put("fresh/exit", EXIT % (i + 1))
        for _ in range(4):  # on any connection, so on any worker
            assert server.request("POST", "/f/fresh/exit")[2]["X-Faasm-Exit-Code"] == str(i + 1)


def test_calls_are_counted(server):
    server.put("count/exit", EXIT % 1)
    for _ in range(5):
        server.call("count/exit")
    counted = json.loads(server.request("GET", "/f/count/exit")[1])["calls"]
    assert 0 <= counted["failed"] == counted["total"] <= 5


# --- raw sockets ------------------------------------------------------------------------------------


class Raw:
    """A client that sends what it is told."""

    def __init__(self, server):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def answer(self, head_only=False):
        line = self.file.readline()
        assert line.startswith(b"HTTP/1.1 "), line
        headers = http.client.parse_headers(self.file)
        length = 0 if head_only else int(headers.get("Content-Length", 0))
        return int(line.split()[1]), self.file.read(length), headers

    def ended(self):
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True


def post(path, body=b"", *headers):
    lines = [f"POST {path} HTTP/1.1", "Host: h", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def test_pipelining(server):
    names = ["echo", "sleep", "nope", "exit", "echo", "sleep", "echo"]
    with Raw(server) as raw:
        raw.send(b"".join(post(f"/f/ada/{name}", f"{i}".encode()) for i, name in enumerate(names)))
        answers = [raw.answer() for _ in names]
    assert [a[0] for a in answers] == [200, 200, 404, 500, 200, 200, 200]
    assert [answers[i][1] for i in (0, 1, 4, 5, 6)] == [b"0", b"rested", b"4", b"rested", b"6"]


def test_one_byte_at_a_time(server):
    with Raw(server) as raw:
        raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in post("/f/ada/echo", b"slowly"):
            raw.send(bytes([byte]))
        assert raw.answer()[:2] == (200, b"slowly")


def test_ambiguous_framing(server):
    for headers in ("Content-Length: 5\r\nTransfer-Encoding: chunked",
                    "Content-Length: 5\r\nContent-Length: 6",
                    "Transfer-Encoding: gzip, chunked"):
        with Raw(server) as raw:
            raw.send(f"POST /f/ada/echo HTTP/1.1\r\nHost: h\r\n{headers}\r\n\r\n0\r\n\r\nx".encode())
            problem_of(raw.answer(), 400, "bad_request")
            assert raw.ended()


def test_malformed_requests(server):
    for text, status in ((b"POST /f/ada/echo HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
                         (b"GET /healthz HTTP/1.1\r\nno colon\r\n\r\n", 400),
                         (b"GET /" + 100_000 * b"a" + b" HTTP/1.1\r\n\r\n", 414),
                         (b"GET /healthz HTTP/1.1\r\nX: " + 100_000 * b"a" + b"\r\n\r\n", 431),
                         (post("/f/ada/echo", b"", "Transfer-Encoding: chunked")[:-2] + b"zz\r\n", 400)):
        with Raw(server) as raw:
            try:
                raw.send(text)
            except OSError:
                pass  # it may have closed already
            try:
                assert raw.answer()[0] == status
            except ConnectionResetError:
                assert len(text) > 100_000


def test_half_close_gives_a_call_up(server):
    before = server.metric("faasm_http_hangups_total")
    with Raw(server) as raw:
        raw.send(post("/f/ada/doze"))
        server.wait_metric("faasm_calls_parked", 1)
        raw.socket.shutdown(socket.SHUT_WR)
        assert raw.ended()
    server.wait_metric("faasm_sandboxes", 0)
    assert server.metric("faasm_http_hangups_total") == before + 1


def test_half_close_may_be_allowed(other):
    server = other("--set", "cancel_on_half_close=off")
    server.put("ada/sleep", SLEEP % 100_000_000)
    raws = [Raw(server) for _ in range(5)]
    for raw in raws:
        raw.send(post("/f/ada/sleep"))
        raw.socket.shutdown(socket.SHUT_WR)
    for raw in raws:
        assert raw.answer()[:2] == (200, b"rested")
        raw.close()


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_leaves_frees_its_instance(server, reset):
    before = server.metric("faasm_http_hangups_total")
    raws = [Raw(server) for _ in range(5)]
    for raw in raws:
        raw.send(post("/f/ada/doze"))
    server.wait_metric("faasm_sandboxes", 5)
    for raw in raws:
        if reset:
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        raw.close()
    server.wait_metric("faasm_sandboxes", 0)
    server.wait_metric("faasm_calls", 0)
    assert server.metric("faasm_http_hangups_total") == before + 5


def test_endless_chunks_are_cut_off(server):
    with Raw(server) as raw:
        raw.send(b"POST /f/ada/small HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"10000\r\n" + 65536 * b"x" + b"\r\n"
        sent = 0
        try:
            while sent < 64 * MIB:
                raw.send(piece)
                sent += len(piece)
        except OSError:
            pass
        assert sent < 32 * MIB  # 8 MiB, and what the kernel holds
    assert server.call("ada/small", b"fine") == (200, b"fine")


# --- time, and many at once -------------------------------------------------------------------------


def test_slow_clients_are_cut_off(other):
    server = other("--set", "header_ms=300ms", "--set", "body_ms=300ms")
    server.put("ada/echo", ECHO)
    cases = {
        "silent": (b"", b""),
        "head": (b"POST /f/ada/echo HTTP/1.1\r\n", b"X: y\r\n"),
        "body": (b"POST /f/ada/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9999\r\n\r\n", b"x"),
        "upload": (b"PUT /f/ada/new HTTP/1.1\r\nHost: h\r\nContent-Length: 9999\r\n\r\n", b"x"),
    }
    for name, (first, drip) in cases.items():
        with Raw(server) as raw:
            raw.send(first)
            raw.socket.settimeout(0.05)
            ended = False
            while not ended:  # bytes that keep coming do not help
                try:
                    raw.send(drip)
                    ended = raw.socket.recv(1) == b""
                except TimeoutError:
                    pass
                except OSError:
                    ended = True
    server.wait_metric("faasm_http_timeouts_total", len(cases))
    assert server.call("ada/echo", b"x") == (200, b"x")


def test_too_many_connections(other):
    server = other("--workers", "1", "--set", "connections=4")
    raws = [Raw(server) for _ in range(4)]
    for raw in raws:
        raw.send(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
        assert raw.answer()[0] == 200
    with Raw(server) as raw:
        raw.send(post("/f/ada/echo", b"x" * 1000))
        problem_of(raw.answer(), 503, "busy")
        assert raw.ended()
    raws.pop().close()
    for _ in range(100):
        with Raw(server) as raw:
            raw.send(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
            if raw.answer()[0] == 200:
                break
    else:
        pytest.fail("the place of a connection that was closed is not given again")
    for raw in raws:
        raw.close()


def test_many_clients_get_their_own_answers(server):
    def client(number):
        rng = random.Random(number)
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        for _ in range(60):
            data = rng.randbytes(rng.choice((0, 1, 100, 5000, 100_000)))
            name, expected = rng.choice((("echo", 200), ("echo", 200), ("echo", 200), ("exit", 500),
                                         ("trap", 502), ("nope", 404), ("spin", 502)))
            connection.request("POST", f"/f/ada/{name}", data[:1000] if name == "exit" else data)
            response = connection.getresponse()
            body = response.read()
            assert response.status == expected
            if name == "echo":
                assert body == data
        connection.close()

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        for result in [pool.submit(client, i) for i in range(32)]:
            result.result()
    server.wait_metric("faasm_sandboxes", 0)
    server.wait_metric("faasm_http_requests_suspended", 0)


def test_noise(server):
    """Random bytes, and requests with random damage: never a crash, never a 5xx for them."""
    rng = random.Random(2018)
    whole = post("/f/ada/echo?x=%41", b"hello", "Expect: 100-continue", "X-Y: z")
    for i in range(300):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(len(data))
            if rng.random() < 0.5:
                data[at] = rng.randrange(256)
            else:
                del data[at]
        noise = rng.randbytes(rng.randrange(200)) if i % 3 == 0 else bytes(data)
        with Raw(server) as raw:
            raw.send(noise)
            raw.socket.shutdown(socket.SHUT_WR)
            raw.socket.settimeout(5)
            try:
                text = raw.file.read()
            except OSError:
                text = b""
            assert not re.match(rb"HTTP/1.1 5(?!05)", text), (noise, text)
    assert server.call("ada/echo", b"x") == (200, b"x")


def test_draining_closes_idle_connections(other):
    server = other()
    idle = Raw(server)
    idle.send(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
    assert idle.answer()[0] == 200
    started = time.monotonic()
    server.stop()
    assert time.monotonic() - started < 8  # not the ten seconds that calls would be given
    assert idle.ended()
    idle.close()


def clients_of_two_workers(server):
    """A client of each of two workers, with a call of that worker."""
    clients = {}
    while len(clients) < 2:  # a new one goes to a worker that has the fewest
        raw = Raw(server)
        raw.send(post("/f/ada/echo"))
        call = raw.answer()[2]["X-Faasm-Call-Id"]
        worker = call[-2:]
        if worker in clients:
            raw.close()
        else:
            clients[worker] = raw, call
    return clients.values()


def test_a_worker_answers_others_until_all_have_drained(other):
    """A question that comes after its worker has nothing left to do itself."""
    server = other("--workers", "2")
    server.put("ada/echo", ECHO)
    (asker, _), (idle, call) = clients_of_two_workers(server)
    head = f"GET /calls/{call} HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n"
    asker.send(head.encode() + b"Expect: 100-continue\r\n\r\n")
    assert asker.answer(head_only=True)[0] == 100  # it is under way, and not yet whole
    server.process.send_signal(signal.SIGTERM)
    assert idle.ended()  # the last that its worker had to do
    asker.send(b"?")
    status, text, _ = asker.answer()
    assert (status, json.loads(text)["id"]) == (200, call)
    server.stop()
    asker.close()
    idle.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
def test_full_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder])
    if mount.returncode != 0:
        pytest.skip("cannot mount here")
    server = None
    try:
        server = Server(folder / "data").ready()
        server.put("ada/echo", ECHO)
        before = server.request("GET", "/f/ada/echo")[1]
        filler = b'(module (memory (export "memory") 1) (func (export "_start")))' + b" " * 4 * MIB
        for expect in ({}, {"Expect": "100-continue"}):
            problem_of(server.request("PUT", "/f/ada/echo", filler, expect), 507, "storage_full")
        assert server.request("GET", "/f/ada/echo")[1] == before
        assert server.call("ada/echo", b"x") == (200, b"x")
        assert server.put("ada/echo", ECHO) == 200  # what the failures had written is gone again
        server.stop()
    finally:
        if server:
            server.process.kill()
            server.process.wait()
        subprocess.run(["umount", "-l", folder], check=True)
