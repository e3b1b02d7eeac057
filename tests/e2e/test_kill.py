"""R1: the server is killed with SIGKILL at random instants, under a load of asynchronous calls that
chain and fail and are tried again.  What was acknowledged is never lost, and ends in exactly one way.

FAASM_KILLS sets the number of kills (10), FAASM_SEED the seed (random; it is printed)."""
import concurrent.futures
import contextlib
import http.client
import os
import random
import select
import signal
import threading
import time

from calls import ENDED, get, pages, submit, wait
from process import SLEEP, Server
from test_async import ECHO, TRAP, chain

KILLS = int(os.environ.get("FAASM_KILLS", "10"))
SEED = int(os.environ.get("FAASM_SEED", random.randrange(1 << 32)))
CLIENTS = 4
PACE_S = 0.004  # of each: so many calls that all can be looked at afterwards
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
        self.lost = False   # there is no server any more
        self.seed = seed
        self.accepted = {}  # id to what was submitted
        self.ends = {}      # id to the end that was seen of it
        self.lock = threading.Lock()
        self.problems = []

    def submit_one(self, rng, key):
        """With a key, so that it can be sent again when no answer has come."""
        name = rng.choice(("echo", "echo", "echo", "chain", "deep", "nap", "trap"))
        body = rng.randbytes(rng.choice((0, 10, 1000, 40_000)))
        while not self.lost:
            with contextlib.suppress(OSError, http.client.HTTPException):
                call = submit(self.server, f"ada/{name}", body, Idempotency_Key=key)
                break
        else:
            return
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
            self.stop.wait(PACE_S)


def settle(server):
    """Until everything has ended, children's children too."""
    for status in ("running", "queued", "running", "queued"):
        while left := list(pages(server, f"&status={status}", 1000)):
            for record in left:
                wait(server, record["id"])


class Family:
    """The ends of all calls, and who belongs to whom."""

    def __init__(self, records):
        self.records = {record["id"]: record for record in records}
        assert len(self.records) == len(records)  # nothing twice
        self.outputs = {}  # id to what it should have written

    def check(self, call, name, body, parent=None):
        """The call and all below it; each has its parent, and is nobody else's child."""
        record = self.records[call]
        assert call not in self.outputs and record["parent"] == parent
        if name == "trap":
            assert record["status"] == "dead" and record["attempt"] >= 3, record
            self.outputs[call] = b""
            return
        assert record["status"] == "succeeded", record
        self.outputs[call] = {"echo": body, "nap": b"rested"}.get(name, b"kept")
        below = {"deep": "chain", "chain": "echo"}.get(name)
        assert len(record["children"]) == (2 if below else 0)
        for child, piece in zip(record["children"], (slice(0, 2), slice(1, 3))):
            self.check(child, below, below.encode()[piece], call)


def check_outputs(server, outputs):
    """Over one connection, since there are many."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    for call, expected in outputs:
        connection.request("GET", f"/calls/{call}/output")
        response = connection.getresponse()
        assert (response.read(), response.status) == (expected, 200), call
    connection.close()


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
                gone = os.pidfd_open(server.child())
                server.process.kill()  # and the server dies with it
                server.process.wait()
                assert select.select([gone], [], [], 60)[0]
                os.close(gone)
                load.server = server = Server(tmp_path / "data", *options).ready()
        except BaseException:
            load.lost = True
            raise
        finally:
            load.stop.set()
        for client in clients:
            client.result()
    assert not load.problems, load.problems
    settle(server)
    family = Family(list(pages(server, "", 1000)))
    for call, (name, body) in load.accepted.items():
        family.check(call, name, body)
    assert family.outputs.keys() == family.records.keys()  # nothing else
    for call, end in load.ends.items():
        assert family.records[call] == end
    outputs = list(family.outputs.items())
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        for check in [pool.submit(check_outputs, server, outputs[i::CLIENTS]) for i in range(CLIENTS)]:
            check.result()
    assert server.metric("faasm_async_writing") == 0
    server.wait_metric("faasm_sandboxes", 0)
    print(f"{len(load.accepted)} accepted, {len(family.records)} in all, {len(load.ends)} ends seen twice")
    server.stop()
