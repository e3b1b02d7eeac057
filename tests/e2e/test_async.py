"""Asynchronous calls: every state, waiting, cancelling, attempts, keys, delays, lists, and what is
left of them after restarts, crashes, damage and a full disk."""
import concurrent.futures
import json
import os
import pathlib
import re
import select
import signal
import subprocess

import pytest

from calls import ENDED, cancel, get, output, pages, submit, wait, wait_until
from process import SLEEP, Server

ECHO = """(module
  (import "faasm" "input_size" (func $s (result i32)))
  (import "faasm" "input_read" (func $r (param i32 i32 i32) (result i32)))
  (import "faasm" "output_write" (func $w (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (memory.grow (i32.add (i32.div_u (call $s) (i32.const 65536)) (i32.const 1))))
    (drop (call $w (i32.const 0) (call $r (i32.const 0) (i32.const 0) (call $s))))))"""
EXIT = """(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const 7))))"""
TRAP = """(module (memory (export "memory") 1)
  (func $inner (unreachable)) (func (export "_start") (call $inner)))"""
SPIN = '(module (memory (export "memory") 1) (func (export "_start") (loop $l (br $l))))'
LOG = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 100) "to the log\\n")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 100))
    (i32.store (i32.const 4) (i32.const 11))
    (drop (call $w (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 50)))))"""
# Chains the function of the given name, twice, and writes "kept".
CHAIN = """(module
  (import "faasm" "chain" (func $c (param i32 i32 i32 i32) (result i32)))
  (import "faasm" "output_write" (func $w (param i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 0) "%s") (data (i32.const 100) "kept")
  (func (export "_start")
    (drop (call $c (i32.const 0) (i32.const %d) (i32.const 0) (i32.const 2)))
    (drop (call $c (i32.const 0) (i32.const %d) (i32.const 1) (i32.const 2)))
    (drop (call $w (i32.const 100) (i32.const 4)))))"""
HOUR = 3_600_000_000_000


def chain(name):
    return CHAIN % (name, len(name), len(name))


MODULES = {
    "echo": (ECHO, "?limit.retention_ms=1h"),
    "exit": (EXIT, ""),
    "trap": (TRAP, ""),
    "log": (LOG, ""),
    "sleep": (SLEEP % 200_000_000, ""),
    "doze": (SLEEP % HOUR, "?limit.wall_ms=1h"),
    "alone": (SLEEP % HOUR, "?limit.wall_ms=1h&limit.concurrency=1"),
    "impatient": (SLEEP % HOUR, "?limit.wall_ms=1h&limit.concurrency=1&limit.age_ms=60ms"),
    "late": (SPIN, "?limit.wall_ms=20ms"),
    "trice": (TRAP, "?limit.attempts=3&limit.retry_ms=2ms"),
    "spin": (SPIN, "?limit.attempts=100&limit.cpu_ms=1h&limit.wall_ms=1h"),
    "chain": (chain("echo"), ""),
    "lost": (chain("nobody"), ""),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("async") / "data").ready()
    put_all(server)
    yield server
    try:
        server.stop()
    finally:
        server.process.kill()


def put_all(server):
    for name, (text, query) in MODULES.items():
        server.put(f"ada/{name}", text, query)


@pytest.fixture
def servers(tmp_path):
    """Starts servers on one data folder, one after the other."""
    started = []

    def start(*options, put=True, folder=None):
        server = Server(folder or tmp_path / "data", *options).ready()
        started.append(server)
        if put:
            put_all(server)
        return server

    yield start
    for server in started:
        server.process.kill()
        server.process.wait()


def problem(answer, status, code):
    got, body, _ = answer
    told = json.loads(body)
    assert (got, told["code"]) == (status, code), told
    return told["detail"]


# --- a call and its end -----------------------------------------------------------------------------


def test_a_call_by_curl(server):
    url = f"http://127.0.0.1:{server.port}"
    out = subprocess.run(["curl", "-sS", "-i", "-X", "POST", f"{url}/fa/ada/echo", "-d", "later"],
                         capture_output=True, text=True, check=True).stdout
    assert out.startswith("HTTP/1.1 202 ") and "X-Faasm-Durable: yes" in out
    place = re.search(r"^Location: (\S+)", out, re.M)[1]
    record = json.loads(subprocess.run(["curl", "-sS", f"{url}{place}?wait=20"], capture_output=True,
                                       check=True).stdout)
    assert record["status"] == "succeeded" and place == f"/calls/{record['id']}"
    out = subprocess.run(["curl", "-sS", f"{url}{place}/output"], capture_output=True, check=True)
    assert out.stdout == b"later"


def test_record(server):
    call = submit(server, "ada/echo", b"later")
    record = wait(server, call, "succeeded")
    assert record["id"] == call and record["user"] == "ada" and record["function"] == "echo"
    assert record["attempt"] == 1 and record["exit_code"] == 0 and record["error"] is None
    assert record["input_bytes"] == 5 and record["output_bytes"] == 5
    assert record["created_at"] <= record["started_at"] <= record["finished_at"]
    assert record["parent"] is None and record["children"] == []
    status, body, headers = server.request("GET", f"/calls/{call}/output")
    assert (status, body) == (200, b"later")
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["X-Faasm-Exit-Code"] == "0"
    assert server.request("GET", f"/calls/{call}/log")[:2] == (200, b"")


def test_large_inputs_and_outputs(server):
    for size in (0, 16 << 10, (16 << 10) + 1, 3 << 20):  # in the database, and as files
        data = os.urandom(size)
        call = submit(server, "ada/echo", data)
        assert wait(server, call, "succeeded")["output_bytes"] == size
        assert output(server, call) == data


def test_failures(server):
    record = wait(server, submit(server, "ada/trap"), "failed")
    assert record["error"]["code"] == "guest_trap" and "inner" in record["error"]["backtrace"]
    record = wait(server, submit(server, "ada/exit"), "failed")
    assert record["error"]["code"] == "guest_exit" and record["exit_code"] == 7
    record = wait(server, submit(server, "ada/late"), "failed")
    assert record["error"]["code"] == "deadline" and record["attempt"] == 1


def test_log(server):
    call = submit(server, "ada/log")
    wait(server, call, "succeeded")
    status, body, headers = server.request("GET", f"/calls/{call}/log")
    assert (status, body) == (200, b"to the log\n")
    assert headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize("method, path", [
    ("GET", ""), ("GET", "?wait=1"), ("GET", "/output"), ("GET", "/log"), ("DELETE", ""),
    ("POST", "/redrive"),
])
def test_unknown_calls(server, method, path):
    for call in ("01890a5d-ac96-774b-bcce-b302099a8057", "nope"):
        problem(server.request(method, f"/calls/{call}{path}"), 404, "not_found")


# --- waiting ----------------------------------------------------------------------------------------


def test_waiting_ends_with_the_call(server):
    call = submit(server, "ada/sleep")
    assert get(server, call, "?wait=60")["status"] == "succeeded"
    assert get(server, call, "?wait=60")["status"] == "succeeded"  # at once


def test_waiting_ends_with_its_time(server):
    call = submit(server, "ada/doze")
    assert get(server, call, "?wait=0.05")["status"] == "running"
    cancel(server, call)
    wait(server, call, "cancelled")


def test_many_wait_for_one(server):
    call = submit(server, "ada/doze")
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        waits = [pool.submit(get, server, call, "?wait=60") for _ in range(20)]
        server.wait_metric("faasm_http_requests_suspended", 20)
        cancel(server, call)
        assert all(one.result()["status"] == "cancelled" for one in waits)


@pytest.mark.parametrize("query", ["wait=", "wait=-1", "wait=soon", "wait=300.5", "wait=1&wait=1",
                                   "wait=1s", "x=1"])
def test_bad_waits(server, query):
    call = submit(server, "ada/echo")
    problem(server.request("GET", f"/calls/{call}?{query}"), 400, "bad_request")


# --- cancelling -------------------------------------------------------------------------------------


def test_cancelling_in_every_state(server):
    running = submit(server, "ada/alone")
    wait_until(server, running, "running")
    due = submit(server, "ada/alone")
    later = submit(server, "ada/echo", X_Faasm_Delay="3600")
    problem(server.request("GET", f"/calls/{running}/output"), 409, "conflict")
    problem(server.request("GET", f"/calls/{later}/output"), 409, "conflict")
    # The one that is due may be another worker's, which claims it and then waits for `concurrency`.
    for call, attempts in ((due, (0, 1)), (later, (0,)), (running, (1,))):
        assert cancel(server, call)["id"] == call
        record = wait(server, call, "cancelled")
        assert record["error"]["code"] == "cancelled" and record["attempt"] in attempts
        assert cancel(server, call)["status"] == "cancelled"  # once more changes nothing
        assert output(server, call) == b""
    done = submit(server, "ada/echo", b"x")
    wait(server, done, "succeeded")
    assert cancel(server, done)["status"] == "succeeded"
    assert output(server, done) == b"x"
    server.wait_metric("faasm_sandboxes", 0)


def test_a_race_has_one_winner(server):
    def race(_):
        call = submit(server, "ada/echo", b"x")
        said = cancel(server, call)["status"]
        record = wait(server, call)
        assert record["status"] == ("succeeded" if said == "succeeded" else "cancelled")
        assert (output(server, call) == b"x") == (record["status"] == "succeeded")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(race, range(100)))


# --- attempts ---------------------------------------------------------------------------------------


def test_attempts_death_and_redrive(server):
    server.put("bob/repaired", TRAP, "?limit.attempts=2&limit.retry_ms=1ms")
    call = submit(server, "bob/repaired", b"its input")
    assert wait(server, call, "dead")["attempt"] == 2
    record = wait(server, submit(server, "ada/trice"), "dead")
    assert record["attempt"] == 3 and record["error"]["code"] == "guest_trap"
    server.put("bob/repaired", ECHO)
    status, body, _ = server.request("POST", f"/calls/{call}/redrive")
    assert status == 202 and json.loads(body)["status"] == "queued"
    assert wait(server, call, "succeeded")["attempt"] == 1
    assert output(server, call) == b"its input"
    assert "succeeded" in problem(server.request("POST", f"/calls/{call}/redrive"), 409, "conflict")


def test_too_old_to_be_started(server):
    first = submit(server, "ada/impatient")
    wait_until(server, first, "running")
    record = wait(server, submit(server, "ada/impatient"), "failed")
    assert record["error"]["code"] == "deadline" and "age_ms" in record["error"]["detail"]
    cancel(server, first)
    wait(server, first, "cancelled")


# --- keys and delays --------------------------------------------------------------------------------


def test_idempotency(server):
    first = submit(server, "ada/echo", b"order", Idempotency_Key="order 1")
    wait(server, first, "succeeded")
    status, body, _ = server.request("POST", "/fa/ada/echo", b"order", {"Idempotency-Key": "order 1"})
    assert status == 202 and json.loads(body) == {"id": first, "status": "succeeded"}
    problem(server.request("POST", "/fa/ada/echo", b"another", {"Idempotency-Key": "order 1"}), 409,
            "conflict")
    assert submit(server, "ada/echo", b"order", Idempotency_Key="order 2") != first
    assert submit(server, "ada/log", b"order", Idempotency_Key="order 1") != first
    problem(server.request("POST", "/fa/ada/echo", b"", {"Idempotency-Key": "k" * 256}), 400,
            "bad_request")
    submit(server, "ada/echo", b"", Idempotency_Key="k" * 255)
    problem(server.request("POST", "/fa/ada/echo", b"", {"Idempotency-Key": ""}), 400, "bad_request")


def test_a_key_at_once_from_many(server):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        calls = set(pool.map(lambda _: submit(server, "ada/echo", b"x", Idempotency_Key="many"),
                             range(48)))
    assert len(calls) == 1


def test_delay(server):
    call = submit(server, "ada/echo", b"x", X_Faasm_Delay="0.15")
    assert get(server, call)["status"] == "queued"
    record = wait(server, call, "succeeded")
    seconds = [float(record[name][17:-1]) for name in ("created_at", "started_at")]
    assert (seconds[1] - seconds[0]) % 60 >= 0.15
    for delay, position in (("-1", "byte 0"), ("1x", "byte 1"), ("1.", "byte 2"), ("", "byte 0"),
                            ("2592001", "at most 2592000")):
        answer = server.request("POST", "/fa/ada/echo", b"", {"X-Faasm-Delay": delay})
        assert position in problem(answer, 400, "bad_request")


# --- chained calls ----------------------------------------------------------------------------------


def check_children(server, parent, children):
    assert len(children) == 2
    outputs = []
    for child in children:
        record = wait(server, child, "succeeded")
        assert record["parent"] == parent and record["function"] == "echo"
        outputs.append(output(server, child))
    assert outputs == [b"ec", b"ch"]


def test_children_of_an_asynchronous_call(server):
    call = submit(server, "ada/chain")
    check_children(server, call, wait(server, call, "succeeded")["children"])


def test_children_of_a_synchronous_call(server):
    status, body, headers = server.request("POST", "/f/ada/chain")
    assert (status, body) == (200, b"kept")
    call = headers["X-Faasm-Call-Id"]
    check_children(server, call, get(server, call)["children"])


def test_a_target_that_does_not_exist(server):
    before = server.metric("faasm_async_accepted_total")
    call = submit(server, "ada/lost")
    record = wait(server, call, "failed")
    assert record["error"]["code"] == "chain_target" and record["children"] == []
    assert output(server, call) == b"kept"
    status, body, headers = server.request("POST", "/f/ada/lost")
    assert status == 500 and json.loads(body)["output"] == "kept"
    assert get(server, headers["X-Faasm-Call-Id"])["error"]["code"] == "chain_target"
    server.wait_metric("faasm_async_accepted_total", before + 1)


# --- lists ------------------------------------------------------------------------------------------


def test_lists(server):
    server.put("lister/echo", ECHO)
    server.put("lister/exit", EXIT)
    expected = []
    for i in range(12):
        name = ("lister/echo", "lister/exit")[i % 2]
        if i % 3 == 0:
            _, _, headers = server.request("POST", f"/f/{name}")
            expected.append((headers["X-Faasm-Call-Id"], name, False))
        else:
            expected.append((submit(server, name), name, True))
    for call, _, durable in expected:
        if durable:
            wait(server, call)
    ids = sorted((call for call, _, _ in expected), reverse=True)
    for limit in (1, 5, 11, 12, 13, 1000):
        assert [one["id"] for one in pages(server, "&user=lister", limit)] == ids
    for query, name in (("&function=echo", "lister/echo"), ("&status=failed", "lister/exit")):
        assert [one["id"] for one in pages(server, "&user=lister" + query, 4)] == \
            sorted((call for call, of, _ in expected if of == name), reverse=True)
    middle = ids[6]
    assert [one["id"] for one in pages(server, f"&user=lister&after={middle}", 100)] == ids[7:]
    assert list(pages(server, "&user=nobody", 10)) == []
    assert {one["user"] for one in pages(server, "", 1000)} >= {"ada", "lister"}


@pytest.mark.parametrize("query, words", [
    ("limit=0", "byte 0"), ("limit=1001", "byte 0"), ("user=ada&limit=x", "byte 9"),
    ("after=yesterday", "byte 0"), ("status=done", "byte 0"), ("user=a%2fb", "byte 0"),
    ("colour=red", "byte 0"), ("user=a&user=a", "byte 7"),
])
def test_bad_lists(server, query, words):
    assert words in problem(server.request("GET", f"/calls?{query}"), 400, "bad_request")


# --- synchronous calls ------------------------------------------------------------------------------


def test_a_synchronous_call_is_remembered(server):
    _, _, headers = server.request("POST", "/f/ada/log", b"x")
    call = headers["X-Faasm-Call-Id"]
    record = get(server, call)
    assert record["status"] == "succeeded" and record["function"] == "log"
    assert record["created_at"] <= record["started_at"] <= record["finished_at"]
    assert server.request("GET", f"/calls/{call}/log")[:2] == (200, b"to the log\n")
    problem(server.request("GET", f"/calls/{call}/output"), 404, "not_found")
    _, _, headers = server.request("POST", "/f/ada/trap")
    record = get(server, headers["X-Faasm-Call-Id"])
    assert record["status"] == "failed" and "inner" in record["error"]["backtrace"]


def test_a_synchronous_call_that_runs(server):
    server.put("sync/doze", SLEEP % HOUR, "?limit.wall_ms=1h")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        client = pool.submit(server.request, "POST", "/f/sync/doze")
        running = []
        while not running:
            running = list(pages(server, "&user=sync&status=running", 10))
        [call] = [one["id"] for one in running]
        assert get(server, call)["status"] == "running"
        problem(server.request("GET", f"/calls/{call}/output"), 409, "conflict")
        waiting = pool.submit(get, server, call, "?wait=60")
        server.wait_metric("faasm_http_requests_suspended", 2)
        assert cancel(server, call)["status"] == "cancelled"
        problem(client.result(), 409, "cancelled")
        assert waiting.result()["status"] == "cancelled"
    assert [one["id"] for one in pages(server, "&user=sync", 10)] == [call]


def test_the_last_thousand_of_a_user(servers):
    server = servers("--workers", "1", put=False)
    server.put("eve/echo", ECHO)
    server.put("bob/echo", ECHO)
    _, _, headers = server.request("POST", "/f/bob/echo")
    ids = [server.request("POST", "/f/eve/echo")[2]["X-Faasm-Call-Id"] for _ in range(1002)]
    assert [one["id"] for one in pages(server, "&user=eve", 1000)] == sorted(ids[2:], reverse=True)
    problem(server.request("GET", f"/calls/{ids[0]}"), 404, "not_found")
    get(server, headers["X-Faasm-Call-Id"])
    server.stop()


# --- limits -----------------------------------------------------------------------------------------


def test_calls_that_have_not_ended_are_bounded(servers):
    server = servers("--workers", "1", "--set", "records=3")
    calls = [submit(server, "ada/echo", X_Faasm_Delay="3600") for _ in range(3)]
    assert submit(server, "ada/echo", expected=503)["code"] == "busy"
    cancel(server, calls[0])
    submit(server, "ada/echo")


def test_results_are_forgotten(servers):
    server = servers("--set", "stored_calls=5", put=False)
    server.put("ada/echo", ECHO)
    server.put("ada/brief", ECHO, "?limit.retention_ms=1ms")
    brief = submit(server, "ada/brief")
    server.wait_metric_reaches("faasm_async_forgotten_total", 1)
    problem(server.request("GET", f"/calls/{brief}"), 404, "not_found")
    server.stop()
    server = servers("--set", "stored_calls=5", put=False)
    assert server.call("ada/echo", b"x") == (200, b"x")
    server.stop()


# --- restarts ---------------------------------------------------------------------------------------


def test_a_restart_keeps_everything(servers):
    server = servers("--set", "drain_ms=50")
    ended = submit(server, "ada/echo", b"kept")
    wait(server, ended, "succeeded")
    record = get(server, ended)
    running = submit(server, "ada/alone", b"x")
    wait_until(server, running, "running")
    due = submit(server, "ada/alone")
    later = submit(server, "ada/echo", b"x", X_Faasm_Delay="3600")
    server.stop()

    server = servers("--set", "drain_ms=50", "--workers", "1", put=False)  # also with fewer workers
    assert get(server, ended) == record and output(server, ended) == b"kept"
    assert wait_until(server, running, "running")["attempt"] == 2
    assert get(server, due)["status"] == "queued"
    assert get(server, later)["status"] == "queued"
    cancel(server, running)
    wait_until(server, due, "running")
    cancel(server, due)
    cancel(server, later)
    server.stop()


def test_draining_lets_asynchronous_calls_end(servers):
    server = servers()
    call = submit(server, "ada/sleep")
    wait_until(server, call, "running")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        doze = submit(server, "ada/echo", X_Faasm_Delay="3600")
        server.wait_metric("faasm_http_requests_suspended", 0)  # the submit's own is over
        waiting = pool.submit(get, server, doze, "?wait=60")
        server.wait_metric("faasm_http_requests_suspended", 1)
        server.process.send_signal(signal.SIGTERM)
        assert waiting.result()["status"] == "queued"  # at once, not after a minute
    assert server.process.wait(60) == 0  # a second signal would cut it short
    server = servers(put=False)
    assert wait(server, call, "succeeded")["attempt"] == 1
    server.stop()


def test_a_crash_loses_nothing(servers):
    server = servers()
    ended = submit(server, "ada/echo", b"kept")
    wait(server, ended, "succeeded")
    running = submit(server, "ada/doze")
    wait_until(server, running, "running")
    os.kill(server.child(), signal.SIGKILL)
    server.wait_line(" ready ", 2)
    assert output(server, ended) == b"kept"
    wait_until(server, running, "running", attempt=2)
    cancel(server, running)
    wait(server, running, "cancelled")
    os.kill(server.child(), signal.SIGKILL)
    server.wait_line(" ready ", 3)
    assert get(server, running)["status"] == "cancelled"
    server.stop()


def crash(server, number):
    """Of SIGSEGV the engine takes the first for a fault of some code, which will happen again."""
    child = server.child()
    gone = os.pidfd_open(child)
    while not select.select([gone], [], [], 0.01)[0]:
        os.kill(child, number)
    os.close(gone)


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV])
def test_a_call_that_crashes_the_server_twice_is_dead(servers, number):
    """While its guest has the thread; the one beside it, which only waits, is not to blame."""
    server = servers("--workers", "1")
    maps = pathlib.Path(f"/proc/{server.child()}/maps").read_text()
    if number == signal.SIGSEGV and re.search("lib[at]san", maps):
        pytest.skip("the sanitizer makes an exit code of it")
    spin = submit(server, "ada/spin")
    doze = submit(server, "ada/doze")
    kills = 0
    while get(server, spin)["status"] not in ENDED:
        record = wait_until(server, spin, "running")
        assert record["attempt"] == kills + 1
        crash(server, number)
        kills += 1
        server.wait_line(" ready ", kills + 1)
        assert kills <= 20
        if kills == 2:
            assert get(server, doze)["status"] in ("queued", "running")
    record = get(server, spin)
    assert record["status"] == "dead" and "crashed 2 times" in record["error"]["detail"]
    assert kills >= 2
    server.stop()


def test_nobody_is_to_blame_for_sigkill(servers):
    server = servers("--workers", "1")
    spin = submit(server, "ada/spin")
    for kill in range(1, 4):
        wait_until(server, spin, "running", attempt=kill)
        os.kill(server.child(), signal.SIGKILL)
        server.wait_line(" ready ", kill + 1)
    wait_until(server, spin, "running", attempt=4)
    cancel(server, spin)
    server.stop()


# --- damage, and no space ---------------------------------------------------------------------------


def test_a_damaged_database_is_kept_aside(servers, tmp_path):
    server = servers()
    old = submit(server, "ada/echo", b"x" * 20_000)
    wait(server, old, "succeeded")
    server.stop()
    database = tmp_path / "data/calls.db"
    damaged = b"this is no database" + database.read_bytes()[19:]
    database.write_bytes(damaged)
    server = servers(put=False)
    line = server.wait_line(" error database_set_aside ")
    [kept] = (tmp_path / "data").glob("calls.db.damaged-*Z")
    assert kept.name in line and kept.read_bytes() == damaged
    problem(server.request("GET", f"/calls/{old}"), 404, "not_found")
    call = submit(server, "ada/echo", b"goes on")
    wait(server, call, "succeeded")
    assert output(server, call) == b"goes on"
    assert server.request("GET", "/readyz")[0] == 200
    server.stop()


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs", folder],
                          capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip("this machine does not let us mount")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_full_disk(servers, small_disk):
    server = servers(put=False, folder=small_disk / "data")
    for name in ("echo", "sleep", "chain"):
        server.put(f"ada/{name}", *MODULES[name])
    call = submit(server, "ada/sleep")
    wait_until(server, call, "running")
    filler = small_disk / "filler"
    with open(filler, "wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass
    assert submit(server, "ada/echo", b"x" * 1_000_000, expected=507)["code"] == "storage_full"
    assert server.call("ada/echo", b"sync") == (200, b"sync")
    status, body, _ = server.request("POST", "/f/ada/chain")
    if status != 200:  # the database may still have had a free page
        assert status == 507 and json.loads(body)["output"] == "kept"
    filler.unlink()
    assert wait(server, call, "succeeded")["attempt"] == 1
    assert output(server, call) == b"rested"
    last = submit(server, "ada/echo", b"y" * 1_000_000)
    wait(server, last, "succeeded")
    server.stop()


def test_the_folder_holds_what_the_documents_say(servers, tmp_path):
    server = servers()
    wait(server, submit(server, "ada/echo", os.urandom(100_000)), "succeeded")
    data = tmp_path / "data"
    assert {"calls.db", "blobs", "functions", "key"} <= {one.name for one in data.iterdir()}
    for _ in range(5000):  # a file goes after its row has changed
        blobs = list((data / "blobs").iterdir())
        if len(blobs) == 1:
            break
        server.request("GET", "/healthz")
    assert len(blobs) == 1 and ".output." in blobs[0].name  # the input is gone
    for one in (data / "calls.db", data / "blobs"):
        assert pathlib.Path(one).stat().st_mode & 0o077 == 0
    server.stop()
