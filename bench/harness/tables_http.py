"""S1, S3, S4: the echo over HTTP against the same HTTP library in plain C (bench/rawecho.c)."""
from harness import load
from harness.lineup import ALL_CORES, OURS, PATH, RAW, lineup, placements
from harness.report import Figure


def measure(bench, placement, connections, body_bytes):
    with lineup(bench, (OURS, RAW), placement, body_bytes) as servers:

        def run(server, seconds):
            return load.post(server, PATH, seconds, connections, body_bytes, placement.client_cores)

        for server in servers.values():
            run(server, 1)
        return load.alternate(
            bench.rounds,
            lambda: run(servers[OURS], bench.seconds),
            lambda: run(servers[RAW], bench.seconds),
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
        found = measure(bench, ALL_CORES, 32, size)
        name = f"echo of {name}, 32 connections"
        target = ("ratio >=", 0.75)
        figures.append(Figure("S4", name, "/s", *found.of("rate"), RAW, target, found.foreign()))
    return figures
