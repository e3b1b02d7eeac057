"""R1: the server is killed with SIGKILL at random instants, under a load of asynchronous calls that
chain and fail and are tried again.  What was acknowledged is never lost, and ends in exactly one way.

FAASM_KILLS sets the number of kills (10), FAASM_SEED the seed (random; it is printed)."""
import concurrent.futures
import contextlib
import http.client
import os
import random
import signal
import threading
import time

from calls import ENDED, get, output, pages, submit, wait
from process import SLEEP, Server
from test_async import ECHO, TRAP, chain

KILLS = int(os.environ.get("FAASM_KILLS", "10"))
SEED = int(os.environ.get("FAASM_SEED", random.randrange(1 << 32)))
CLIENTS = 4
FRESH_SUPERVISOR = 4  # kills, then it goes too, and with it the pause that it makes before a restart
NAPS = 20  # attempts of the naps: a kill costs all that run one

MODULES = {
    "echo": (ECHO, f"?limit.attempts={NAPS}"),
    "chain": (chain("echo"), f"?limit.attempts={NAPS}"),
    "deep": (chain("chain"), f"?limit.attempts={NAPS}"),
    "nap": (SLEEP % 20_000_000, f"?limit.attempts={NAPS}"),
    "trap": (TRAP, "?limit.attempts=3&limit.retry_ms=5ms"),
}


class Load:
    """Clients that submit calls until they are told to stop, whatever happens to the server."""

    def __init__(self, seed):
        self.server = None  # replaced by each new one
        self.stop = threading.Event()
        self.seed = seed
        self.accepted = {}  # id to what was submitted
        self.ends = {}      # id to the end that was seen of it
        self.lock = threading.Lock()
        self.problems = []

    def submit_one(self, rng, key):
        """With a key, so that it can be sent again when no answer has come."""
        name = rng.choice(("echo", "echo", "echo", "chain", "deep", "nap", "trap"))
        body = rng.randbytes(rng.choice((0, 10, 1000, 40_000)))
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                call = submit(self.server, f"ada/{name}", body, Idempotency_Key=key)
                break
        with self.lock:
            before = self.accepted.setdefault(call, (name, body))
            if before != (name, body):
                self.problems.append(f"{call} was two calls")

    def look_at_one(self, rng):
        with self.lock:
            call = rng.choice(list(self.accepted)) if self.accepted else None
        if not call:
            return
        try:
            record = get(self.server, call)
        except (OSError, http.client.HTTPException):
            return
        except AssertionError as problem:
            self.problems.append(f"{call}: {problem}")
            return
        if record["status"] in ENDED:
            with self.lock:
                before = self.ends.setdefault(call, record)
            if before != record:
                self.problems.append(f"two ends: {before} {record}")

    def client(self, number):
        rng = random.Random(f"{self.seed} {number}")
        count = 0
        while not self.stop.is_set():
            count += 1
            self.submit_one(rng, f"{number}-{count}")
            self.look_at_one(rng)


def check_end(server, call, name, body):
    record = wait(server, call)
    if name == "trap":
        assert record["status"] == "dead" and record["attempt"] >= 3, record
        return record
    assert record["status"] == "succeeded", record
    expected = {"echo": body, "nap": b"rested"}.get(name, b"kept")
    assert output(server, call) == expected
    assert len(record["children"]) == (2 if name in ("chain", "deep") else 0)
    return record


def check_family(server, call, name, body, family):
    """The call and all below it; each has its parent, and is nobody else's child."""
    assert call not in family
    family[call] = name
    record = check_end(server, call, name, body)
    for child, piece in zip(record["children"], (slice(0, 2), slice(1, 3))):
        of = {"deep": "chain", "chain": "echo"}[name]
        assert get(server, child)["parent"] == call
        check_family(server, child, of, of.encode()[piece], family)


def test_kills(tmp_path):
    print(f"FAASM_SEED={SEED} FAASM_KILLS={KILLS}")
    rng = random.Random(SEED)
    load = Load(SEED)
    options = ("--set", "retention_ms=24h")
    load.server = server = Server(tmp_path / "data", *options).ready()
    for name, (text, query) in MODULES.items():
        server.put(f"ada/{name}", text, query)
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(load.client, number) for number in range(CLIENTS)]
        try:
            for kill in range(1, KILLS + 1):
                time.sleep(rng.uniform(0.005, 0.3))  # the random instant
                if kill % FRESH_SUPERVISOR:
                    os.kill(server.child(), signal.SIGKILL)
                    server.wait_line(" ready ", kill % FRESH_SUPERVISOR + 1)
                    continue
                server.process.kill()  # and the server dies with it
                server.process.wait()
                load.server = server = Server(tmp_path / "data", *options).ready()
        finally:
            load.stop.set()
        for client in clients:
            client.result()
    assert not load.problems, load.problems
    family = {}
    for call, (name, body) in load.accepted.items():
        check_family(server, call, name, body, family)
    for call, end in load.ends.items():
        assert get(server, call) == end
    listed = [one["id"] for one in pages(server, "", 1000)]
    assert sorted(listed) == sorted(family)  # nothing else, and nothing twice
    assert server.metric("faasm_async_writing") == 0
    server.wait_metric("faasm_sandboxes", 0)
    print(f"{len(load.accepted)} accepted, {len(family)} in all, {len(load.ends)} ends seen twice")
    server.stop()
