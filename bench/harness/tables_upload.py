"""S13: from a module's first byte to the answer of its first call."""
import subprocess
import tempfile
import time

from harness.modules import program, sample, variant, with_one_function_changed
from harness.report import Figure
from harness.servers import Faasm
from harness.wire import percentile, request

ALONE = "the compile process alone"


def compile_ms(bench, module):
    """`faasm compile` by itself, from its start to its end, as the supervisor runs it."""
    with tempfile.TemporaryFile() as wasm, tempfile.TemporaryFile() as output:
        wasm.write(module)
        wasm.seek(0)
        before = time.perf_counter()
        subprocess.run([bench.program, "compile"], stdin=wasm, stdout=output, check=True, env={})
        return (time.perf_counter() - before) * 1000


def upload_ms(client, path, query, module, body, expected):
    """The upload, and the first call of what it made."""
    put = request("PUT", path + query, module)
    call = request("POST", path, body)
    times = [time.perf_counter()]
    for data in (put, call):
        answer = client.ask(data)
        times.append(time.perf_counter())
        if answer.status not in (200, 201):
            raise RuntimeError(f"{path}: {answer.status} {answer.body!r}")
    if answer.body != expected:
        raise RuntimeError(f"{path}: {answer.body!r}")
    return [(later - sooner) * 1000 for sooner, later in zip(times, times[1:])]


def upload_round(bench, client, module, query, body, expected, numbers):
    found = {"put": [], "call": [], "both": [], "again": [], "alone": []}
    for number in numbers:
        path = f"/f/bench/{number}"
        other = variant(module, number)
        put, call = upload_ms(client, path, query, other, body, expected)
        found["put"].append(put)
        found["call"].append(call)
        found["both"].append(put + call)
        changed = with_one_function_changed(other, number % 64)
        found["again"].append(sum(upload_ms(client, path, query, changed, body, expected)))
        found["alone"].append(compile_ms(bench, other))
    return {name: percentile(values, 50) for name, values in found.items()}


def upload_rounds(bench, module, query, body, expected, count):
    with tempfile.TemporaryDirectory(prefix="faasm-bench-") as data:
        with Faasm(bench.program, data) as server, server.client() as client:
            server.wait_ready()
            return [
                upload_round(bench, client, module, query, body, expected,
                             range(number * count, (number + 1) * count))
                for number in range(bench.rounds)
            ]


def uploads(bench):
    """S13"""
    small, large = sample("echo"), program("sqlite")
    count = 5 if bench.quick else 40
    small_rounds = upload_rounds(bench, small, "", b"ping", b"ping", count)
    large_rounds = upload_rounds(bench, large, "?arg=:memory:", b"select 6 * 7;", b"6 * 7=42\n",
                                 1 if bench.quick else 3)

    def figure(name, rounds, which, target=None):
        values = [found[which] for found in rounds]
        alone = [found["alone"] for found in rounds]
        return Figure("S13", name, "ms", values, alone, ALONE, target)

    little = f"a module of {len(small) / 1000:.1f} KB"
    much = f"SQLite, {len(large) / 1e6:.1f} MB"
    return [
        figure(f"{little}: from upload to the first answer, p50", small_rounds, "both", ("<=", 10)),
        figure(f"{little}: the upload, p50", small_rounds, "put"),
        figure(f"{little}: its first call, p50", small_rounds, "call"),
        figure(f"{much}: from upload to the first answer, p50", large_rounds, "both",
               ("ratio <=", 1.2)),
        figure(f"{much}: its first call, p50", large_rounds, "call"),
        figure(f"{much}, uploaded again with one function changed: to the first answer, p50",
               large_rounds, "again"),
    ]
