"""A server process for the end-to-end tests: started on a free port, watched by its own log lines."""
import http.client
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

FAASM = os.environ["FAASM"]
SAMPLES = os.environ.get("FAASM_SAMPLES", "")
START_S = 60  # with a sanitizer, on a busy machine

# Parks for the nanoseconds that are put in, then says so.
SLEEP = """(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $p (param i32 i32 i32 i32) (result i32)))
  (import "faasm" "output_write" (func $w (param i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 200) "rested")
  (func (export "_start")
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const %d))
    (drop (call $p (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))
    (drop (call $w (i32.const 200) (i32.const 6)))))"""


class Server:
    """`faasm serve` with its data in `folder`."""

    def __init__(self, folder, *options, samples=False):
        command = [FAASM, "serve", "--listen", "127.0.0.1:0", "--data", str(folder)]
        command += ["--set", "slots=32"]  # the thread sanitizer has few addresses to give
        if samples:
            command += ["--samples", SAMPLES]
        self.lines = []
        self.news = threading.Condition()
        self.process = subprocess.Popen(command + list(options), stderr=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            with self.news:
                self.lines.append(line.rstrip("\n"))
                self.news.notify_all()
        with self.news:
            self.lines.append("EOF")
            self.news.notify_all()

    def wait_line(self, pattern, count=1, timeout=START_S):
        """Waits until `count` log lines match, and returns the last of them."""
        def found():
            return [line for line in self.lines if re.search(pattern, line)]
        with self.news:
            ok = self.news.wait_for(lambda: len(found()) >= count or self.lines[-1:] == ["EOF"], timeout)
            lines = found()
            assert ok and len(lines) >= count, f"no {pattern!r} in:\n" + "\n".join(self.lines)
            return lines[-1]

    def ready(self):
        self.wait_line(r" ready ")
        line = self.wait_line(r" listening address=")
        self.port = int(line.rsplit(":", 1)[1])
        return self

    def request(self, method, path, body=None, headers=None, timeout=30):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read(), response.headers
        finally:
            connection.close()

    def put(self, name, text, query=""):
        status, body, _ = self.request("PUT", f"/f/{name}{query}", text)
        assert status in (200, 201), body
        return status

    def call(self, name, body=b""):
        return self.request("POST", f"/f/{name}", body)[:2]

    def metric(self, name):
        _, text, _ = self.request("GET", "/metrics")
        for line in text.decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise KeyError(name)

    def wait_metric(self, name, value):
        """A worker tells its numbers once a pass, so the next request may be a moment early."""
        for _ in range(2000):
            if self.metric(name) == value:
                return
        raise AssertionError(f"{name} is {self.metric(name)}, not {value}")

    def wait_metric_reaches(self, name, value, timeout=60):
        end = time.monotonic() + timeout
        while self.metric(name) < value:
            assert time.monotonic() < end, f"{name} is {self.metric(name)}, not yet {value}"

    def child(self):
        """The process id of the server proper: the supervisor also has compile processes."""
        text = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        for pid in text.split():
            if b"\0serve\0" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
        raise AssertionError("the supervisor has no server")

    def stop(self, expected=0):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        self.reader.join()
        assert code == expected, "\n".join(self.lines)
        return self.lines
