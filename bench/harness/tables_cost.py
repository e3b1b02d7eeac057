"""S5, S12, S14, S16: what instances, starting, idling and snapshots cost."""
import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time

from harness import load
from harness.machine import Disturbance
from harness.modules import sample, unprepared_sample, variant
from harness.report import Figure
from harness.servers import Faasm, RawEcho, cpu_seconds, proportional_bytes, wakeups_per_second
from harness.wire import connect, parse, percentile, request

RAW = "library alone"
MEGABYTE = 1e6


@contextlib.contextmanager
def folder_of_functions(bench, count):
    """A data folder with so many functions, /f/bench/0 and so on, and the samples."""
    with tempfile.TemporaryDirectory(prefix="faasm-bench-") as data:
        module = sample("echo")
        with Faasm(bench.program, data, bench.samples) as server:
            server.wait_ready()
            with server.client() as client:
                for i in range(count):
                    client.upload(f"/f/bench/{i}", variant(module, i))
        yield data


# --- S5 -------------------------------------------------------------------------------------------


def instances(bench):
    """S5"""
    command = [bench.instance, str(bench.rounds), str(500 if bench.quick else 5000)]
    disturbance = Disturbance()
    before = load.children_seconds()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    foreign = disturbance.end(load.children_seconds() - before)
    cases = {}
    for line in map(json.loads, done.stdout.splitlines()):
        if "case" in line:
            key = (line["case"], line["pages"])
            cases.setdefault(key, ([], []))
            cases[key][0].append(line["us"])
            cases[key][1].append(line["mapping_us"])
    names = {
        ("instance", 0): ("fresh instance, no page written", ("<=", 2.5)),
        ("instance", 16): ("fresh instance, 16 pages written", ("<=", 4)),
        ("instance", 200): ("fresh instance, 200 pages written", ("<=", 18)),
        ("echo", 1): ("the same with call, input, output: echo of 100 bytes", None),
    }
    return [
        Figure("S5", names[key][0], "us", *cases[key], "fresh mapping", names[key][1], foreign)
        for key in names
    ]


# --- S12 ------------------------------------------------------------------------------------------


def first_answer_ms(server, since):
    """Until GET /readyz is answered 200.  The socket is open before the server is: no polling."""
    with contextlib.closing(connect(server.address)) as connection:
        connection.sendall(request("GET", "/readyz"))
        data = b""
        while not (answer := parse(data)):
            piece = connection.recv(65536)
            if not piece:
                raise RuntimeError("the server closed the connection before it was ready")
            data += piece
        took = (time.perf_counter() - since) * 1000
    if answer.status != 200:
        raise RuntimeError(f"/readyz: {answer.status} {answer.body!r}")
    return took


def start_ms(bench, data):
    with Faasm(bench.program, data) as server:
        return first_answer_ms(server, server.started_at)


def restart_ms(bench, data):
    with Faasm(bench.program, data) as server:
        server.wait_ready()
        with server.client() as client:
            client.call("POST", "/f/simon/echo", b"ping")
        victim = server.pid
        since = time.perf_counter()
        os.kill(victim, signal.SIGKILL)
        return first_answer_ms(server, since)


def raw_start_ms(bench):
    with RawEcho(bench.rawecho) as server:
        return first_answer_ms(server, server.started_at)


def empty_start_ms(bench):
    with tempfile.TemporaryDirectory(prefix="faasm-bench-") as data:
        with Faasm(bench.program, data, bench.samples) as server:
            return first_answer_ms(server, server.started_at)


def starts(bench):
    """S12"""
    found = {name: [] for name in ("raw", "samples", "hundred", "empty", "restart")}
    with folder_of_functions(bench, 0) as samples, folder_of_functions(bench, 100) as hundred:
        for number in range(bench.rounds):
            steps = [
                ("raw", lambda: raw_start_ms(bench)),
                ("samples", lambda: start_ms(bench, samples)),
                ("hundred", lambda: start_ms(bench, hundred)),
                ("restart", lambda: restart_ms(bench, hundred)),
                ("empty", lambda: empty_start_ms(bench)),
            ]
            for name, step in steps if number % 2 == 0 else reversed(steps):
                found[name].append(step())

    def figure(name, which, target=None):
        return Figure("S12", name, "ms", found[which], found["raw"], RAW, target)

    return [
        figure("start, with the samples", "samples", ("<=", 50)),
        figure("start, with 100 functions", "hundred", ("<=", 50)),
        figure("restart after kill -9, 100 functions", "restart", ("<=", 100)),
        figure("very first start, compiling the samples", "empty"),
    ]


# --- S14 ------------------------------------------------------------------------------------------


def observe(server, seconds):
    """What a server costs that has nothing to do."""
    pids = server.family()
    cpu = sum(map(cpu_seconds, pids))
    wakeups = wakeups_per_second(pids, seconds)
    return {
        "memory": proportional_bytes(pids) / MEGABYTE,
        "wakeups": wakeups,
        "cpu": (sum(map(cpu_seconds, pids)) - cpu) / seconds * 1000,
    }


def burden(bench, server, paths):
    """Some load on each function, more on one of them, then silence."""
    with server.client() as client:
        for path in paths:
            call = request("POST", path, b"x" * 1000)
            for _ in range(20):
                client.ask(call)
    load.post(server, paths[0], bench.seconds, 64)
    time.sleep(3 if bench.quick else 60)


def idle_round(bench, data, samples):
    """Fresh with the samples, fresh with 100 functions, after load; each with the reference."""
    window = 2 if bench.quick else 10
    paths = [f"/f/bench/{i}" for i in range(100)]
    found = {}
    with RawEcho(bench.rawecho) as raw:
        with Faasm(bench.program, samples) as server:
            server.wait_ready()
            time.sleep(1)
            found["samples"] = observe(server, window)
        with Faasm(bench.program, data) as server:
            server.wait_ready()
            time.sleep(1)
            found["fresh"] = observe(server, window)
            found["raw_fresh"] = observe(raw, window)
            load.post(raw, paths[0], bench.seconds, 64)
            burden(bench, server, paths)
            found["loaded"] = observe(server, window)
            found["raw_loaded"] = observe(raw, window)
    return found


def idling(bench):
    """S14"""
    with folder_of_functions(bench, 100) as data, folder_of_functions(bench, 0) as samples:
        rounds = [idle_round(bench, data, samples) for _ in range(bench.rounds)]

    def of(which, key):
        return [found[which][key] for found in rounds]

    def figure(name, unit, which, key, target=None):
        raw = "raw_loaded" if which == "loaded" else "raw_fresh"
        return Figure("S14", name, unit, of(which, key), of(raw, key), RAW, target)

    none = ("<=", 0.1)  # one in a window of ten seconds
    after = "3 s after load (quick)" if bench.quick else "60 s after load"
    return [
        figure("memory, the samples, fresh", "MB", "samples", "memory", ("<=", 30)),
        figure("memory, 100 functions, fresh", "MB", "fresh", "memory", ("<=", 25)),
        figure(f"memory, 100 functions, {after}", "MB", "loaded", "memory", ("<=", 60)),
        figure("wake-ups a second, fresh", "/s", "fresh", "wakeups", none),
        figure(f"wake-ups a second, {after}", "/s", "loaded", "wakeups", none),
        figure(f"CPU a second, {after}", "ms", "loaded", "cpu"),
    ]


# --- S16 ------------------------------------------------------------------------------------------


def snapshots(bench):
    """S16"""
    count = 20 if bench.quick else 200
    found = {"primes": [], "unprepared": [], "dummy": []}
    with tempfile.TemporaryDirectory(prefix="faasm-bench-") as data:
        with Faasm(bench.program, data, bench.samples) as server, server.client() as client:
            server.wait_ready()
            client.upload("/f/simon/unprepared", unprepared_sample("primes"))
            expected = {"primes": b"78498 999983", "unprepared": b"78498 999983", "dummy": None}
            for number in range(bench.rounds):
                for name in found if number % 2 == 0 else reversed(found):
                    call = request("POST", f"/f/simon/{name}", b"1000000")
                    found[name].append(median_call(client, call, count, expected[name]))
    what = "a function that sieves 4 million numbers before it answers"
    plain = "a function that does nothing"
    return [
        Figure("S16", f"{what}, at upload: p50", "us", found["primes"], found["dummy"], plain),
        Figure("S16", f"{what}, in each call: p50", "us", found["unprepared"], found["primes"],
               "at upload"),
    ]


def median_call(client, call, count, expected):
    took = []
    for _ in range(count):
        before = time.perf_counter_ns()
        answer = client.ask(call)
        took.append((time.perf_counter_ns() - before) / 1000)
        if answer.status != 200 or answer.body != (expected or answer.body):
            raise RuntimeError(f"wrong: {answer.status} {answer.body!r}")
    return percentile(took, 50)
