"""S9: what a call costs that another call starts and awaits."""
import tempfile
import time

from harness.machine import Disturbance
from harness.modules import guest
from harness.report import Figure
from harness.servers import Faasm, cpu_seconds
from harness.wire import percentile, request

PLAIN = "plain call by a client"
CHILDREN = 10


def time_calls(client, data, count):
    """µs of each call."""
    found = []
    for _ in range(count):
        before = time.perf_counter_ns()
        answer = client.ask(data)
        found.append((time.perf_counter_ns() - before) / 1000)
        if answer.status != 200:
            raise RuntimeError(f"{answer.status} {answer.body!r}")
    return found


def await_round(server, client, count):
    """By child: what the parent's latency and the server's CPU grow by; beside a plain call."""
    calls = {
        "none": request("POST", "/f/bench/await", (0).to_bytes(4, "little")),
        "children": request("POST", "/f/bench/await", CHILDREN.to_bytes(4, "little")),
        "plain": request("POST", "/f/bench/leaf"),
    }
    latency, cpu = {}, {}
    for name, data in calls.items():
        time_calls(client, data, count // 10)
        before = cpu_seconds(server.pid)
        latency[name] = percentile(time_calls(client, data, count), 50)
        cpu[name] = (cpu_seconds(server.pid) - before) * 1e6 / count
    return {
        "latency": (latency["children"] - latency["none"]) / CHILDREN,
        "cpu": (cpu["children"] - cpu["none"]) / CHILDREN,
        "plain": latency["plain"],
        "plain_cpu": cpu["plain"],
    }


def awaited_children(bench):
    """S9"""
    count = 500 if bench.quick else 5000
    with tempfile.TemporaryDirectory(prefix="faasm-bench-") as data:
        with Faasm(bench.program, data) as server:
            server.wait_ready()
            with server.client() as client:
                for name in ("await", "leaf"):
                    client.upload(f"/f/bench/{name}", guest(name))
                used = time.process_time() + cpu_seconds(server.pid)
                disturbance = Disturbance()
                rounds = [await_round(server, client, count) for _ in range(bench.rounds)]
                used = time.process_time() + cpu_seconds(server.pid) - used
                foreign = disturbance.end(used)

    def of(which):
        return [found[which] for found in rounds]

    name = f"a parent with {CHILDREN} children, by child"
    return [
        Figure("S9", name, "us", of("latency"), of("plain"), PLAIN, ("<=", 15), foreign),
        Figure("S9", f"{name}: server CPU", "us", of("cpu"), of("plain_cpu"), PLAIN, None, foreign),
    ]
