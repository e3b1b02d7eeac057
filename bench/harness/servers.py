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


# --- processes ------------------------------------------------------------------------------------


def stat_fields(pid):
    """/proc/PID/stat from the third field (state) on; None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def children(pid):
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    found = []
    for child in pids:
        fields = stat_fields(child)
        if fields and int(fields[1]) == pid and fields[0] != "Z":
            found.append(child)
    return found


def family(pid):
    """A process and all below it."""
    return [pid] + [below for child in children(pid) for below in family(child)]


def cpu_seconds(pid):
    """User and system time of a process, all threads, ended ones too."""
    fields = stat_fields(pid)
    if not fields:
        raise RuntimeError(f"process {pid} has ended")
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


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


# --- servers --------------------------------------------------------------------------------------


class Server:
    """A started program that says on stderr where it listens.  `pid` is the process that serves."""

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
            env={**os.environ, **(environment or {})},
        )
        self.ended = False
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        try:
            self.address = re.search(r"address=(\S+)", self.wait_for(" listening ")).group(1)
        except BaseException:
            self.stop()
            raise

    def _read(self):
        for line in self.process.stderr:
            with self.changed:
                self.lines.append(line)
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def wait_for(self, word, seconds=60):
        """The first line that holds the word."""

        def found():
            return next((line for line in self.lines if word in line), None)

        with self.changed:
            self.changed.wait_for(lambda: found() or self.ended, seconds)
            line = found()
        if not line:
            raise RuntimeError(f"{' '.join(self.command)}: no '{word.strip()}' in: {self.log()}")
        return line

    def log(self):
        return "".join(self.lines)

    @property
    def pid(self):
        return self.process.pid

    def family(self):
        return family(self.process.pid)

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

    def __init__(self, program, data, samples=None, workers=0, **how):
        command = [program, "serve", "--listen", "127.0.0.1:0", "--data", data]
        command += ["--samples", samples] if samples else []
        command += ["--workers", str(workers)] if workers else []
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


class RawEcho(Server):
    """bench/rawecho.c"""

    def __init__(self, program, threads=0, connection_bytes=0, **how):
        super().__init__([program, "0", str(threads), str(connection_bytes)], **how)
