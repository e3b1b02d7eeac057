"""Users beside one another: weights and quotas from file and PATCH, floods, what is answered to whom."""
import concurrent.futures
import http.client
import json
import os
import pathlib
import re
import socket

import pytest

from process import SLEEP, Server

SANITIZED = bool(os.environ.get("FAASM_SANITIZE"))
SPIN = '(module (memory (export "memory") 1) (func (export "_start") (loop $l (br $l))))'
ECHO = """(module
  (import "faasm" "input_read" (func $r (param i32 i32 i32) (result i32)))
  (import "faasm" "output_write" (func $w (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $w (i32.const 0) (call $r (i32.const 0) (i32.const 0) (i32.const 1024))))))"""
PATCH = {"Content-Type": "application/merge-patch+json"}
FOREVER = SLEEP % 10**15


@pytest.fixture
def start(tmp_path):
    """Starts servers on one data folder, one after the other; all are stopped."""
    servers = []

    def begin(*options):
        server = Server(tmp_path / "data", "--workers", "2", *options)
        servers.append(server)
        return server.ready()
    yield begin
    for server in servers:
        if server.process.poll() is None:
            server.stop()


def user(server, name):
    status, body, _ = server.request("GET", f"/users/{name}")
    assert status == 200
    return json.loads(body)


def patch(server, name, document):
    status, body, _ = server.request("PATCH", f"/users/{name}", json.dumps(document), PATCH)
    assert status == 200, body
    return json.loads(body)


def wait_use(server, name, **values):
    """A worker's numbers may be a pass old."""
    for _ in range(5000):
        use = user(server, name)["use"]
        if all(use[key] == value for key, value in values.items()):
            return
    raise AssertionError(f"{use}, not {values}")


def post_and_leave(server, path, count):
    """Sends calls on connections of their own; they are cancelled when these are closed."""
    connections = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        connections.append(connection)
    return connections


def refusal(server, path):
    status, body, headers = server.request("POST", path, b"")
    problem = json.loads(body)
    assert (status, problem["code"]) == (429, "quota"), body
    assert int(headers["Retry-After"]) >= 1
    return problem["quota"], int(headers["Retry-After"])


def test_concurrency_of_a_user_is_told_and_can_be_changed(start):
    server = start()
    server.put("ada/sleep", FOREVER)
    server.put("bob/echo", ECHO)
    assert patch(server, "ada", {"quotas": {"concurrency": 3}})["quotas"]["concurrency"] == 3
    sleepers = post_and_leave(server, "/f/ada/sleep", 3)
    wait_use(server, "ada", calls=3)
    assert refusal(server, "/f/ada/sleep") == ("concurrency", 1)
    assert server.call("bob/echo", b"hi") == (200, b"hi")  # not of others
    patch(server, "ada", {"quotas": {"concurrency": 4}})
    sleepers += post_and_leave(server, "/f/ada/sleep", 1)
    wait_use(server, "ada", calls=4)
    assert refusal(server, "/f/ada/sleep")[0] == "concurrency"
    for connection in sleepers:
        connection.close()
    wait_use(server, "ada", calls=0, memory_bytes=0)
    use = user(server, "ada")["use"]
    assert use["requests"] == 6 and use["refused"] == 2 and use["finished"] == 4


def test_requests_come_with_a_time_to_try_again(start):
    server = start()
    server.put("ada/echo", ECHO)
    patch(server, "ada", {"quotas": {"requests_per_s": 1}})
    answers = [server.call("ada/echo", b"x")[0] for _ in range(2)]
    while 429 not in answers:  # a slow machine: one a second
        answers.append(server.call("ada/echo", b"x")[0])
    assert answers[0] == 200
    quota, retry = refusal(server, "/f/ada/echo")
    assert (quota, retry) == ("requests_per_s", 1)
    patch(server, "ada", {"quotas": {"requests_per_s": None}})
    assert server.call("ada/echo", b"x") == (200, b"x")


def test_asynchronous_calls_of_a_user(start):
    """Bounded when they are accepted; at the limit of calls under way they wait."""
    server = start()
    server.put("ada/echo", ECHO)
    server.put("ada/sleep", FOREVER)
    patch(server, "ada", {"quotas": {"requests_per_s": 1}})
    answers = [server.request("POST", "/fa/ada/echo", b"x")[0] for _ in range(2)]
    while 429 not in answers:  # a slow machine: one a second
        answers.append(server.request("POST", "/fa/ada/echo", b"x")[0])
    assert answers[0] == 202
    assert refusal(server, "/fa/ada/echo") == ("requests_per_s", 1)
    patch(server, "ada", {"quotas": {"requests_per_s": None, "concurrency": 1, "queue_length": 3}})
    wait_use(server, "ada", accepted=0)

    sleeper = json.loads(server.request("POST", "/fa/ada/sleep")[1])["id"]
    wait_use(server, "ada", calls=1, accepted=1)  # it has the only unit
    first, second = (json.loads(server.request("POST", "/fa/ada/echo", b"x")[1])["id"]
                     for _ in range(2))
    assert refusal(server, "/fa/ada/echo") == ("queue_length", 1)
    wait_use(server, "ada", accepted=3)
    assert server.request("DELETE", f"/calls/{sleeper}")[0] == 202
    for call in (first, second):
        assert json.loads(server.request("GET", f"/calls/{call}?wait=60")[1])["status"] == "succeeded"
    wait_use(server, "ada", calls=0, accepted=0)
    assert server.request("POST", "/fa/ada/echo")[0] == 202


def test_memory_of_a_user(start):
    server = start()
    server.put("ada/sleep", FOREVER)
    patch(server, "ada", {"quotas": {"memory_bytes": "1MiB"}})
    sleepers = post_and_leave(server, "/f/ada/sleep", 1)
    wait_use(server, "ada", calls=1, memory_bytes=65536)
    assert refusal(server, "/f/ada/sleep")[0] == "memory_bytes"
    sleepers[0].close()
    wait_use(server, "ada", calls=0, memory_bytes=0)


def test_a_throttled_user_waits_or_is_told(start):
    server = start()
    server.put("ada/spin", SPIN, "?limit.cpu_ms=1h&limit.wall_ms=1h")
    server.put("ada/echo", ECHO)
    loops = post_and_leave(server, "/f/ada/spin", 1)
    wait_use(server, "ada", calls=1, queued=0)
    patch(server, "ada", {"quotas": {"cpu_percent": 10}})
    assert server.call("ada/echo", b"x") == (200, b"x")  # when its turn comes
    patch(server, "ada", {"quotas": {"cpu_percent": 1, "queue_length": 0}})
    status = 200
    while status == 200:  # now and then there is a moment of CPU time left
        status, body, _ = server.request("POST", "/f/ada/echo", b"x")
    assert status == 429 and json.loads(body)["quota"] in ("cpu_percent", "queue_length")
    loops[0].close()
    wait_use(server, "ada", calls=0, queued=0)


def test_changes_are_kept_over_a_restart(start, tmp_path):
    config = tmp_path / "faasm.conf"
    config.write_text("[user *]\nweight = 70\n[user ada]\nconcurrency = 5\nmemory_bytes = 1GiB\n")
    server = start("--config", str(config))
    before = user(server, "ada")
    assert before["weight"] == 70 and before["quotas"]["concurrency"] == 5
    assert user(server, "bob")["weight"] == 70 and user(server, "bob")["quotas"]["concurrency"] == 10000
    patch(server, "ada", {"weight": 7, "quotas": {"concurrency": 6, "cpu_percent": 50}})
    patch(server, "ada", {"quotas": {"cpu_percent": None}})
    patch(server, "bob", {"weight": 9})
    patch(server, "bob", {"weight": None})
    server.stop()
    assert not (tmp_path / "data/users/bob.json").exists()

    (tmp_path / "data/users/eve.json").write_text("{")
    server = start("--config", str(config))
    assert "eve.json" in server.wait_line(" user_skipped ")
    after = user(server, "ada")
    assert (after["weight"], after["quotas"]["concurrency"]) == (7, 6)
    assert after["quotas"]["cpu_percent"] == 0 and after["quotas"]["memory_bytes"] == 2**30
    assert user(server, "bob")["weight"] == 70
    assert user(server, "eve")["weight"] == 70


def test_mistakes_are_named(start):
    server = start()
    for document, key in [({"wieght": 1}, "wieght"), ({"quotas": {"x": 1}}, "quotas.x"),
                          ({"weight": 0}, "weight"), ({"quotas": {"memory_bytes": "1Zib"}}, "memory_bytes")]:
        status, body, _ = server.request("PATCH", "/users/ada", json.dumps(document), PATCH)
        assert status == 400 and key in json.loads(body)["detail"], body
    assert server.request("PATCH", "/users/ada", "{}")[0] == 400  # without its type
    assert user(server, "ada")["weight"] == 100


def test_a_mistake_in_a_section_ends_the_start(tmp_path):
    config = tmp_path / "faasm.conf"
    config.write_text("workers = 1\n[user ada]\nweight = 0\n")
    server = Server(tmp_path / "data", "--config", str(config))
    assert server.process.wait(timeout=60) == 64
    lines = server.stop(expected=64)
    assert any("faasm.conf:3: weight must be from 1 to 10000" in line for line in lines)


def test_a_flood_of_endless_loops_does_not_stop_others(start):
    server = start("--set", "slots=32")
    server.put("ada/spin", SPIN, "?limit.cpu_ms=1h&limit.wall_ms=1h")
    server.put("bob/echo", ECHO)
    loops = post_and_leave(server, "/f/ada/spin", 64)  # on both workers, and more than there are slots
    wait_use(server, "ada", calls=64)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        bodies = [b"%d" % i for i in range(200)]
        answers = list(pool.map(lambda body: server.call("bob/echo", body), bodies))
    assert answers == [(200, body) for body in bodies]
    use = user(server, "ada")["use"]
    assert use["calls"] == 64 and use["finished"] == 0  # all of them still at it
    for connection in loops:
        connection.close()
    wait_use(server, "ada", calls=0, memory_bytes=0)
    assert user(server, "bob")["use"]["finished"] == 200


def family(server, name):
    """Label to value."""
    _, text, _ = server.request("GET", "/metrics")
    found = {}
    for line in text.decode().splitlines():
        if line.startswith(name + "{"):
            label, value = re.fullmatch(r'\w+\{user="([^"]*)"\} (\S+)', line).groups()
            found[label] = float(value)
    return found


def test_metrics_name_the_busiest_users(start):
    server = start("--set", "metrics_users=2")
    for name, cpu_ms in [("ada", 40), ("bob", 80), ("eve", 120), ("joe", 1)]:
        server.put(f"{name}/spin", SPIN, f"?limit.cpu_ms={cpu_ms}")
        assert server.call(f"{name}/spin")[0] == 502
    cpu = family(server, "faasm_user_cpu_seconds_total")
    assert set(cpu) == {"bob", "eve", ""}
    assert cpu["eve"] > cpu["bob"] > 0.08 and cpu[""] > 0.041
    assert family(server, "faasm_user_calls_finished_total") == {"bob": 1, "eve": 1, "": 2}
    assert family(server, "faasm_user_calls") == {"bob": 0, "eve": 0, "": 0}


def test_cpu_time_is_the_kernels(start):
    """What a user is charged for, beside what the kernel says that the workers' threads used: a ratio, whatever
    else the machine does.  All of the process is more by its ticker, which wakes a thousand times a second."""
    server = start("--workers", "2")
    server.put("ada/spin", SPIN, "?limit.cpu_ms=1500")

    def threads_s():
        found = {"all": 0.0, "workers": 0.0}
        for task in pathlib.Path(f"/proc/{server.child()}/task").iterdir():
            used = int((task / "schedstat").read_text().split()[0]) / 1e9
            found["all"] += used
            if re.fullmatch(r"faasm-\d+\n", (task / "comm").read_text()):
                found["workers"] += used
        return found
    before = threads_s()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert [answer[0] for answer in pool.map(lambda _: server.call("ada/spin"), range(2))] == [502, 502]
    used = {name: now - before[name] for name, now in threads_s().items()}
    charged = user(server, "ada")["use"]["cpu_us"] / 1e6
    assert charged >= 3
    lost = 0.1 if SANITIZED else 0.02  # with the sanitizers, whatever is between two slices takes its time, too
    assert 1 - lost <= charged / used["workers"] <= 1.02, (charged, used)
    assert 0.9 <= charged / used["all"] <= 1.02, (charged, used)


def submit_all(server, path, count):
    """Asynchronous calls on one connection: all of them belong to its worker.  Their ids."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    ids = []
    for _ in range(count):
        connection.request("POST", path, b"")
        response = connection.getresponse()
        assert response.status == 202
        ids.append(json.loads(response.read())["id"])
    connection.close()
    return ids


def wait_away(server):
    for _ in range(20000):
        if server.metric("faasm_calls_away") > 0:
            return
    raise AssertionError("no call has moved")


def test_calls_move_to_idle_workers_and_can_be_cancelled_there(start):
    server = start()
    server.put("ada/spin", SPIN, "?limit.cpu_ms=1h&limit.wall_ms=1h")
    ids = submit_all(server, "/fa/ada/spin", 6)
    wait_away(server)
    assert server.metric("faasm_calls_given_total") > 0
    for call in ids:
        assert server.request("DELETE", f"/calls/{call}")[0] == 202
    for call in ids:
        status = ""
        while status != "cancelled":
            status = json.loads(server.request("GET", f"/calls/{call}")[1])["status"]
            assert status in ("queued", "running", "cancelled")
    wait_use(server, "ada", calls=0, memory_bytes=0)
    server.wait_metric("faasm_sandboxes", 0)
    server.wait_metric("faasm_calls_away", 0)


def test_a_server_ends_while_calls_are_away(start):
    server = start("--set", "drain_ms=100ms")
    server.put("ada/spin", SPIN, "?limit.cpu_ms=1h&limit.wall_ms=1h")
    submit_all(server, "/fa/ada/spin", 6)
    wait_away(server)
    assert any(" ended" in line for line in server.stop())
