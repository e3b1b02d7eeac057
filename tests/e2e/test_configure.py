"""PATCH /f/<user>/<function>: limits, environment and arguments, without a new upload."""
import concurrent.futures
import http.client
import json
import os
import pathlib
import re
import subprocess

import pytest

import calls
from process import SLEEP, Server

# Writes its arguments, then its environment, each with a NUL.
ABOUT = """(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $as (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $a (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $es (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $e (param i32 i32) (result i32)))
  (import "faasm" "output_write" (func $w (param i32 i32) (result i32)))
  (memory (export "memory") 4)
  (func (export "_start")
    (drop (call $as (i32.const 0) (i32.const 4)))
    (drop (call $a (i32.const 16) (i32.const 65536)))
    (drop (call $w (i32.const 65536) (i32.load (i32.const 4))))
    (drop (call $es (i32.const 0) (i32.const 4)))
    (drop (call $e (i32.const 16) (i32.const 65536)))
    (drop (call $w (i32.const 65536) (i32.load (i32.const 4))))))"""
SPIN = '(module (memory (export "memory") 1) (func (export "_start") (loop $l (br $l))))'
TYPE = "application/merge-patch+json"


@pytest.fixture
def start(tmp_path):
    """Starts servers on one data folder, one after the other; all are stopped."""
    servers = []

    def begin(*options):
        servers.append(Server(tmp_path / "data", "--workers", "2", *options))
        return servers[-1].ready()
    yield begin
    for server in servers:
        if server.process.poll() is None:
            server.stop()


def send(server, name, document, kind=TYPE):
    text = document if isinstance(document, (str, bytes)) else json.dumps(document)
    return server.request("PATCH", f"/f/{name}", text, {"Content-Type": kind} if kind else {})


def patch(server, name, document):
    status, body, _ = send(server, name, document)
    assert status == 200, body
    return json.loads(body)


def function(server, name):
    status, body, _ = server.request("GET", f"/f/{name}")
    assert status == 200, body
    return json.loads(body)


def about(server, name="ada/about"):
    """What the function is given, asked on a connection of every worker."""
    answers = set()
    for _ in range(4):  # connections go to the workers in turn
        status, body = server.call(name)
        assert status == 200, body
        answers.add(body)
    assert len(answers) == 1
    return [text.decode() for text in answers.pop().split(b"\0")[:-1]]


def test_the_next_call_has_it(start):
    server = start()
    server.put("ada/about", ABOUT, "?arg=-v&env.A=1&env.B=2&limit.cpu_ms=5s")
    before = function(server, "ada/about")
    assert about(server) == ["about", "-v", "A=1", "B=2"]

    after = patch(server, "ada/about", {"env": {"A": None, "B": "zwei", "C": "ä=b"}, "args": ["x", ""],
                                        "limits": {"cpu_ms": None, "wall_ms": "2s", "attempts": 3}})
    assert about(server) == ["about", "x", "", "B=zwei", "C=ä=b"]
    assert after["env"] == {"B": "zwei", "C": "ä=b"} and after["args"] == ["x", ""]
    limits = {**before["limits"], "cpu_ms": 10000, "wall_ms": 2000, "attempts": 3}
    assert after["limits"] == limits
    assert after["version"] > before["version"] and after["created_at"] > before["created_at"]
    for same in ("abi", "size", "sha256", "imports", "memory_pages_min"):
        assert after[same] == before[same]
    shown = function(server, "ada/about")
    assert {**shown, "calls": 0} == {**after, "calls": 0}
    listed = json.loads(server.request("GET", "/f/ada")[1])["functions"]
    assert [one["version"] for one in listed] == [after["version"]]

    cleared = patch(server, "ada/about", {"env": None, "args": None, "limits": None})
    assert cleared["env"] == {} and cleared["args"] == []
    assert cleared["limits"] == {**limits, "wall_ms": 60000, "attempts": 1}
    assert about(server) == ["about"]
    same = patch(server, "ada/about", {})
    fresh = {"version": 0, "created_at": 0, "calls": 0}
    assert same["version"] > cleared["version"] and {**same, **fresh} == {**cleared, **fresh}
    server.wait_line(r" configured user=ada function=about version=", count=3)
    assert not [line for line in server.lines if "compiling" in line]  # it was compiled once


def test_limits_hold_at_once(start):
    server = start()
    server.put("ada/spin", SPIN, "?limit.cpu_ms=1h&limit.wall_ms=1h")
    server.put("ada/about", ABOUT)
    patch(server, "ada/spin", {"limits": {"cpu_ms": 20}})
    status, body = server.call("ada/spin")
    assert status == 502 and json.loads(body)["limit"] == "cpu_ms"
    patch(server, "ada/about", {"limits": {"input_bytes": 3}})
    assert [server.call("ada/about", b"x" * n)[0] for n in (2, 3, 4)] == [200, 200, 413]
    patch(server, "ada/about", {"limits": {"output_bytes": 5}})
    status, body = server.call("ada/about")
    assert status == 502 and json.loads(body)["limit"] == "output_bytes"


def test_a_call_under_way_keeps_what_it_began_with(start):
    server = start()
    server.put("ada/nap", SLEEP % 700_000_000)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        call = pool.submit(server.call, "ada/nap")
        server.wait_metric_reaches("faasm_calls_parked", 1)
        patch(server, "ada/nap", {"limits": {"output_bytes": 2}})
        assert server.call("ada/nap")[0] == 502
        assert call.result() == (200, b"rested")


def test_asynchronous_calls(start):
    server = start()
    server.put("ada/about", ABOUT, "?env.A=1")
    server.put("ada/spin", SPIN, "?limit.cpu_ms=1h")
    patch(server, "ada/about", {"env": {"A": "2"}, "args": ["y"]})
    call = calls.submit(server, "ada/about")
    calls.wait(server, call, "succeeded")
    assert calls.output(server, call) == b"about\0y\0A=2\0"

    patch(server, "ada/spin", {"limits": {"cpu_ms": 10, "attempts": 2, "retry_ms": 1}})
    record = calls.wait(server, calls.submit(server, "ada/spin"), "dead")
    assert record["attempt"] == 2 and record["error"]["limit"] == "cpu_ms"

    waits = calls.submit(server, "ada/about", X_Faasm_Delay="0.3")  # runs what is current by then
    patch(server, "ada/about", {"env": {"A": "3"}, "limits": {"retention_ms": "30s"}})
    calls.wait(server, waits, "succeeded")
    assert calls.output(server, waits) == b"about\0y\0A=3\0"
    patch(server, "ada/about", {"limits": {"retention_ms": 1}})
    brief = calls.submit(server, "ada/about")
    server.wait_metric_reaches("faasm_async_forgotten_total", 1)
    assert server.request("GET", f"/calls/{brief}")[0] == 404
    assert calls.get(server, waits)["status"] == "succeeded"  # as it was promised to it


def test_it_holds_after_a_restart_and_after_a_crash(start):
    server = start()
    server.put("ada/about", ABOUT, "?env.A=1")
    first = patch(server, "ada/about", {"env": {"B": "2"}, "limits": {"retention_ms": "2h"}})
    os.kill(server.child(), 9)
    server.wait_line(r" ready ", count=2)
    assert function(server, "ada/about")["version"] == first["version"]
    assert about(server) == ["about", "A=1", "B=2"]
    second = patch(server, "ada/about", {"args": ["z"]})
    server.stop()
    server = start()
    shown = function(server, "ada/about")
    assert {**shown, "calls": 0} == {**second, "calls": 0}
    assert shown["limits"]["retention_ms"] == 2 * 3600 * 1000
    assert about(server) == ["about", "z", "A=1", "B=2"]
    assert not [line for line in server.lines if "compiling" in line]


def test_nobody_loses_what_was_patched_at_the_same_time(start):
    server = start()
    server.put("ada/about", ABOUT)
    rounds, askers = 6, 8

    def asker(number):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        seen = []
        for i in range(rounds):
            connection.request("PATCH", "/f/ada/about", json.dumps({"env": {f"K{number}": str(i)}}),
                               {"Content-Type": TYPE})
            answer = connection.getresponse()
            body = json.loads(answer.read())
            assert answer.status == 200, body
            assert body["env"][f"K{number}"] == str(i)
            seen.append(body["version"])
        connection.close()
        return seen

    with concurrent.futures.ThreadPoolExecutor(askers) as pool:
        seen = list(pool.map(asker, range(askers)))
    assert all(versions == sorted(versions) for versions in seen)
    assert len({version for versions in seen for version in versions}) == rounds * askers
    last = function(server, "ada/about")
    assert last["env"] == {f"K{number}": str(rounds - 1) for number in range(askers)}
    assert last["version"] == max(version for versions in seen for version in versions)
    assert sorted(about(server)[1:]) == sorted(f"K{n}={rounds - 1}" for n in range(askers))


def test_beside_uploads_and_removals(start, tmp_path):
    """Whatever the order, what serves is one of them, whole; and old versions leave the disk."""
    server = start()

    def put():
        return server.request("PUT", "/f/ada/about?env.FROM=put", ABOUT)[0]

    def change():
        return send(server, "ada/about", {"env": {"PATCHED": "yes"}})[0]

    def remove():
        return server.request("DELETE", "/f/ada/about")[0]

    def call():
        return server.request("POST", "/f/ada/about")

    put()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        work = [pool.submit(task) for _ in range(6)
                for task in (put, change, change, call, remove, change, call)]
        for job in work:
            result = job.result()
            if isinstance(result, tuple):
                assert result[0] in (200, 404), result
                assert result[0] == 404 or result[1] in (b"about\0FROM=put\0", b"about\0FROM=put\0PATCHED=yes\0")
            else:
                assert result in (200, 201, 204, 404), result
    server.put("ada/about", ABOUT)
    assert patch(server, "ada/about", {"env": {"X": "1"}})["env"] == {"X": "1"}
    assert about(server) == ["about", "X=1"]
    folder = tmp_path / "data" / "functions" / "ada" / "about"
    for _ in range(2000):
        left = sorted(folder.iterdir())
        if len(left) == 1:
            break
    assert [path.name for path in left] == [function(server, "ada/about")["version"]]
    assert sorted(path.name for path in left[0].iterdir()) == ["function.cwasm", "function.wasm", "meta.json"]
    assert not list((tmp_path / "data" / "incoming").iterdir())
    server.stop()
    server = start()
    assert about(server) == ["about", "X=1"]


def test_mistakes(start):
    server = start("--set", "memory_bytes_max=256MiB")
    server.put("ada/about", ABOUT, "?env.A=1")
    before = function(server, "ada/about")

    def refused(document, status, code, detail, kind=TYPE, name="ada/about"):
        got, body, _ = send(server, name, document, kind)
        problem = json.loads(body)
        assert (got, problem["code"]) == (status, code) and detail in problem["detail"], problem

    for document, detail in (
            ("{", "line 1"), ("[]", "not a JSON object"), ({"limit": {}}, "limit: cannot be changed"),
            ({"version": "x"}, "version: cannot be changed"),
            ({"limits": {"cpu": 1}}, "limits.cpu: there is no such limit"),
            ({"limits": {"cpu_ms": 0}}, "limits.cpu_ms: '0s' is not between 1ms and 1h"),
            ({"limits": {"cpu_ms": "2h"}}, "limits.cpu_ms: '2h' is not between"),
            ({"limits": {"memory_bytes": "512MiB"}}, "over this server's ceiling"),
            ({"limits": {"memory_bytes": "64KiB"}}, "262144 bytes of memory with which the module starts"),
            ({"env": {"": "x"}}, "env.: not a name"), ({"env": {"A=B": "x"}}, "env.A=B: not a name"),
            ({"env": {"A": 1}}, "env.A: neither"), ('{"env": {"A": "\\u0000"}}', "NUL"),
            ({"args": ["a", 1]}, "args[1]"), ({"args": {"0": "a"}}, "args: neither"),
            ('{"env": {"A": "x", "A": "y"}}', "duplicate")):
        refused(document, 400, "bad_request", detail)
    refused(b'{"env": {"A": "\xff"}}', 400, "bad_request", "column 15: unable to decode")
    refused({}, 400, "bad_request", TYPE, kind="text/plain")
    refused({}, 400, "bad_request", TYPE, kind=None)
    refused({}, 404, "not_found", "", name="ada/nobody")
    refused({}, 400, "bad_name", "at byte", name="ada/%2f")
    refused({"env": {"A": "x" * 66000}}, 413, "too_large", "65536")
    refused({"args": ["x"] * 1025}, 413, "too_large", "at most 1024")
    refused({"env": {f"K{n}": None for n in range(1025)}}, 413, "too_large", "at most 1024")
    assert {**function(server, "ada/about"), "calls": 0} == {**before, "calls": 0}
    assert about(server) == ["about", "A=1"]

    # Many changes do not add up to more than one upload can have.
    status = 200
    for n in range(20):
        status, body, _ = send(server, "ada/about", {"env": {f"K{n}": "x" * 8000}})
        if status != 200:
            break
    assert (n, status) == (8, 413) and b"env and args have" in body
    assert len(function(server, "ada/about")["env"]) == 9


def test_by_curl(start):
    server = start()
    server.put("ada/about", ABOUT)
    url = f"http://127.0.0.1:{server.port}/f/ada/about"
    out = subprocess.run(["curl", "-sS", "-X", "PATCH", url, "-H", f"Content-Type: {TYPE}", "-d",
                          '{"limits": {"memory_bytes": "128MiB"}, "env": {"LANG": "C"}}'],
                         capture_output=True, check=True, timeout=60)
    assert json.loads(out.stdout)["limits"]["memory_bytes"] == 128 << 20
    out = subprocess.run(["curl", "-sS", "-i", "-X", "OPTIONS", url], capture_output=True, check=True)
    assert b"Allow: GET, HEAD, PUT, POST, DELETE, PATCH, OPTIONS" in out.stdout
    assert about(server) == ["about", "LANG=C"]


def test_machine_code_that_is_not_proved_is_made_again(start, tmp_path):
    """Of a data folder that an older server wrote, or somebody changed."""
    server = start()
    server.put("ada/about", ABOUT)
    meta = next(tmp_path.glob("data/functions/ada/about/*/meta.json"))
    text = meta.read_text()
    meta.write_text(re.sub(r' *"code_sha256": "[0-9a-f]*",\n', "", text))
    assert meta.read_text() != text
    after = patch(server, "ada/about", {"env": {"A": "1"}})
    folder = pathlib.Path(tmp_path, "data", "functions", "ada", "about", after["version"])
    assert not (folder / "function.cwasm").exists()
    assert about(server) == ["about", "A=1"]
    server.wait_line(r" compiling_again ")
    assert (folder / "function.cwasm").exists()
