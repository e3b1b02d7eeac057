"""What an upload need not compile again: only bodies that have changed are, whoever else uploads the
same stays on his own, and without a cache, or with a damaged one, nothing is different but the time."""
import hashlib
import hmac
import json
import os
import signal
import subprocess

import pytest

from process import FAASM, Server

MODULE_MIN = 64 * 1024  # bytes of a module that leaves a cache


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def servers(data):
    """Starts servers, one after the other, on one data folder."""
    started = []

    def start(*options):
        server = Server(data, *options)
        started.append(server)
        return server.ready()

    yield start
    for server in started:
        server.process.kill()
        server.process.wait()


def module(answer, changed=None, size=0):
    """Some hundred functions; `changed` is one that differs, `size` the module's."""
    functions = []
    for number in range(300):
        factor = 1000 + number if number == changed else number
        functions.append(f"""(func $f{number} (param i32) (result i32)
          (i32.add (i32.mul (local.get 0) (i32.const {factor})) (i32.rotl (local.get 0) (i32.const {number % 32}))))""")
    calls = "".join(f"(drop (call $f{number} (i32.const {number})))" for number in range(300))
    text = f"""(module (import "faasm" "output_write" (func $w (param i32 i32) (result i32)))
      (memory (export "memory") 1) (data (i32.const 200) "{answer}")
      {" ".join(functions)}
      (func (export "_start") {calls} (drop (call $w (i32.const 200) (i32.const {len(answer)})))))"""
    return text + " " * (max(size, MODULE_MIN + 1) - len(text))


class Counts:
    def __init__(self, server):
        self.server = server
        self.before = self.read()

    def read(self):
        return [self.server.metric(f"faasm_{what}_bodies_total") for what in ("compiled", "reused")]

    def since(self):
        """Bodies that were compiled, and reused, since the last question."""
        now = self.read()
        difference = [after - before for after, before in zip(now, self.before)]
        self.before = now
        return difference

    def all_compiled(self):
        compiled, reused = self.since()
        return compiled >= 300 and reused < 30  # some are the same, as what leads into functions

    def mostly_reused(self):
        """The compiler's keys depend a little on what its thread has compiled before: with several
        threads now and then a body is not found. One that is found is the right one."""
        compiled, reused = self.since()
        return compiled < 150 < reused


def caches(data, name="ada/f"):
    """The newest version's is the last; an old version may take a moment to go."""
    return sorted((data / "functions" / name).glob("*/function.cache"))


def test_only_what_has_changed_is_compiled(servers):
    server = servers()
    counts = Counts(server)
    server.put("ada/f", module("one"))
    assert counts.all_compiled()
    server.put("ada/f", module("two"))  # other data, the same code
    assert server.call("ada/f") == (200, b"two")
    assert counts.mostly_reused()
    server.put("ada/f", module("six", changed=7))
    assert server.call("ada/f") == (200, b"six")
    assert counts.mostly_reused()
    server.stop()


def test_everybody_has_his_own(servers):
    server = servers()
    counts = Counts(server)
    for name in ("ada/f", "bob/f", "ada/g"):
        server.put(name, module("one"))
        assert counts.all_compiled()
        assert server.call(name) == (200, b"one")
    server.stop()


def test_another_users_cache_is_not_believed(servers, data):
    server = servers()
    counts = Counts(server)
    server.put("ada/f", module("one"))
    server.put("bob/f", module("one"))
    [hers], [his] = caches(data), caches(data, "bob/f")
    os.replace(his, hers)
    counts.since()
    server.put("ada/f", module("two"))
    assert counts.all_compiled()
    assert server.call("ada/f") == (200, b"two")
    server.stop()


def test_a_damaged_one_is_not_used(servers, data):
    server = servers()
    counts = Counts(server)
    server.put("ada/f", module("one"))
    assert counts.all_compiled()
    for damage in (lambda data: data[:-1], lambda data: b"", lambda data: data[:5000] + b"\xcc" + data[5001:]):
        cache = caches(data)[-1]
        cache.write_bytes(damage(cache.read_bytes()))
        server.put("ada/f", module("two"))
        assert counts.all_compiled()
        assert server.call("ada/f") == (200, b"two")
    server.put("ada/f", module("six"))
    assert counts.mostly_reused()
    server.stop()


def seal(data, content, user="ada", function="f"):
    """What the server adds to the cache of its own making (store/keyed_hash.c)."""
    meta = json.loads(sorted((data / "functions" / user / function).glob("*/meta.json"))[-1].read_text())
    names = [b"faasm compile cache 1"] + [text.encode() for text in (user, function, meta["build"])]
    message = b"".join(name + b"\0" for name in names) + hashlib.sha256(content).digest()
    return hmac.new((data / "key").read_bytes(), message, hashlib.sha256).digest()


def test_one_that_crashes_the_compiler_costs_time(servers, data):
    """Every body is said to be what `_start` was: it calls functions that the others do not know."""
    server = servers()
    server.put("ada/f", module("one"))
    cache = caches(data)[-1]
    content = cache.read_bytes()[:-32]
    assert cache.read_bytes()[-32:] == seal(data, content)
    count = int.from_bytes(content[8:12], "little")
    rows = [content[12 + 40 * row : 52 + 40 * row] for row in range(count)]
    largest = max(rows, key=lambda row: int.from_bytes(row[36:], "little"))
    content = content[:12] + b"".join(row[:32] + largest[32:] for row in rows) + content[12 + 40 * count :]
    cache.write_bytes(content + seal(data, content))
    counts = Counts(server)
    server.put("ada/f", module("two"))
    assert server.call("ada/f") == (200, b"two")
    assert counts.since() == [0, 0] and len(caches(data)) <= 1  # made without
    server.put("ada/f", module("six"))
    assert counts.all_compiled()
    server.stop()


def test_it_outlives_restarts_and_changes_of_limits(servers):
    server = servers()
    server.put("ada/f", module("one"))
    assert server.request("PATCH", "/f/ada/f", '{"limits": {"cpu_ms": 777}}',
                          {"Content-Type": "application/merge-patch+json"})[0] == 200
    os.kill(server.child(), signal.SIGKILL)
    server.wait_line(" ready ", 2)
    counts = Counts(server)
    server.put("ada/f", module("two"))
    assert counts.mostly_reused()
    assert server.call("ada/f") == (200, b"two")
    server.stop()


def test_a_snapshot_as_well(servers):
    """The module that is compiled is then one that the server has made."""
    server = servers()
    text = module("one").replace('(func (export "_start")', '(func (export "wizer-initialize")) (func (export "_start")')
    counts = Counts(server)
    server.put("ada/f", text)
    assert counts.all_compiled()
    server.put("ada/f", text.replace("one", "two"))
    assert counts.mostly_reused()
    assert server.call("ada/f") == (200, b"two")
    server.stop()


def test_small_modules_leave_none(servers, data):
    server = servers()
    for size, there in ((MODULE_MIN - 1, 0), (MODULE_MIN, 1), (MODULE_MIN + 1, 1)):
        text = '(module (memory (export "memory") 1) (func (export "_start")))'
        server.put(f"ada/s{size}", text + " " * (size - len(text)))
        assert len(caches(data, f"ada/s{size}")) == there, size
    server.stop()


def test_without(servers, data):
    server = servers("--set", "compile_cache=off")
    counts = Counts(server)
    for _ in range(2):
        server.put("ada/f", module("one"))
        assert counts.since() == [0, 0]  # it is not even looked for what the module has twice
        assert not caches(data)
    server.stop()


def test_the_process_itself(tmp_path):
    """On one thread: the same code, with a cache and without, and only what has changed is compiled."""
    (tmp_path / "m.wat").write_text(module("one"))
    (tmp_path / "other.wat").write_text(module("one", changed=3))
    cpu = min(os.sched_getaffinity(0))

    def run(source, redirections):
        command = f"exec {os.path.abspath(FAASM)} compile <{source} {redirections}"
        return subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=True,
                              preexec_fn=lambda: os.sched_setaffinity(0, {cpu})).stdout

    def code(output):
        return output[: output.rindex(b'{"facts"')]

    alone = run("m.wat", "")
    first = run("m.wat", "4>cache")
    again = run("m.wat", "3<cache 4>cache2")
    assert code(alone) == code(first) == code(again)
    assert b'"bodies_compiled":0}' in again
    assert (tmp_path / "cache").read_bytes() == (tmp_path / "cache2").read_bytes()
    other = run("other.wat", "3<cache 4>cache3")
    assert code(other) == code(run("other.wat", "")) != code(alone)
    assert b'"bodies_compiled":1}' in other
