"""S15: what comes of three times as many calls as can be done.

Calls that burn 5 ms of CPU each.  First as many as the server can do, by 64 connections that wait
for their answers: its capacity.  Then three times that rate, by the clock.  What is answered 200 is
goodput; the rest must be refused with 429 or 503, at once.  Both take turns.
"""
import tempfile
import threading
import time

from harness.modules import sample
from harness.openloop import OpenLoop, calibrate, punctually
from harness.report import Figure
from harness.servers import Faasm, family, proportional_bytes
from harness.wire import Client, percentile

PATCH = "Content-Type: application/merge-patch+json\r\n"
TIMES = 3  # the capacity
QUEUE_LENGTH = 64  # of the user
ROUNDS_MAX = 3  # of 40 s


def capacity(server, body, seconds, connections=64):
    """Calls a second that are done when nobody asks for more."""
    until = time.perf_counter() + seconds
    counts = []

    def ask():
        done = 0
        with Client(server.address) as client:
            while time.perf_counter() < until:
                done += client.call("POST", "/f/alice/cpu", body).status == 200
        counts.append(done)

    threads = [threading.Thread(target=ask) for _ in range(connections)]
    since = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - since)


def overload(server, body, rate, seconds):
    loop = OpenLoop(server.address, "/f/alice/cpu", lambda _: body, rate, seconds, connections=64)
    since = time.perf_counter()
    punctually(loop.run)
    loop.seconds = time.perf_counter() - since
    loop.bytes = proportional_bytes(family(server.pid))
    return loop


def figures_of(found):
    loops = [loop for _, loop in found]
    could = [rate for rate, _ in found]
    good = [loop.count_of(200) / loop.seconds for loop in loops]
    refused = [loop.latencies_ms(429, 503) or [0] for loop in loops]
    other = [loop.lost + len(loop.answers) - loop.count_of(200, 429, 503) for loop in loops]
    return [
        Figure("S15", "goodput", "/s", good, could, "capacity", ("ratio >=", 0.9)),
        Figure("S15", "refused", "/s", [len(ms) / loop.seconds for ms, loop in zip(refused, loops)]),
        Figure("S15", "refusal, p99", "ms", [percentile(ms, 99) for ms in refused], target=("<=", 5)),
        Figure("S15", "answer of those that were done, p99", "ms",
               [percentile(loop.latencies_ms(200) or [0], 99) for loop in loops]),
        Figure("S15", "neither done nor refused", "", other, target=("<=", 0)),
        Figure("S15", "memory of all processes", "MB", [loop.bytes / 1e6 for loop in loops]),
        Figure("S15", "lateness of the generator, p99", "ms",
               [percentile(loop.lateness_ms, 99) for loop in loops]),
    ]


def overloads(bench):
    seconds = 3 if bench.quick else 30
    found = []
    with tempfile.TemporaryDirectory(prefix="faasm-overload-") as data:
        with Faasm(bench.program, data) as server:
            server.wait_ready()
            with Client(server.address) as client:
                client.upload("/f/alice/cpu", sample("cpu"))
                patch = b'{"quotas":{"queue_length":%d}}' % QUEUE_LENGTH
                answer = client.call("PATCH", "/users/alice", patch, PATCH)
                if answer.status != 200:
                    raise RuntimeError(f"PATCH: {answer.status} {answer.body!r}")
                iterations, _ = calibrate(client, "/f/alice/cpu")
            body = b"%d" % iterations
            for _ in range(2 if bench.quick else min(bench.rounds, ROUNDS_MAX)):
                could = capacity(server, body, max(2, seconds / 3))
                rate = max(1, round(could * TIMES))
                found.append((could, overload(server, body, rate, seconds)))
    return figures_of(found)
