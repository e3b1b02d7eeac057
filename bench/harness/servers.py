"""Servers under test, and what the kernel knows about their processes."""
import collections
import os
import re
import signal
import subprocess
import threading
import time

from harness.wire import Client

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
LINES_MAX = 20000
SETTLE_TRIES = 5000  # 2 ms each

# Switches of runtimes and allocators that make a server another one, and are set for other reasons:
# RUST_BACKTRACE=1 alone costs `wasmtime serve` a sixth of its requests.
TUNING = ("RUST_", "TOKIO_", "MALLOC_", "MIMALLOC_")


# --- processes ------------------------------------------------------------------------------------


def stat_fields(pid):
    """/proc/PID/stat from the third field (state) on; None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _by_parent():
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        fields = stat_fields(name)
        if fields and fields[0] != "Z":
            found.setdefault(int(fields[1]), []).append(int(name))
    return found


def children(pid):
    return _by_parent().get(pid, [])


def family(pid):
    """A process and all below it."""
    by_parent = _by_parent()
    found = [pid]
    for parent in found:
        found += by_parent.get(parent, [])
    return found


def cpu_seconds(pid):
    """User and system time of a process, all threads, ended ones too."""
    fields = stat_fields(pid)
    if not fields:
        raise RuntimeError(f"process {pid} has ended")
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def family_cpu_seconds(pid):
    """Of a process and all below it, those that have ended too."""
    fields = filter(None, map(stat_fields, family(pid)))
    return sum(sum(map(int, found[11:15])) for found in fields) / TICKS_PER_SECOND


def proportional_bytes(pids):
    """Resident memory, what is shared counted in equal parts."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            total += int(re.search(r"^Pss: *(\d+) kB", file.read(), re.M).group(1)) * 1024
    return total


def switches(pids):
    """Voluntary context switches by thread: each is a wake-up that has been."""
    count = re.compile(r"^voluntary_ctxt_switches:\s*(\d+)", re.M)
    found = {}
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/status") as file:
                found[thread] = int(count.search(file.read()).group(1))
    return found


def wakeups_per_second(pids, seconds):
    before = switches(pids)
    time.sleep(seconds)
    after = switches(pids)
    return sum(after[thread] - before.get(thread, 0) for thread in after) / seconds


def environment_of_servers():
    return {name: text for name, text in os.environ.items() if not name.startswith(TUNING)}


# --- servers --------------------------------------------------------------------------------------


class Server:
    """A started program that says on stderr where it listens.  `pid` is the process that serves."""

    ready = r" listening .*address=(\S+)"  # in the line that says it

    def __init__(self, command, cores=None, environment=None):
        pinned = ["taskset", "-c", ",".join(map(str, cores))] if cores else []
        self.command = command
        self.lines = collections.deque(maxlen=LINES_MAX)
        self.changed = threading.Condition()
        self.started_at = time.perf_counter()
        self.process = subprocess.Popen(
            pinned + command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**environment_of_servers(), **(environment or {})},
        )
        self.ended = False
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        try:
            self.address = self.find_address()
        except BaseException:
            self.stop()
            raise

    def find_address(self):
        """Where it listens, once it does."""
        return self.wait_for(self.ready).group(1)

    def _read(self):
        for line in self.process.stderr:
            with self.changed:
                self.lines.append(line)
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def wait_for(self, pattern, seconds=60):
        """The match in the first line that has one."""

        def found():
            matches = (re.search(pattern, line) for line in self.lines)
            return next(filter(None, matches), None)

        with self.changed:
            self.changed.wait_for(lambda: found() or self.ended, seconds)
            match = found()
        if not match:
            raise RuntimeError(f"{' '.join(self.command)}: no '{pattern}' in: {self.log()}")
        return match

    def log(self):
        return "".join(self.lines)

    @property
    def pid(self):
        return self.process.pid

    def family(self):
        return family(self.process.pid)

    def cpu_seconds(self):
        """User and system time of all its processes, ended ones too."""
        return family_cpu_seconds(self.process.pid)

    def settle(self):
        """Returns when nothing is left of an earlier load that a later one would notice."""

    def answer_to(self, body):
        """What it has to answer."""
        return body

    def stop(self):
        """SIGTERM; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        code = self.process.wait()
        self.reader.join(10)
        self.process.stderr.close()
        return code

    def client(self, timeout=60):
        return Client(self.address, timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Faasm(Server):
    """`faasm serve`.  The process that serves is a child of the one that was started."""

    def __init__(self, program, data, samples=None, workers=0, settings=(), **how):
        command = [program, "serve", "--listen", "127.0.0.1:0", "--data", data]
        command += ["--samples", samples] if samples else []
        command += ["--workers", str(workers)] if workers else []
        for setting in settings:
            command += ["--set", setting]
        super().__init__(command, **how)

    @property
    def pid(self):
        for child in children(self.process.pid):
            with open(f"/proc/{child}/cmdline", "rb") as file:
                if b"\0serve\0" in file.read():
                    return child
        raise RuntimeError("the supervisor has no server")

    def wait_ready(self):
        self.wait_for(" ready ")
        return self

    def settle(self):
        """Calls of clients that have gone count for the limits until they end, and what such a
        client has sent is read and becomes a call."""
        with self.client() as client:
            for _ in range(SETTLE_TRIES):
                found = client.metrics()
                if found["faasm_calls"] == 0 and found["faasm_http_connections"] <= 1:  # this one
                    return
                time.sleep(0.002)
        raise RuntimeError(f"{self.command[0]}: an earlier load does not end")


class RawEcho(Server):
    """bench/rawecho.c"""

    def __init__(self, program, threads=0, connection_bytes=0, **how):
        super().__init__([program, "0", str(threads), str(connection_bytes)], **how)
