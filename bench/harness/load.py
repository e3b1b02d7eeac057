"""Load by wrk, in alternating rounds on two servers."""
import json
import pathlib
import resource
import shutil
import subprocess

from harness.machine import Disturbance
from harness.servers import cpu_seconds

SCRIPT = pathlib.Path(__file__).resolve().parent.parent / "post.lua"


def check_wrk():
    if not shutil.which("wrk"):
        raise RuntimeError("wrk is missing: apt-get install wrk")


def children_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def post(server, path, seconds, connections=32, body_bytes=100, cores=None):
    """POSTs for some seconds: requests a second, latencies, the server's CPU time a request."""
    pinned = ["taskset", "-c", ",".join(map(str, cores))] if cores else []
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(SCRIPT)]
    command += [f"http://{server.address}{path}", "--", str(body_bytes)]
    pid = server.pid
    server_before, client_before = cpu_seconds(pid), children_seconds()
    disturbance = Disturbance()
    done = subprocess.run(pinned + command, check=True, capture_output=True, text=True)
    server_used = cpu_seconds(pid) - server_before
    found = json.loads(done.stdout.splitlines()[-1])
    found["foreign"] = disturbance.end(server_used + children_seconds() - client_before)
    if found["errors"] or not found["requests"]:
        raise RuntimeError(f"{server.command[0]} {path}: errors: {done.stdout}")
    found["rate"] = found["requests"] / found["duration_us"] * 1e6
    found["cpu_us"] = server_used / found["requests"] * 1e6
    return found


def probe(server, path, body_bytes):
    """The server echoes: before its speed is of interest."""
    body = bytes(i % 251 for i in range(body_bytes))
    with server.client() as client:
        answer = client.call("POST", path, body)
    if answer.status != 200 or answer.body != body:
        raise RuntimeError(f"{server.command[0]} {path} does not echo: {answer.head!r}")


class Rounds:
    """What was found in each round on both servers."""

    def __init__(self):
        self.ours = []
        self.reference = []

    def of(self, key):
        """(ours, reference) of one number."""
        return [found[key] for found in self.ours], [found[key] for found in self.reference]

    def foreign(self):
        return max(found["foreign"] for found in self.ours + self.reference)


def alternate(rounds, ours, reference):
    """Calls both in each round; who is first changes with the round."""
    found = Rounds()
    for number in range(rounds):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            (found.reference if which else found.ours).append((reference if which else ours)())
    return found
