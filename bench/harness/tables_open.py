"""open: latency at fixed rates, whether or not the server keeps up (bench/openloop.c)."""
import json
import os
import subprocess

from harness import plots
from harness.lineup import A_CORE_EACH, OURS, PATH, RAW, lineup
from harness.load import Load, children_seconds, take_turns
from harness.machine import Disturbance
from harness.report import Matrix

CONNECTIONS = 64
SHARES = (25, 50, 75, 90)  # per cent of what the server can do
COLUMNS = {
    "asked": "calls/s by the clock",
    "rate": "answers/s",
    "p50_us": "p50, us",
    "p99_us": "p99, us",
    "p999_us": "p99.9, us",
    "late_p99_us": "generator late, p99, us",
    "errors": "errors",
}


def capacity(server, seconds):
    """Calls a second that the server answers when asked as fast as it can."""
    load = Load(PATH, CONNECTIONS, cores=A_CORE_EACH.client_cores)
    return load.run(server, seconds)["rate"]


def by_the_clock(bench, server, rate):
    rate = round(rate)
    cores = ",".join(map(str, A_CORE_EACH.client_cores))
    command = ["taskset", "-c", cores, bench.openloop, server.address, PATH, str(rate)]
    command += [str(bench.seconds), str(CONNECTIONS)]
    server.settle()
    server_before, client_before = server.cpu_seconds(), children_seconds()
    disturbance = Disturbance()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    client_used = children_seconds() - client_before
    found = json.loads(done.stdout)
    found["foreign"] = disturbance.end(server.cpu_seconds() - server_before + client_used)
    found["asked"] = rate
    return found


def open_loop(bench):
    """open"""
    if os.cpu_count() < 2:
        print("open: not run: the generator needs a core of its own", flush=True)
        return []
    rows = []
    with lineup(bench, (OURS, RAW), A_CORE_EACH) as servers:
        for server in servers.values():
            capacity(server, 1)  # to warm up
        for share in SHARES:

            def run(name):
                able = capacity(servers[name], 1)
                return by_the_clock(bench, servers[name], able * share / 100)

            runs = {name: lambda name=name: run(name) for name in servers}
            found = take_turns(bench.rounds, runs)
            under = f"{share} % of what it can do"
            rows += [(under, name, rounds) for name, rounds in found.items()]
    title = f"echo of 100 bytes by the clock, {CONNECTIONS} connections, a core each"
    percentiles = {"p50": "p50_us", "p99": "p99_us", "p99.9": "p999_us"}
    draw = plots.curves("asked", percentiles)
    return [Matrix("open", title, COLUMNS, rows, draw)]
