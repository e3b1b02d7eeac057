"""S10: durable asynchronous calls, each on disk before it is acknowledged, and run."""
import json
import subprocess
import tempfile
import time

from harness import load
from harness.machine import Disturbance
from harness.report import Figure
from harness.servers import Faasm

BARE = "bare SQLite, the same rows"
CONNECTIONS = 64
PATH = "/fa/simon/echo"
UNDER_WAY = ("due", "later", "running", "writing")


def bare(bench, folder):
    """Calls a second of SQLite alone, by (case, askers): bench/commit_cost.c."""
    command = [bench.commit, folder, "1", str(bench.seconds)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {(line["case"], line["askers"]): line["same_calls_per_s"] for line in found}


def wait_until_ended(server):
    """All that were accepted; how many that are by now."""
    with server.client() as client:
        while True:
            metrics = client.metrics()
            if not any(metrics[f"faasm_async_{what}"] for what in UNDER_WAY):
                return metrics["faasm_async_ended_total"]
            time.sleep(0.002)


def submit_and_run(server, seconds):
    """Calls a second, from the first submit to the last end."""
    before = wait_until_ended(server)
    server.settle()
    start = time.perf_counter()
    load.post(server, PATH, seconds, CONNECTIONS, 100)
    ended = wait_until_ended(server) - before
    return ended / (time.perf_counter() - start)


def submit_to_result(bench, server, count):
    """µs from a submit to its result, one after the other; the median (bench/roundtrip.c)."""
    command = [bench.roundtrip, server.address, PATH, str(count)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["p50_us"]


def durable_calls(bench):
    """S10"""
    rates, bare_rates, times, commit_times = [], [], [], []
    # On the disk of the results, and not on a tmpfs.
    with tempfile.TemporaryDirectory(prefix="faasm-bench-", dir=".") as data, Faasm(
        bench.program, data, bench.samples
    ) as server:
        server.wait_ready()
        submit_to_result(bench, server, 20)
        disturbance = Disturbance()
        for _ in range(bench.rounds):
            found = bare(bench, ".")  # longer than the server keeps an idle connection
            bare_rates.append(found["direct", CONNECTIONS])
            commit_times.append(1e6 / found["accept", 1])
            rates.append(submit_and_run(server, bench.seconds))
            times.append(submit_to_result(bench, server, 50 if bench.quick else 300))
        foreign = max(0.0, disturbance.end(0.0) - 2)
    name = f"durable calls at {CONNECTIONS} connections, accepted, run, result on disk"
    late = "submit to result, one connection: p50"
    return [
        Figure("S10", name, "/s", rates, bare_rates, BARE, ("ratio >=", 0.4), foreign),
        Figure("S10", late, "us", times, commit_times, "one commit", ("ratio <=", 3), foreign),
    ]
