"""Servers of others, and other ways to run a function, to be measured beside ours.

Each gets what makes it fastest without giving up what we give: docs/performance.md says what."""
import os
import pathlib
import shutil
import socket
import subprocess

from harness.servers import Server

PEERS = pathlib.Path(__file__).resolve().parent.parent / "peers"
CONSTANT = b"x" * 100  # what nginx answers
CONNECTIONS_MAX = 4096


def nginx_program():
    """Debian has it where only root's PATH leads."""
    return shutil.which("nginx") or shutil.which("/usr/sbin/nginx")


def wasmtime_program():
    """What WASMTIME= names; None when it names nothing."""
    program = os.environ.get("WASMTIME")
    if program and not os.access(program, os.X_OK):
        raise RuntimeError(f"WASMTIME={program} is no program")
    return program or None


def versions():
    """Of the programs that are not ours, as they tell them."""
    found = {"nginx": [nginx_program(), "-v"], "wasmtime": [wasmtime_program(), "--version"]}
    for name, command in found.items():
        if command[0]:
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[name] = (done.stdout + done.stderr).strip()
        else:
            found[name] = "none"
    return found


def free_port():
    """For a program that cannot choose one itself."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Nginx(Server):
    """nginx that reads the request and answers with a constant: no function, no echo."""

    ready = r"start worker processes"  # its sockets listen by then

    def __init__(self, folder, workers=0, **how):
        self.port = free_port()
        configuration = pathlib.Path(folder) / "nginx.conf"
        configuration.write_text(self._configuration(folder, workers or os.cpu_count()))
        command = [nginx_program(), "-p", folder, "-c", str(configuration), "-e", "stderr"]
        super().__init__(command, **how)

    def _configuration(self, folder, workers):
        paths = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        return f"""
daemon off;
worker_processes {workers};
pid {folder}/nginx.pid;
error_log stderr notice;
events {{
    worker_connections {CONNECTIONS_MAX};
}}
http {{
    access_log off;
    keepalive_requests 1000000000;
    {' '.join(f'{path}_temp_path {folder}/{path};' for path in paths)}
    server {{
        listen 127.0.0.1:{self.port} backlog={CONNECTIONS_MAX};
        location / {{
            default_type application/octet-stream;
            return 200 "{CONSTANT.decode()}";
        }}
    }}
}}
"""

    def find_address(self):
        self.wait_for(self.ready)
        return f"127.0.0.1:{self.port}"

    def answer_to(self, body):
        return CONSTANT


class WasmtimeServe(Server):
    """`wasmtime serve` with our component, compiled ahead: a fresh instance for each request."""

    ready = r"Serving HTTP on http://([^/]+)/"

    def __init__(self, program, folder, **how):
        compiled = str(pathlib.Path(folder) / "echo.cwasm")
        source = str(PEERS / "wasmtime-serve" / "echo.wasm")
        command = [program, "compile", *self._flags("compile"), "-o", compiled, source]
        subprocess.run(command, check=True, capture_output=True, text=True)
        command = [program, "serve", "--addr", "127.0.0.1:0", "--allow-precompiled"]
        super().__init__([*command, *self._flags("serve"), compiled], **how)

    @staticmethod
    def _flags(verb):
        lines = (PEERS / "wasmtime-serve" / "flags").read_text().splitlines()
        words = [line.split() for line in lines if line.startswith(f"{verb} ")]
        return [word for line in words for word in line[1:]]


class Cgi(Server):
    """bench/peers/cgi.c: a process for each request."""

    def __init__(self, program, echo, **how):
        super().__init__([program, echo], **how)
