"""S1, S3, S4: the echo over HTTP against the same HTTP library in plain C (bench/rawecho.c)."""
import contextlib
import os
import tempfile

from harness import load
from harness.report import Figure
from harness.servers import Faasm, RawEcho

PATH = "/f/simon/echo"
RAW = "library alone"
LARGE_CONNECTION_BYTES = 66 << 10  # as many as the server gives each connection


class Placement:
    """Where the servers and the load generator run."""

    def __init__(self, name, threads=0, server_cores=None, client_cores=None):
        self.name = name
        self.threads = threads
        self.server_cores = server_cores
        self.client_cores = client_cores

    @contextlib.contextmanager
    def servers(self, bench, connection_bytes):
        with tempfile.TemporaryDirectory(prefix="faasm-bench-") as data, Faasm(
            bench.program, data, bench.samples, self.threads, cores=self.server_cores
        ) as ours, RawEcho(
            bench.rawecho, self.threads, connection_bytes, cores=self.server_cores
        ) as raw:
            ours.wait_ready()
            yield ours, raw


def placements():
    found = [Placement("all cores")]
    if os.cpu_count() >= 2:
        found.append(Placement("a core each", 1, [0], [1]))
    return found


def measure(bench, placement, connections, body_bytes):
    # The reference gets the memory with which it is fastest.
    connection_bytes = LARGE_CONNECTION_BYTES if body_bytes >= 65536 else 0
    with placement.servers(bench, connection_bytes) as servers:
        for server in servers:
            load.probe(server, PATH, body_bytes)

        def run(server, seconds):
            return load.post(server, PATH, seconds, connections, body_bytes, placement.client_cores)

        for server in servers:
            run(server, 1)
        ours, raw = servers
        return load.alternate(
            bench.rounds, lambda: run(ours, bench.seconds), lambda: run(raw, bench.seconds)
        )


def throughput(bench):
    """S1"""
    figures = []
    for placement in placements():
        found = measure(bench, placement, 32, 100)
        name = f"echo of 100 bytes, 32 connections, {placement.name}"
        cpu = f"{name}: server CPU"
        foreign = found.foreign()
        figures += [
            Figure("S1", name, "/s", *found.of("rate"), RAW, ("ratio >=", 0.85), foreign),
            Figure("S1", cpu, "us", *found.of("cpu_us"), RAW, None, foreign),
        ]
    return figures


def latency(bench):
    """S3"""
    figures = []
    for placement in placements():
        found = measure(bench, placement, 1, 100)
        name = f"latency, one connection, {placement.name}"
        target = ("difference <=", 8)
        figures += [
            Figure("S3", f"{name}: p50", "us", *found.of("p50_us"), RAW, target, found.foreign()),
            Figure("S3", f"{name}: p99", "us", *found.of("p99_us"), RAW, None, found.foreign()),
        ]
    return figures


def bodies(bench):
    """S4"""
    figures = []
    for size, name in ((0, "0 bytes"), (4096, "4 KiB"), (65536, "64 KiB"), (1 << 20, "1 MiB")):
        found = measure(bench, placements()[0], 32, size)
        name = f"echo of {name}, 32 connections"
        target = ("ratio >=", 0.75)
        figures.append(Figure("S4", name, "/s", *found.of("rate"), RAW, target, found.foreign()))
    return figures
