"""The servers that stand beside each other in a table, by the names that they have there."""
import contextlib
import json
import os
import tempfile

from harness import load
from harness.peers import Cgi, Nginx, WasmtimeServe, wasmtime_program
from harness.servers import Faasm, RawEcho

OURS = "Faasm"
RAW = "library alone"
NGINX = "nginx, return 200"
WASMTIME = "wasmtime serve"
CGI = "process a request (CGI)"

PATH = "/f/simon/echo"
CONCURRENCY = 1000  # of a function, by default
LARGE_BODY_BYTES = 65536
LARGE_CONNECTION_BYTES = 66 << 10  # as many as the server gives each connection


class Placement:
    """Where the servers and the load generator run."""

    def __init__(self, name, threads=0, server_cores=None, client_cores=None):
        self.name = name
        self.threads = threads  # of each server; 0: one a core
        self.server_cores = server_cores
        self.client_cores = client_cores


ALL_CORES = Placement("all cores")
A_CORE_EACH = Placement("a core each", 1, [0], [1])


def placements():
    return [ALL_CORES, A_CORE_EACH] if os.cpu_count() >= 2 else [ALL_CORES]


def _start(name, bench, folder, placement, body_bytes):
    how = {"cores": placement.server_cores}
    if name == OURS:
        server = Faasm(bench.program, folder, bench.samples, placement.threads, **how)
        return server.wait_ready()
    if name == RAW:  # gets the memory with which it is fastest
        connection_bytes = LARGE_CONNECTION_BYTES if body_bytes >= LARGE_BODY_BYTES else 0
        return RawEcho(bench.rawecho, placement.threads, connection_bytes, **how)
    if name == NGINX:
        return Nginx(folder, placement.threads, **how)
    if name == WASMTIME:
        return WasmtimeServe(wasmtime_program(), folder, **how)
    return Cgi(bench.cgi, bench.cgi_echo, **how)


def _raise_concurrency(server, connections):
    """Near its limit a function's calls are refused a little early (sched/lease.h)."""
    patch = json.dumps({"limits": {"concurrency": 2 * connections}}).encode()
    with server.client() as client:
        kind = "Content-Type: application/merge-patch+json\r\n"
        answer = client.call("PATCH", PATH, patch, kind)
    if answer.status != 200:
        raise RuntimeError(f"PATCH {PATH}: {answer.status} {answer.body!r}")


@contextlib.contextmanager
def lineup(bench, names, placement=ALL_CORES, body_bytes=100, connections=32):
    """{name: server}, each started and found to answer rightly."""
    with contextlib.ExitStack() as stack:
        servers = {}
        for name in names:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="faasm-bench-"))
            server = stack.enter_context(_start(name, bench, folder, placement, body_bytes))
            load.probe(server, PATH, body_bytes)
            if name == OURS and 2 * connections > CONCURRENCY:
                _raise_concurrency(server, connections)
            servers[name] = server
        yield servers
