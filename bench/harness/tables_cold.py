"""S6: the first call of a function that is on disk, with its files in the page cache and without."""
import pathlib
import random
import tempfile
import time

from harness import memory
from harness.modules import sample, variant
from harness.report import Figure
from harness.servers import Faasm, RawEcho
from harness.wire import percentile, request


def function_files(data):
    """What a first call reads, and the module."""
    return [path for path in pathlib.Path(data, "functions").rglob("*") if path.is_file()]


def read_all(paths):
    """Brings them into the page cache."""
    for path in paths:
        path.read_bytes()


def time_call(client, data, cold):
    before = time.perf_counter_ns()
    answer = client.ask(data)
    took = (time.perf_counter_ns() - before) / 1000
    if answer.status != 200 or answer.body != b"ping":
        raise RuntimeError(f"no echo: {answer.status} {answer.body!r}")
    if cold is not None and answer.header("X-Faasm-Cold") != cold:
        raise RuntimeError(f"X-Faasm-Cold is {answer.header('X-Faasm-Cold')}, not {cold}")
    return took


def cold_round(bench, data, order, prepare, raw_client):
    """The first and the second call of some functions of a server that has just started."""
    found = {"first": [], "second": [], "raw": []}
    with Faasm(bench.program, data) as server:
        server.wait_ready()
        with server.client() as client:
            client.call("GET", "/healthz")
            prepare(function_files(data))  # a start reads some of them
            for number in order:
                call = request("POST", f"/f/bench/{number}", b"ping")
                found["first"].append(time_call(client, call, "1"))
                found["second"].append(time_call(client, call, "0"))
                found["raw"].append(time_call(raw_client, call, None))
    return found


def make_functions(bench, data, count):
    module = sample("echo")
    with Faasm(bench.program, data) as server:
        server.wait_ready()
        with server.client() as client:
            for i in range(count):
                client.upload(f"/f/bench/{i}", variant(module, i))


def cold_calls(bench):
    """S6"""
    count = 20 if bench.quick else 200
    rounds = {"cached": [], "evicted": []}
    prepare = {"cached": read_all, "evicted": memory.evict}
    with tempfile.TemporaryDirectory(prefix="faasm-bench-") as data:
        make_functions(bench, data, count)
        with RawEcho(bench.rawecho) as raw, raw.client() as raw_client:
            for number in range(bench.rounds):
                for kind in rounds if number % 2 == 0 else reversed(rounds):
                    order = random.sample(range(count), count)
                    found = cold_round(bench, data, order, prepare[kind], raw_client)
                    rounds[kind].append(found)

    def figure(name, kind, which, percent, beside, target=None):
        values = [percentile(found[which], percent) for found in rounds[kind]]
        other = "raw" if which == "second" else "second"
        reference = [percentile(found[other], percent) for found in rounds[kind]]
        return Figure("S6", name, "us", values, reference, beside, target)

    cached = f"first call of a function on disk ({count} functions)"
    evicted = "the same, its files not in the page cache"
    return [
        figure(f"{cached}: p50", "cached", "first", 50, "second call", ("<=", 500)),
        figure(f"{cached}: p99", "cached", "first", 99, "second call"),
        figure(f"{evicted}: p50", "evicted", "first", 50, "second call"),
        figure(f"{evicted}: p99", "evicted", "first", 99, "second call"),
        figure("second call, by the same client: p50", "cached", "second", 50, "library alone"),
    ]
