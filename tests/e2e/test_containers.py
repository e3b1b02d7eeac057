"""The images and docker-compose.yml: the quick start of README.md, every command word for word, and
what the containers may and may not do.

Needs a Docker daemon, and the ports 8001 and 8080 of the loopback address. Everything is done in a
copy of the sources in build/e2e/containers, under a project name of its own, so a server that
someone has started with docker-compose keeps its functions. What a run that crashed has left
behind, the next one clears away.
"""

import fcntl
import json
import os
import pathlib
import pty
import select
import shutil
import struct
import subprocess
import termios
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRATCH = ROOT / "build/e2e/containers"
CHECKOUT = SCRATCH / "faasm"
OLD = SCRATCH / "2018"
UPLOAD = pathlib.Path("/tmp/do_something.wasm")  # README.md names it
PROJECT = "faasm-e2e"
COMPOSE = "docker-compose" if shutil.which("docker-compose") else "docker compose"
README = (ROOT / "README.md").read_text().splitlines()
NOBODY = 65534

os.environ["COMPOSE_PROJECT_NAME"] = PROJECT

if not shutil.which("docker") or subprocess.run(["docker", "version"],
                                                capture_output=True).returncode != 0:
    pytest.skip("no Docker daemon answers", allow_module_level=True)


def execute(command, cwd=CHECKOUT, timeout=60):
    """Runs a line of shell; its exit code, output and complaints."""
    result = subprocess.run(["bash", "-c", command], cwd=cwd, capture_output=True, timeout=timeout,
                            stdin=subprocess.DEVNULL)
    return result.returncode, result.stdout.decode(), result.stderr.decode()


def sh(command, cwd=CHECKOUT, timeout=60):
    """Runs a line of shell that must succeed; its output."""
    code, output, complaints = execute(command, cwd, timeout)
    assert code == 0, f"{command}\n{output[-2000:]}{complaints[-4000:]}"
    return output


def readme(line):
    """A command, which must stand in README.md as it is."""
    assert line in README
    return line


def build(command, cwd=CHECKOUT):
    return sh(command, cwd, timeout=1200)


class Terminal:
    """A command on a terminal, and somebody who reads and types there."""

    def __init__(self, command, cwd):
        self.screen, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 250, 0, 0))
        self.process = subprocess.Popen(["bash", "-c", command], cwd=cwd, stdin=slave, stdout=slave,
                                        stderr=slave, start_new_session=True)
        os.close(slave)
        self.unread = b""

    def more(self, timeout=60):
        """Whether there was something more to read before the end."""
        assert select.select([self.screen], [], [], timeout)[0], f"silence after {self.unread!r}"
        try:
            data = os.read(self.screen, 4096)
        except OSError:  # how a terminal ends
            return False
        self.unread += data
        return bool(data)

    def read_to(self, text):
        """Everything up to `text`."""
        while text not in self.unread:
            assert self.more(), f"ended after {self.unread!r}"
        before, _, self.unread = self.unread.partition(text)
        return before.decode()

    def type(self, line):
        os.write(self.screen, line.encode() + b"\r")

    def end(self):
        while self.more():
            pass
        os.close(self.screen)
        return self.process.wait(60)


def inspect(what, form):
    return json.loads(sh(f"docker inspect -f '{{{{json {form}}}}}' {what}"))


def container():
    return sh(f"{COMPOSE} ps -q faasm").strip()


def inside(command):
    return execute(f"docker exec {container()} bash -c '{command}'")


def call(path, data=""):
    return sh(f"curl -s -X POST http://localhost:8001{path} -d '{data}'")


def upload_smallest(function):
    """A module as small as they come: a memory, and a _start() that does nothing."""
    module = SCRATCH / "smallest.wasm"
    module.write_bytes(bytes.fromhex("0061736d01000000010401600000030201000503010001"
                                     "071302066d656d6f72790200065f737461727400000a040102000b"))
    sh(f"curl -sf -X PUT http://localhost:8001/f/dummy/{function} -T {module}")


def wait_until_healthy(since):
    """Docker remembers its events, so it does not matter when it happened after `since`."""
    events = subprocess.Popen(
        ["docker", "events", "--since", str(since), "--until", str(since + 90), "--filter",
         f"container={container()}", "--filter", "event=health_status", "--format", "{{.Status}}"],
        stdout=subprocess.PIPE, text=True)
    with events:
        healthy = any("unhealthy" not in line and "healthy" in line for line in events.stdout)
        events.kill()
    assert healthy, sh(f"{COMPOSE} logs")


def compose_up():
    since = int(time.time())
    sh(readme("docker-compose up -d").replace("docker-compose", COMPOSE))
    wait_until_healthy(since)


def clear_away():
    execute(f"{COMPOSE} down -v --remove-orphans", ROOT)
    ids = sh("docker ps -aq --filter ancestor=shillaker/wasm-toolchain "
             f"--filter volume={CHECKOUT} --filter volume={OLD}", ROOT).split()
    if ids:
        sh("docker rm -f " + " ".join(ids), ROOT)
    shutil.rmtree(SCRATCH, ignore_errors=True)
    UPLOAD.unlink(missing_ok=True)


@pytest.fixture(scope="module", autouse=True)
def checkout():
    clear_away()
    SCRATCH.mkdir(parents=True)
    others = {".git", "build", "hello.wasm"}
    shutil.copytree(ROOT, CHECKOUT, ignore=lambda folder, names: (
        others.intersection(names) if pathlib.Path(folder) == ROOT else ()))
    yield
    clear_away()


@pytest.fixture(scope="module")
def toolchain():
    build(ROOT / "docker/toolchain-image", ROOT)


@pytest.fixture(scope="module")
def image():
    build(ROOT / "docker/image", ROOT)


@pytest.fixture(scope="module")
def server(image):
    compose_up()


# --- README.md -----------------------------------------------------------------------------------


def compile_in_container(folder):
    """The three lines of README.md, at a terminal."""
    terminal = Terminal(readme("docker run -v $(pwd):/work -w /work -it shillaker/wasm-toolchain"),
                        folder)
    terminal.read_to(b":/work# ")
    terminal.type(readme("/toolchain/bin/clang --target=wasm32-unknown-unknown-wasm "
                         "--sysroot=/toolchain/sysroot -o hello.wasm -I include/faasm hello.c"))
    said = terminal.read_to(b":/work# ")
    terminal.type(readme("exit"))
    assert terminal.end() == 0, said  # the compiler's, which bash hands on
    return folder / "hello.wasm"


def test_quick_start(toolchain, server):
    hello = 'curl -X POST http://localhost:8001/f/simon/echo -d "Hello!"'
    assert sh(readme(hello)) == "Hello!"

    compile_in_container(CHECKOUT)
    upload = "curl -X PUT http://localhost:8001/f/dummy/hello -T hello.wasm"
    answer = json.loads(sh(readme(upload)))
    assert (answer["user"], answer["function"], answer["abi"]) == ("dummy", "hello", "faasm")
    assert sh(readme("curl -X POST http://localhost:8001/f/dummy/hello")) == "Hello faasm!"

    echo = 'curl -X POST http://localhost:8080/f/simon/echo -d "hello faasm"'
    assert sh(readme(echo)) == "hello faasm"

    shutil.copy(CHECKOUT / "hello.wasm", UPLOAD)
    upload = f"curl http://localhost:8080/f/simon/cool_func/ -X PUT -T {UPLOAD}"
    answer = json.loads(sh(readme(upload)))
    assert (answer["user"], answer["function"]) == ("simon", "cool_func")
    assert call("/f/simon/cool_func/") == "Hello faasm!"


def test_asynchronous_url(server):
    url = "http://localhost:8001/calls/" + json.loads(call("/fa/simon/echo/", "later"))["id"]
    until = time.monotonic() + 60
    while json.loads(sh(f"curl -s {url}"))["status"] in ("queued", "running"):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert sh(f"curl -s {url}/output") == "later"


def test_every_sample_is_there(server):
    functions = json.loads(sh("curl -s http://localhost:8001/f/simon"))["functions"]
    samples = {path.stem.removeprefix("function_") for path in (ROOT / "func").glob("*.c")}
    assert samples <= {function["function"] for function in functions}


# --- the toolchain -------------------------------------------------------------------------------


def test_source_of_2018(toolchain, server):
    """Source and header in the style of then, and the command of then. It chains a call for each
    digit of its input, counted: 11 of them."""
    (OLD / "include/faasm").mkdir(parents=True)
    shutil.copy(ROOT / "tests/data/2018/faasm.h", OLD / "include/faasm/faasm.h")
    shutil.copy(ROOT / "tests/data/2018/function_upper.c", OLD / "hello.c")
    module = compile_in_container(OLD)
    sh(f"curl -sf -X PUT http://localhost:8001/f/dummy/upper -T {module}")
    upload_smallest("next")
    assert call("/f/dummy/upper", "hello 2018") == "HELLO 2018"


def test_toolchain_for_any_user(toolchain, tmp_path):
    """A user whom the image does not know owns what the compiler makes; C++ is there, too."""
    tmp_path.chmod(0o777)
    (tmp_path / "x.cpp").write_text('#include "faasm.h"\n#include <vector>\n'
                                    "int exec(struct FaasmMemory *memory) { "
                                    "return (int)std::vector<int>(memory->input[0]).size(); }\n")
    sh(f"docker run --rm --user 12345:12345 -v {tmp_path}:/work shillaker/wasm-toolchain "
       "clang++ -fno-exceptions -o x.wasm x.cpp")
    assert (tmp_path / "x.wasm").stat().st_uid == 12345
    assert (tmp_path / "x.wasm").read_bytes().startswith(b"\0asm\1\0\0\0")


def test_toolchain_has_both_names(toolchain):
    ids = sh("docker images -q faasm/toolchain:latest; docker images -q shillaker/wasm-toolchain")
    assert len(set(ids.split())) == 1 and len(ids.split()) == 2


# --- what the server's container may do ----------------------------------------------------------


def test_configuration(server):
    name = container()
    assert inspect(name, ".Config.User") == f"{NOBODY}:{NOBODY}"
    host = inspect(name, ".HostConfig")
    assert host["ReadonlyRootfs"] and not host["Privileged"]
    assert host["CapDrop"] == ["ALL"] and not host["CapAdd"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    published = [(one["HostIp"], one["HostPort"])
                 for several in inspect(name, ".NetworkSettings.Ports").values()
                 for one in several or []]
    assert sorted(published) == [("127.0.0.1", "8001"), ("127.0.0.1", "8080")]
    mounts = inspect(name, ".Mounts")
    assert [(one["Type"], one["Destination"]) for one in mounts] == [("volume", "/var/lib/faasm")]


def test_no_process_has_a_privilege(server):
    code, output, _ = inside("cat /proc/[0-9]*/status")
    assert code == 0
    status = [line.split(":") for line in output.splitlines()]
    assert sum(key == "Name" and value.strip() == "faasm" for key, value in status) >= 2
    for key, value in status:
        if key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(value, 16) == 0
        elif key in ("Uid", "Gid"):
            assert set(value.split()) == {str(NOBODY)}
        elif key == "NoNewPrivs":
            assert value.strip() == "1"
        elif key == "Seccomp":
            assert value.strip() == "2"


def test_writes_only_where_it_must(server):
    wanted = ["/", "/usr/local/bin", "/usr/local/share/faasm/samples", "/etc", "/var/lib"]
    code, _, complaints = inside("touch " + " ".join(f"{folder}/x" for folder in wanted))
    assert code != 0 and complaints.count("Read-only file system") == len(wanted)
    for folder in ("/tmp", "/var/lib/faasm"):
        assert inside(f"touch {folder}/x && rm {folder}/x") == (0, "", "")
    assert "noexec" in inside("grep \" /tmp \" /proc/mounts")[1]


def test_insecure_must_be_said(image):
    """Without docker-compose.yml nobody may find the port open by accident."""
    code, _, complaints = execute("docker run --rm faasm:latest")
    assert code != 0 and "add --insecure" in complaints


# --- its life ------------------------------------------------------------------------------------


def test_health_check_can_fail(server):
    """With the very command, in a container where nothing listens."""
    command = inspect(container(), ".Config.Healthcheck.Test")
    assert command[:3] == ["CMD", "bash", "-c"]
    nothing = subprocess.run(["docker", "run", "--rm", "--entrypoint", "bash", "faasm:latest", "-c",
                              command[3]], capture_output=True, timeout=60)
    assert nothing.returncode == 1, nothing.stderr


def test_orphans_are_reaped(server):
    """The supervisor is process 1, so it inherits whatever has lost its parent."""
    code, _, complaints = inside("orphan=$( (sleep 0.1 >/dev/null & echo $!) ); "
                                 "for i in {1..300}; do [ -e /proc/$orphan ] || exit 0; sleep 0.1; "
                                 "done; cat /proc/$orphan/status >&2; exit 1")
    assert code == 0, complaints


def test_a_server_that_dies_is_started_again(server):
    """By the supervisor, in the same container: nothing for Docker to do."""
    code, before, _ = inside("for i in /proc/[0-9]*; do read -r pid _ _ parent _ <$i/stat; "
                             "[ $parent = 1 ] && grep -q serve /proc/$pid/cmdline && echo $pid; "
                             "done")
    assert code in (0, 1) and len(before.split()) == 1
    assert inside(f"kill -9 {before.strip()}")[0] == 0
    assert call("/f/simon/echo", "still here") == "still here"
    assert inspect(container(), ".RestartCount") == 0
    assert "server_died" in sh(f"{COMPOSE} logs 2>&1")


def function_version(function):
    return json.loads(sh(f"curl -sf http://localhost:8001/f/dummy/{function}"))["version"]


def test_functions_survive_restart(server):
    upload_smallest("kept")
    version = function_version("kept")
    since = int(time.time())
    sh(f"{COMPOSE} restart")
    wait_until_healthy(since)
    assert function_version("kept") == version
    assert call("/f/dummy/kept") == ""


def test_functions_survive_a_new_container(server):
    upload_smallest("kept")
    version, old = function_version("kept"), container()
    sh(f"{COMPOSE} down")
    compose_up()
    assert container() != old
    assert function_version("kept") == version


def test_stop(server):
    """SIGTERM reaches process 1 and ends it: with exit code 0, and long before Docker would kill
    it (137)."""
    name = container()
    sh(f"docker stop -t 5 {name}")
    assert inspect(name, ".State.ExitCode") == 0
    assert sh(f"{COMPOSE} logs --tail=1 2>&1").strip().endswith("info ended")
    compose_up()


# --- the Dockerfile in the root ------------------------------------------------------------------


def last_stage(path):
    lines = (ROOT / path).read_text().splitlines()
    start = max(i for i, line in enumerate(lines) if line.startswith("FROM "))
    return [line for line in lines[start + 1:] if not line.startswith("COPY ")]


def test_both_dockerfiles_end_alike():
    assert last_stage("Dockerfile") == last_stage("docker/local.Dockerfile")


def contents(name):
    return sh(f"docker run --rm --entrypoint find {name} /usr/local /var/lib/faasm "
              "-printf '%M %u:%g %p\\n' | sort")


def test_image_from_source(toolchain, image):
    """The Dockerfile in the root, but for the engine, which takes minutes and Rust: in the place of
    Rust's image stands one with the host's engine in the cache, where script/engine finds it."""
    engine = pathlib.Path(build(ROOT / "script/engine", ROOT).strip())
    folder = SCRATCH / "rust"
    folder.mkdir()
    version = sh("rustc --version").strip()
    (folder / "rustc").write_text(f'#!/bin/sh\necho "{version}"\n')
    (folder / "rustc").chmod(0o755)
    shutil.copytree(engine, folder / engine.name)
    (folder / "Dockerfile").write_text("FROM faasm/toolchain:latest\n"
                                       f"LABEL project={PROJECT}\n"
                                       f"COPY {engine.name} /var/cache/faasm/{engine.name}\n"
                                       "COPY rustc /usr/local/bin/\n")
    build(f"docker build -t {PROJECT}/rust {folder}")
    try:
        options = f"--build-arg RUST_IMAGE={PROJECT}/rust"
        build(f"docker build {options} --target build -t {PROJECT}/build .")
        build(f"docker build {options} -t {PROJECT}/faasm .")
        assert contents(f"{PROJECT}/faasm") == contents("faasm:latest")
        for field in (".Config.User", ".Config.Entrypoint", ".Config.Env", ".Config.ExposedPorts"):
            assert inspect(f"{PROJECT}/faasm", field) == inspect("faasm:latest", field)
        assert sh(f"echo -n works | docker run --rm -i --entrypoint faasm {PROJECT}/faasm "
                  "run /usr/local/share/faasm/samples/simon/echo.wasm") == "works"
    finally:
        # The tag of the build stage stays: its packages need not be brought again next time.
        execute(f"docker rmi {PROJECT}/faasm")
        execute(f"docker image prune -f --filter label=project={PROJECT}")
