"""Calls by the clock: each at its time, whether or not the last answer has come; and work of a known size."""
import os
import select
import statistics
import time

from harness.wire import connect, parse, request

CALL_US = 5000  # of CPU, a call of calibrate()
LATE_SECONDS = 10  # after the last call


def calibrate(client, path):
    """The iterations of func/function_cpu.c that take CALL_US, and what they take."""

    def cpu_us(iterations):
        taken = []
        for _ in range(9):
            answer = client.call("POST", path, b"%d" % iterations)
            if answer.status != 200:
                raise RuntimeError(f"cpu: {answer.status} {answer.body!r}")
            taken.append(int(answer.header("X-Faasm-Cpu-Us")))
        return statistics.median(taken)

    iterations = 1000000
    for _ in range(4):
        iterations = max(1, round(iterations * CALL_US / max(1, cpu_us(iterations))))
    return iterations, cpu_us(iterations)


class OpenLoop:
    """Calls at fixed times; what came of them, and how late the generator itself was.

    `body_of` makes the body of the n-th call.  Times count from when a call was due."""

    def __init__(self, address, path, body_of, rate, seconds, connections=16):
        self.address = address
        self.path = path
        self.body_of = body_of
        self.period = 1 / rate
        self.count = rate * seconds
        self.free = [connect(address) for _ in range(connections)]
        self.under_way = {}  # from descriptor to (socket, due, number)
        self.poll = select.epoll()
        self.answers = []  # (status, ms, number, body)
        self.lateness_ms = []
        self.lost = 0  # connections that ended without an answer, and calls without one

    def run(self):
        since = time.perf_counter() + 0.01
        sent = 0
        while sent < self.count or self.under_way:
            now = time.perf_counter()
            due = since + sent * self.period
            if sent < self.count and now >= due:
                self.send(sent, due)
                sent += 1
                continue
            wait = due - now if sent < self.count else due + LATE_SECONDS - now
            if wait <= 0:
                break
            for descriptor, _ in self.poll.poll(wait):
                self.receive(descriptor)
        self.lost += len(self.under_way)
        for link in [*self.free, *(link for link, _, _ in self.under_way.values())]:
            link.close()
        self.poll.close()
        return self

    def send(self, number, due):
        link = self.free.pop() if self.free else connect(self.address)
        self.lateness_ms.append((time.perf_counter() - due) * 1000)
        link.sendall(request("POST", self.path, self.body_of(number)))
        self.under_way[link.fileno()] = (link, due, number)
        self.poll.register(link.fileno(), select.EPOLLIN)

    def receive(self, descriptor):
        link, due, number = self.under_way.pop(descriptor)
        self.poll.unregister(descriptor)
        answer = parse(link.recv(65536))  # a short answer comes in one piece
        if not answer:
            self.lost += 1
            link.close()
            return
        ms = (time.perf_counter() - due) * 1000
        self.answers.append((answer.status, ms, number, answer.body))
        self.free.append(link)

    def latencies_ms(self, *statuses):
        return [ms for status, ms, _, _ in self.answers if not statuses or status in statuses]

    def count_of(self, *statuses):
        return len(self.latencies_ms(*statuses))


def be_punctual():
    """Before all other processes: who calls stands for somebody on another machine, whom our lack of
    CPU does not slow down.  It needs a right; without it the generator's lateness says more."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        return True
    except OSError:
        print("no right to real-time priority: the generator competes with the server for CPU")
        return False


def be_ordinary():
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def punctually(run):
    """What `run` gives, called with priority where that is allowed."""
    punctual = be_punctual()
    try:
        return run()
    finally:
        if punctual:
            be_ordinary()
