"""Load by wrk, in alternating rounds on several servers."""
import json
import pathlib
import resource
import subprocess
import time

from harness.machine import Disturbance
from harness.servers import proportional_bytes

SCRIPT = pathlib.Path(__file__).resolve().parent.parent / "post.lua"


def children_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Load:
    """What is asked: POSTs of so many bytes to a path, by so many connections."""

    def __init__(self, path, connections=32, body_bytes=100, keep_alive=True, cores=None):
        self.path = path
        self.connections = connections
        self.body_bytes = body_bytes
        self.keep_alive = keep_alive
        self.cores = cores  # of the client

    def command(self, server, seconds):
        pinned = ["taskset", "-c", ",".join(map(str, self.cores))] if self.cores else []
        command = ["wrk", "-t1", f"-c{self.connections}", f"-d{seconds}s", "-s", str(SCRIPT)]
        command += [f"http://{server.address}{self.path}", "--", str(self.body_bytes)]
        return pinned + command + ([] if self.keep_alive else ["close"])

    def run(self, server, seconds):
        """Requests a second, latencies, errors, the server's CPU time a request."""
        server.settle()
        server_before, client_before = server.cpu_seconds(), children_seconds()
        disturbance = Disturbance()
        done = subprocess.run(
            self.command(server, seconds), check=True, capture_output=True, text=True
        )
        client_used = children_seconds() - client_before
        server_used = server.cpu_seconds() - server_before
        found = json.loads(done.stdout.splitlines()[-1])
        found["foreign"] = disturbance.end(server_used + client_used)
        if not found["requests"]:
            raise RuntimeError(f"{server.command[0]} {self.path}: no answer: {done.stdout}")
        found["rate"] = found["requests"] / found["duration_us"] * 1e6
        found["cpu_us"] = server_used / found["requests"] * 1e6
        return found

    def warm_up(self, server):
        """A second of it; the memory of all the server's processes meanwhile."""
        command = self.command(server, 1)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as client:
            time.sleep(0.7)  # all connections are open and busy by then
            found = memory_bytes(server)
        if client.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: exit code {client.returncode}")
        return found


def memory_bytes(server):
    total = 0
    for pid in server.family():
        try:
            total += proportional_bytes([pid])
        except OSError:  # it has ended
            pass
    return total


def post(server, path, seconds, connections=32, body_bytes=100, cores=None):
    """POSTs for some seconds; an error if there was any."""
    found = Load(path, connections, body_bytes, cores=cores).run(server, seconds)
    if found["errors"]:
        raise RuntimeError(f"{server.command[0]} {path}: {found['errors']} errors")
    return found


def probe(server, path, body_bytes):
    """The server answers rightly: before its speed is of interest."""
    body = bytes(i % 251 for i in range(body_bytes))
    with server.client() as client:
        answer = client.call("POST", path, body)
    if answer.status != 200 or answer.body != server.answer_to(body):
        raise RuntimeError(f"{server.command[0]} {path} answers wrongly: {answer.head!r}")


class Rounds:
    """What was found in each round on ours and a reference."""

    def __init__(self, ours, reference):
        self.ours = ours
        self.reference = reference

    def of(self, key):
        """(ours, reference) of one number."""
        return [found[key] for found in self.ours], [found[key] for found in self.reference]

    def foreign(self):
        return max(found["foreign"] for found in self.ours + self.reference)


def take_turns(rounds, runs):
    """Calls each of {name: run} once a round; who is first changes with the round.  What each gave,
    in lists by name."""
    names = list(runs)
    found = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(runs[name]())
    return found


def alternate(rounds, ours, reference):
    found = take_turns(rounds, {"ours": ours, "reference": reference})
    return Rounds(found["ours"], found["reference"])
