"""S8: what a user notices of a neighbour who burns all CPU that there is.

User A keeps 64 connections busy, first with calls that burn 5 ms of CPU each, then with endless
loops, all at once.  User B calls an echo 100 times a second, by the clock, whether or not the last
answer has come; a late answer is late from the moment it was due.  B alone and B beside A alternate.
"""
import multiprocessing
import os
import queue
import select
import tempfile
import time

from harness.modules import sample
from harness.openloop import OpenLoop, calibrate, punctually
from harness.report import Figure
from harness.servers import Faasm
from harness.wire import Client, connect, parse, percentile, request

SPIN = b'(module (memory (export "memory") 1) (func (export "_start") (loop $l (br $l))))'
CONNECTIONS = 64  # of user A
RATE = 100  # calls of user B a second


# --- user A ---------------------------------------------------------------------------------------


def burn(address, data, connections, started, stop, results):
    """Calls without a pause on all connections until told to stop; a process of its own."""
    poll = select.epoll()
    links = {}
    for _ in range(connections):
        link = connect(address)
        links[link.fileno()] = link
        poll.register(link.fileno(), select.EPOLLIN)
        link.sendall(data)
    ended = errors = 0
    started.set()
    since = time.perf_counter()
    while not stop.is_set():
        for descriptor, _ in poll.poll(0.1):
            answer = parse(links[descriptor].recv(65536))  # a short answer comes in one piece
            ended += 1
            errors += not answer or answer.status != 200
            links[descriptor].sendall(data)
    results.put((ended / (time.perf_counter() - since), errors))


class Burner:
    """User A, as long as the block lasts."""

    def __init__(self, *what):
        context = multiprocessing.get_context("fork")
        self.started, self.stop = context.Event(), context.Event()
        self.results = context.Queue()
        self.process = context.Process(
            target=burn, args=(*what, self.started, self.stop, self.results), daemon=True
        )

    def __enter__(self):
        self.process.start()
        if not self.started.wait(30):
            raise RuntimeError("user A could not connect")
        time.sleep(0.5)
        return self

    def __exit__(self, kind, *_):
        self.stop.set()
        try:
            if not kind:
                self.rate, self.errors = self.results.get(timeout=30)
        except queue.Empty:
            raise RuntimeError("user A has failed") from None
        finally:
            self.process.join(30)


# --- user B ---------------------------------------------------------------------------------------


def echo_body(number):
    return b"call %d" % number


class Listener:
    """User B."""

    def __init__(self, address, rate, seconds):
        loop = OpenLoop(address, "/f/bob/echo", echo_body, rate, seconds)
        punctually(loop.run)
        good = [answer for answer in loop.answers
                if answer[0] == 200 and answer[3] == echo_body(answer[2])]
        self.latencies_ms = loop.latencies_ms()
        self.lateness_ms = loop.lateness_ms
        self.errors = loop.count - len(good)


# --- rounds ---------------------------------------------------------------------------------------


def run_rounds(server, rounds, seconds, data):
    """[(alone, beside, rate of A, errors of A)]"""
    found = []

    def listen():
        return Listener(server.address, RATE, seconds)

    def beside():
        with Burner(server.address, data, CONNECTIONS) as burner:
            loop = listen()
        return loop, burner

    for number in range(rounds):
        if number % 2 == 0:
            alone = listen()
            loop, burner = beside()
        else:
            loop, burner = beside()
            alone = listen()
        found.append((alone, loop, burner.rate, burner.errors))
    return found


def figures_of(found, name):
    def both(value):
        return [value(loop) for _, loop, _, _ in found], [value(alone) for alone, _, _, _ in found]

    def latency(percent):
        return both(lambda loop: percentile(loop.latencies_ms, percent))

    beside = "B alone"
    late = both(lambda loop: percentile(loop.lateness_ms, 99))
    return [
        Figure("S8", f"{name}: p50", "ms", *latency(50), beside),
        Figure("S8", f"{name}: p99", "ms", *latency(99), beside, ("difference <=", 3)),
        Figure("S8", f"{name}: p99, absolute", "ms", *latency(99), beside, ("<=", 4)),
        Figure("S8", f"{name}: slowest", "ms", *latency(100), beside),
        Figure("S8", f"{name}: errors", "", *both(lambda loop: loop.errors), beside, ("<=", 0)),
        Figure("S8", f"{name}: lateness of the generator, p99", "ms", *late, beside),
    ]


def figures_of_burner(found, cpu_us):
    capacity = os.cpu_count() * 1e6 / cpu_us
    rates = [rate for _, _, rate, _ in found]
    errors = [failed for _, _, _, failed in found]
    burning = f"user A: calls of {cpu_us / 1000:.1f} ms of CPU"
    return [
        Figure("S8", burning, "/s", rates, [capacity] * len(rates), "all cores' CPU"),
        Figure("S8", "user A: errors", "", errors, target=("<=", 0)),
    ]


def neighbours(bench):
    seconds = 2 if bench.quick else 10  # of each half of a round
    with tempfile.TemporaryDirectory(prefix="faasm-neighbour-") as data:
        with Faasm(bench.program, data) as server:
            server.wait_ready()
            with Client(server.address) as client:
                client.upload("/f/alice/cpu", sample("cpu"))
                client.upload("/f/bob/echo", sample("echo"))
                client.upload("/f/alice/spin?limit.cpu_ms=1h&limit.wall_ms=1h", SPIN)
                iterations, cpu_us = calibrate(client, "/f/alice/cpu")
            calls = request("POST", "/f/alice/cpu", b"%d" % iterations)
            found = run_rounds(server, bench.rounds, seconds, calls)
            loops = run_rounds(server, bench.rounds, seconds, request("POST", "/f/alice/spin"))
    return [
        *figures_of(found, "beside short calls"),
        *figures_of_burner(found, cpu_us),
        *figures_of(loops, "beside endless loops"),
    ]
