"""The life of a server: start, restart, crash, drain, what survives, and what it refuses to do."""
import concurrent.futures
import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest

from process import FAASM, SLEEP, Server

ECHO = """(module
  (import "faasm" "input_read" (func $r (param i32 i32 i32) (result i32)))
  (import "faasm" "output_write" (func $w (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (drop (call $w (i32.const 0) (call $r (i32.const 0) (i32.const 0) (i32.const 1024))))))"""
SAY = """(module
  (import "faasm" "output_write" (func $w (param i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 0) "%s")
  (func (export "_start") (drop (call $w (i32.const 0) (i32.const %d)))))"""
SPIN = '(module (memory (export "memory") 1) (func (export "_start") (loop $l (br $l))))'


def say(text):
    return SAY % (text, len(text))


@pytest.fixture
def servers(tmp_path):
    """Starts servers on one data folder; all are stopped at the end."""
    started = []

    def start(*options, **named):
        server = Server(tmp_path / "data", *options, **named)
        started.append(server)
        return server.ready()

    yield start
    for server in started:
        server.process.kill()
        server.process.wait()


def test_functions_survive_a_restart(servers):
    server = servers()
    assert server.put("ada/say", say("one")) == 201
    assert server.put("ada/say", say("two")) == 200
    assert server.call("ada/say") == (200, b"two")
    server.stop()
    server = servers()
    assert server.call("ada/say") == (200, b"two")
    status, _, _ = server.request("DELETE", "/f/ada/say")
    assert status == 204
    assert server.call("ada/say")[0] == 404
    server.stop()
    server = servers()
    assert server.call("ada/say")[0] == 404
    server.stop()


def test_a_crash_is_followed_by_a_new_server(servers):
    server = servers()
    server.put("ada/echo", ECHO)
    for crash in range(1, 4):
        os.kill(server.child(), signal.SIGKILL)
        server.wait_line(" server_died ", crash)
        server.wait_line(" ready ", crash + 1)
        assert server.call("ada/echo", b"again") == (200, b"again")
    server.stop()


def test_a_server_dies_with_its_supervisor(servers):
    server = servers()
    child = server.child()
    pidfd = os.pidfd_open(child)
    os.kill(server.process.pid, signal.SIGKILL)
    import select
    assert select.select([pidfd], [], [], 30)[0]
    os.close(pidfd)


def test_draining_lets_calls_end_and_takes_no_new_ones(servers):
    server = servers()
    server.put("ada/sleep", SLEEP % 500_000_000)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        call = pool.submit(server.call, "ada/sleep")
        server.wait_metric("faasm_calls_parked", 1)
        server.process.send_signal(signal.SIGTERM)
        server.wait_line(" draining")
        assert call.result() == (200, b"rested")
    lines = server.stop()
    assert any(" ended" in line for line in lines)


def test_ctrl_c_drains_too(servers):
    """A terminal sends SIGINT to both processes, the supervisor adds a SIGTERM for the server."""
    server = servers()
    server.put("ada/sleep", SLEEP % 300_000_000)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        call = pool.submit(server.call, "ada/sleep")
        server.wait_metric("faasm_calls_parked", 1)
        os.kill(server.child(), signal.SIGINT)
        os.kill(server.process.pid, signal.SIGINT)
        assert call.result() == (200, b"rested")
    server.stop()


def test_errors_do_not_name_paths_of_the_server(servers, tmp_path):
    server = servers()
    tables = "(table 1 funcref)" * 5
    module = f'(module {tables} (memory (export "memory") 1) (func (export "_start")))'
    status, body, _ = server.request("PUT", "/f/ada/tables", module)
    assert status == 422 and str(tmp_path).encode() not in body
    server.stop()


def test_draining_cancels_what_takes_too_long(servers):
    server = servers("--set", "drain_ms=50")
    server.put("ada/sleep", SLEEP % 100_000_000_000)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        call = pool.submit(server.call, "ada/sleep")
        server.wait_metric("faasm_calls_parked", 1)
        server.stop()
        with pytest.raises(Exception):
            call.result()


def big_module():
    """Takes the compiler a second or more."""
    body = "(local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 3)) (i32.rotl (local.get 0) (i32.const 5))))" * 60
    functions = "".join(f"(func (param i32) (result i32) {body} (local.get 0))" for _ in range(4000))
    return f'(module (memory (export "memory") 1) (func (export "_start")) {functions})'


def compilers(server):
    """The compile processes, by what they read: a module, or the socket on which they wait for one."""
    children = pathlib.Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    found = {}
    for pid in children.read_text().split():
        try:
            if b"\0compile\0" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                found[os.readlink(f"/proc/{pid}/fd/0")] = int(pid)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            pass  # it has ended
    return found


def wait_for_compiler(server, what="/function.wasm"):
    """Until there is one that reads such a thing; its process."""
    while True:
        for link, pid in compilers(server).items():
            if what in link:
                return pid


def test_a_crash_during_a_compilation_does_not_disturb_later_ones(servers):
    server = servers("--set", "builds=1")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        upload = pool.submit(server.request, "PUT", "/f/ada/big", big_module())
        wait_for_compiler(server)
        os.kill(server.child(), signal.SIGKILL)
        server.wait_line(" ready ", 2)
        with pytest.raises(Exception):
            upload.result()
    for i in range(3):
        assert server.put("ada/say", say(f"v{i}")) in (200, 201)
        assert server.call("ada/say") == (200, f"v{i}".encode())
    server.stop()


def test_the_compile_process_that_waits(servers):
    """Each takes one module, and another one is there for the next; without it nothing is lost."""
    server = servers("--set", "builds=1")
    seen = set()
    for i in range(4):
        waits = wait_for_compiler(server, "socket:")
        assert waits not in seen
        seen.add(waits)
        if i == 2:
            os.kill(waits, signal.SIGKILL)
            while os.path.exists(f"/proc/{waits}"):
                pass  # as long as it dies its socket is open, and could be given the module
        assert server.put("ada/say", say(f"v{i}")) in (200, 201)
        assert server.call("ada/say") == (200, f"v{i}".encode())
    waits = wait_for_compiler(server, "socket:")
    os.kill(server.child(), signal.SIGKILL)  # it is the supervisor's, not the server's
    server.wait_line(" ready ", 2)
    assert list(compilers(server).values()) == [waits]
    server.stop()


def test_the_end_does_not_wait_for_compilations(servers):
    server = servers("--set", "builds=1", "--set", "drain_ms=0")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        uploads = [pool.submit(server.request, "PUT", "/f/ada/big", big_module()) for _ in range(3)]
        wait_for_compiler(server)
        lines = server.stop()
        for upload in uploads:
            with pytest.raises(Exception):
                upload.result()
    assert not any(" deployed " in line for line in lines)


def test_the_end_comes_while_code_is_made_again(servers, tmp_path):
    """The client has left, so nothing but the load itself is under way."""
    server = servers()
    server.request("PUT", "/f/ada/big", big_module(), timeout=120)
    server.stop()
    [code] = (tmp_path / "data/functions/ada/big").glob("*/function.cwasm")
    code.unlink()
    server = servers("--set", "drain_ms=0")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        call = pool.submit(server.request, "POST", "/f/ada/big", b"", {}, 0.2)
        server.wait_line(" compiling_again ")
        with pytest.raises(Exception):
            call.result()
        server.stop()


def test_code_that_was_tampered_with_is_made_again(servers, tmp_path):
    server = servers()
    server.put("ada/echo", ECHO)
    server.stop()
    [code] = (tmp_path / "data/functions/ada/echo").glob("*/function.cwasm")
    original = code.read_bytes()
    damaged = bytearray(original)
    damaged[len(damaged) // 2] ^= 1
    code.chmod(0o600)
    code.write_bytes(damaged)
    server = servers()
    assert server.call("ada/echo", b"safe") == (200, b"safe")
    assert server.wait_line(" compiling_again ")
    server.stop()
    assert code.read_bytes() == original

    code.unlink()  # also when it is gone
    server = servers()
    assert server.call("ada/echo", b"safe") == (200, b"safe")
    server.stop()


def test_code_of_another_folder_is_not_taken(servers, tmp_path):
    """The key of a data folder is its own: code from elsewhere does not fit, even for the same module."""
    server = servers()
    server.put("ada/echo", ECHO)
    server.stop()
    (tmp_path / "data/key").unlink()
    server = servers()
    assert server.call("ada/echo", b"x") == (200, b"x")
    assert server.wait_line(" compiling_again ")
    server.stop()


def test_two_servers_do_not_share_a_folder(servers, tmp_path):
    servers()
    second = subprocess.run(
        [FAASM, "serve", "--listen", "127.0.0.1:0", "--data", tmp_path / "data", "--set", "slots=32"],
        capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 73
    assert "start_failed" in second.stderr


def test_concurrent_uploads_end_in_one_of_them_whole(servers):
    server = servers()
    texts = [say(f"version {i}") for i in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: server.put("ada/say", text), texts))
    answers = {server.call("ada/say") for _ in range(20)}
    assert len(answers) == 1
    [(status, body)] = answers
    assert status == 200 and re.fullmatch(rb"version [0-7]", body)
    server.stop()
    server = servers()
    assert server.call("ada/say") == (200, body)
    server.stop()


def test_the_running_version_serves_until_the_new_one_is_there(servers):
    server = servers()
    server.put("ada/say", say("v0"))
    seen = []
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for version in range(1, 6):
            upload = pool.submit(server.put, "ada/say", say(f"v{version}"))
            while not upload.done():
                status, body = server.call("ada/say")
                assert status == 200
                seen.append(body)
            upload.result()
            assert server.call("ada/say") == (200, f"v{version}".encode())
    assert seen == sorted(seen)
    server.stop()


def test_a_looping_guest_does_not_stop_the_others(servers):
    server = servers("--workers", "1")
    server.put("ada/spin", SPIN, "?limit.cpu_ms=300ms")
    server.put("bob/echo", ECHO)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        spins = [pool.submit(server.call, "ada/spin") for _ in range(4)]
        server.wait_metric("faasm_calls", 4)
        assert server.call("bob/echo", b"hi") == (200, b"hi")
        assert server.metric("faasm_calls") > 0
        for spin in spins:
            status, body = spin.result()
            assert status == 502 and b"cpu_ms" in body
    server.stop()


def test_idle_servers_do_not_wake_up(servers):
    server = servers()
    server.put("ada/echo", ECHO)
    assert server.call("ada/echo", b"x") == (200, b"x")
    child = server.child()

    def ticks():
        return server.metric("faasm_ticks_total")
    before = ticks()
    while before != ticks():  # it stops by itself
        before = ticks()
    assert os.path.exists(f"/proc/{child}")
    server.stop()


# Says what it finds in its memory, and leaves something there.
TRACE = """(module
    (import "faasm" "output_write" (func $write (param i32 i32) (result i32)))
    (memory (export "memory") 4)
    (func (export "_start")
        (drop (call $write (i32.const 70000) (i32.const 1)))
        (i32.store8 (i32.const 70000) (i32.const 65))))"""


def test_without_page_scanning_slots_are_given_back_whole(servers):
    server = servers("--set", "page_scanning=off")
    server.put("ada/trace", TRACE)
    assert {server.call("ada/trace") for _ in range(40)} == {(200, b"\0")}
    assert server.metric("faasm_page_scanning") == 0
    assert server.metric("faasm_kept_bytes") == 0
    server.stop()


def test_free_slots_keep_what_calls_write(servers):
    server = servers("--workers", "1")
    if server.metric("faasm_page_scanning") == 0:
        pytest.skip("this kernel cannot scan pages, or this machine swaps")
    server.put("ada/trace", TRACE)
    assert {server.call("ada/trace") for _ in range(40)} == {(200, b"\0")}
    assert server.metric("faasm_kept_bytes") == 4096
    server.stop()


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mkswap"), reason="needs root and mkswap")
def test_page_scanning_goes_off_while_there_is_swap(servers, tmp_path):
    server = servers()
    if server.metric("faasm_page_scanning") == 0:
        pytest.skip("this kernel cannot scan pages, or this machine swaps")
    swap = tmp_path / "swap"
    swap.write_bytes(bytes(2 << 20))
    swap.chmod(0o600)
    subprocess.run(["mkswap", swap], check=True, capture_output=True)
    if subprocess.run(["swapon", swap], check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let us add swap")
    try:
        server.put("ada/echo", ECHO)
        server.wait_line(" page_scanning_off ")
        assert server.metric("faasm_page_scanning") == 0
        assert server.call("ada/echo", b"still right") == (200, b"still right")
    finally:
        subprocess.run(["swapoff", swap], check=True)
    server.wait_line(" page_scanning_on ")
    assert server.metric("faasm_page_scanning") == 1
    assert server.call("ada/echo", b"still right") == (200, b"still right")
    server.stop()


# --- arguments ------------------------------------------------------------------------------------

def serve(*options):
    return subprocess.run([FAASM, "serve", *options], capture_output=True, text=True, timeout=60,
                          check=False)


@pytest.mark.parametrize("options, code, words", [
    ([], 64, "--data"),
    (["--data", "x", "--oops"], 64, "'--oops'"),
    (["--data", "x", "surplus"], 64, "'surplus'"),
    (["--data", "x", "--workers", "0"], 64, "workers must be from 1 to 256"),
    (["--data", "x", "--set", "nothing=1"], 64, "'nothing'"),
    (["--data", "x", "--config", "/nonexistent"], 66, "/nonexistent"),
    (["--data", "x", "--config"], 64, "--config wants a value"),
    (["--data", "x", "--set", "module_bytes=64M"], 64, "(units: B, KiB, MiB, GiB, KB, MB, GB)"),
    (["--data", "x", "--set", "page_scanning=yes"], 64, "(on, off)"),
    (["--data", "x", "--listen", "8080"], 64, "ADDRESS:PORT"),
    (["--data", "x", "--listen", "127.0.0.1:65536"], 64, "a port is a number up to 65535"),
    (["--data", "x", "--listen", "127.0.0.1:http"], 64, "a port is a number up to 65535"),
    (["--data", "x", "--listen", "127.0.0.1:", "--check"], 64, "a port is a number up to 65535"),
    (["--data", "x", "--listen", "0.0.0.0:0"], 77, "--insecure"),
    (["--data", "x", "--listen", "[::]:0"], 77, "--insecure"),
])
def test_mistakes_in_arguments_are_told(options, code, words):
    result = serve(*options)
    assert result.returncode == code
    assert words in result.stderr and result.stderr.startswith("faasm: serve: ")
    assert result.stderr.count("\n") == 1


def test_a_taken_port_is_told(servers):
    server = servers()
    result = serve("--data", "x", "--listen", f"127.0.0.1:{server.port}")
    assert result.returncode != 0 and "Address already in use" in result.stderr


def test_check_prints_all_settings_without_serving(tmp_path):
    config = tmp_path / "faasm.conf"
    config.write_text("workers = 3\nmodule_bytes = 1MiB # small\n")
    result = serve("--data", "x", "--config", str(config), "--workers", "5", "--check")
    assert result.returncode == 0
    assert re.search(r"^workers = 5$", result.stdout, re.M)
    assert re.search(r"^module_bytes = 1MiB$", result.stdout, re.M)
    assert not pathlib.Path("x").exists()


@pytest.mark.parametrize("options, words", [
    (["--help"], "serve"), (["serve", "--help"], "--listen"), (["run", "--help"], "FILE.wasm"),
    (["help"], "serve"), (["help", "run"], "FILE.wasm"), (["--help", "run"], "FILE.wasm"),
    (["--version"], "faasm 0."),
])
def test_help_and_version(options, words):
    result = subprocess.run([FAASM, *options], capture_output=True, text=True, timeout=60, check=True)
    assert words in result.stdout and result.stderr == ""


def test_unknown_verbs_are_errors():
    for options in ([], ["frobnicate"], ["--frobnicate"]):
        result = subprocess.run([FAASM, *options], capture_output=True, text=True, timeout=60,
                                check=False)
        assert result.returncode == 64 and result.stdout == ""
