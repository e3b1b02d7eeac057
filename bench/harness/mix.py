"""The calls of bench/million: what is asked, and what exactly has to come back.

Each call carries its number in its body wherever it can, so that an answer meant for another call
does not pass."""
import json
import random

from harness.modules import guest, sample
from harness.wire import request

USER = "million"
SMALL_BYTES = 1024  # limit input_bytes of the function `small`
INPUT_BYTES = 16 << 20  # the default of it
DOUBLED = bytes(2 * i % 256 for i in range(256))

# In a hundred calls.
SHARES = {"good": 80, "trap": 9, "exit": 5, "unknown": 3, "oversized": 2, "endless": 1}

# Sizes of good inputs; the small ones are the rule.
SIZES = [0, 1, 16, 100, 100, 100, 1000, 1000, 4096, 16384]
LARGE_SIZES = [65535, 65536, 65537, 300000, 1 << 20]

TRAPS = {
    "unreachable": {"code": "guest_trap", "trap": "unreachable"},
    "out_of_bounds": {"code": "guest_trap", "trap": "memory_out_of_bounds"},
    "division": {"code": "guest_trap", "trap": "division_by_zero"},
    "null_call": {"code": "guest_trap", "trap": "indirect_call_to_null"},
    "bad_pointer": {"code": "guest_trap", "trap": "bad_pointer"},
    "recursion": {"code": "guest_limit", "limit": "guest_stack_bytes"},
}


def upload(client):
    """The functions that the mix calls."""
    for name in ("echo", "x2", "dummy", "cpu"):
        client.upload(f"/f/{USER}/{name}", sample(name))
    for name in (*TRAPS, "exit"):
        client.upload(f"/f/{USER}/{name}", guest(name))
    client.upload(f"/f/{USER}/small?limit.input_bytes={SMALL_BYTES}", sample("echo"))
    client.upload(f"/f/{USER}/endless?limit.cpu_ms=5", guest("endless"))


def cpu_output(iterations):
    """What func/function_cpu.c answers."""
    state = 88172645463325252
    for _ in range(iterations):
        state ^= state << 13 & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 7
        state ^= state << 17 & 0xFFFFFFFFFFFFFFFF
    return b"%016x" % state


class Call:
    """A request, and what has to come back: these bytes, or a problem with these members."""

    __slots__ = ("kind", "request", "status", "body", "problem", "sent_at")

    def __init__(self, kind, data, status, body=None, problem=None):
        self.kind = kind
        self.request = data
        self.status = status
        self.body = body
        self.problem = problem

    def wrong(self, answer):
        """What is wrong with the answer, or None."""
        if answer.status != self.status:
            return f"status {answer.status}, not {self.status}"
        if self.body is None:
            return self._wrong_problem(answer)
        if answer.body != self.body:
            return f"a body that is not the expected one of {len(self.body)} bytes"
        if b"\r\nX-Faasm-Exit-Code: 0\r\n" not in answer.head:
            return "no exit code 0 in the head"
        return None

    def _wrong_problem(self, answer):
        if b"\r\nContent-Type: application/problem+json\r\n" not in answer.head:
            return "an error that is no application/problem+json"
        try:
            found = json.loads(answer.body)
        except ValueError as error:
            return f"a body that is no JSON: {error}"
        for key, value in {"status": self.status, **self.problem}.items():
            if found.get(key) != value:
                return f"{key} is {found.get(key)!r}, not {value!r}"
        if found.get("id") != answer.header("X-Faasm-Call-Id"):
            return "the ids in body and head differ"
        return None


class Mix:
    """An endless, repeatable series of calls with exactly these shares in every hundred."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.filling = self.random.randbytes(max(LARGE_SIZES))
        self.cpu = [(b"%d" % n, cpu_output(n)) for n in (0, 1, 100, 20000)]
        self.number = 0
        self.block = []

    def next(self):
        if not self.block:
            self.block = [kind for kind, share in SHARES.items() for _ in range(share)]
            self.random.shuffle(self.block)
        self.number += 1
        return getattr(self, self.block.pop())()

    def input(self, size):
        """The call's number, then noise."""
        mark = b"%016d" % self.number
        if size <= len(mark):
            return mark[len(mark) - size :]
        return mark + self.filling[: size - len(mark)]

    def good(self):
        choice = self.random.random()
        if choice < 0.05:
            data, output = self.random.choice(self.cpu)
            return Call("good", request("POST", f"/f/{USER}/cpu", data), 200, output)
        if choice < 0.10:
            data = request("POST", f"/f/{USER}/dummy", self.input(16))
            return Call("good", data, 200, bytes(range(5)))
        size = self.random.choice(SIZES if choice < 0.985 else LARGE_SIZES)
        body = self.input(size)
        if choice < 0.40:
            doubled = body.translate(DOUBLED)
            return Call("good", request("POST", f"/f/{USER}/x2", body), 200, doubled)
        return Call("good", request("POST", f"/f/{USER}/echo", body), 200, body)

    def trap(self):
        name = self.random.choice(tuple(TRAPS))
        data = request("POST", f"/f/{USER}/{name}", self.input(self.random.choice(SIZES)))
        return Call("trap", data, 502, problem=TRAPS[name])

    def exit(self):
        code = self.random.randint(1, 255)
        data = request("POST", f"/f/{USER}/exit", bytes([code]) + self.input(16))
        problem = {"code": "guest_exit", "exit_code": code, "output": "leaving\n"}
        return Call("exit", data, 500, problem=problem)

    def unknown(self):
        name = self.random.choice((f"{USER}/unknown{self.number}", f"nobody{self.number}/echo"))
        data = request("POST", f"/f/{name}", self.input(self.random.choice(SIZES)))
        problem = {"code": "not_found", "detail": f"no function '{name}'"}
        return Call("unknown", data, 404, problem=problem)

    def oversized(self):
        """Three small ones, which are read and leave the connection open; of the large one only the
        beginning is sent, and the answer must not wait for the rest."""
        if self.random.random() < 0.75:
            size = self.random.choice((SMALL_BYTES + 1, 4096, 60000))
            data = request("POST", f"/f/{USER}/small", self.input(size))
        else:
            size = INPUT_BYTES + 1
            head = f"POST /f/{USER}/echo HTTP/1.1\r\nHost: bench\r\nContent-Length: {size}\r\n\r\n"
            data = head.encode() + self.input(8192)
        return Call("oversized", data, 413, problem={"code": "too_large"})

    def endless(self):
        data = request("POST", f"/f/{USER}/endless", self.input(16))
        problem = {"code": "guest_limit", "limit": "cpu_ms"}
        return Call("endless", data, 502, problem=problem)
