"""Functions as web pages, /h/<user>/<function>/...: what a function learns of the request, how its answer
gets out while it runs, who waits for whom, and what is refused. With real curl wherever it can tell."""
import http.client
import json
import os
import pathlib
import re
import select
import socket
import struct
import subprocess
import time

import pytest

from process import Server

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SANITIZED = os.environ.get("FAASM_SANITIZE", "")
MIB = 1 << 20
BIG = 100_000_000 if not SANITIZED else 20_000_000
FLAT = 12 * MIB if not SANITIZED else 200 * MIB  # that memory may grow by for it
LARGE = "?limit.input_bytes=1GiB&limit.output_bytes=1GiB&limit.wall_ms=10m&limit.cpu_ms=10m"

WEB = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <poll.h>
#include <errno.h>

extern char **environ;
static char piece[65536];

static size_t drain(void)
{
    size_t total = 0;
    ssize_t got;
    while ((got = read(0, piece, sizeof(piece))) > 0)
        total += (size_t)got;
    return got < 0 ? (size_t)-1 : total;
}

static int is(const char *name)
{
    const char *path = getenv("PATH_INFO");
    return path && strcmp(path, name) == 0;
}

static int put(const char *text)
{
    size_t length = strlen(text);
    return write(1, text, length) == (ssize_t)length ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *query = getenv("QUERY_STRING");
    if (is("/env")) {
        put("Content-Type: text/plain\n\n");
        for (char **at = environ; *at; at++)
            printf("%s\n", *at);
        return 0;
    }
    if (is("/count")) {
        size_t total = drain();
        printf("Content-Type: text/plain\n\n%zu\n", total);
        return 0;
    }
    if (is("/cat")) {
        ssize_t got;
        put("A: b\n\n");
        while ((got = read(0, piece, sizeof(piece))) > 0)
            if (write(1, piece, (size_t)got) != got)
                return 1;
        return 0;
    }
    if (is("/give")) {
        long long left = atoll(query);
        put("Content-Type: application/x\n\n");
        memset(piece, 'x', sizeof(piece));
        while (left > 0) {
            size_t part = left < (long long)sizeof(piece) ? (size_t)left : sizeof(piece);
            if (write(1, piece, part) != (ssize_t)part)
                return 1;
            left -= (long long)part;
        }
        return 0;
    }
    if (is("/head")) { /* the header block is the body of the request */
        ssize_t got;
        while ((got = read(0, piece, sizeof(piece))) > 0)
            if (write(1, piece, (size_t)got) != got)
                return 1;
        return 0;
    }
    if (is("/lines")) { /* one line out for each that is read, and what poll says in between */
        struct pollfd fds[2] = {{.fd = 0, .events = POLLIN}, {.fd = 1, .events = POLLOUT}};
        put("A: b\n\n");
        int ready = poll(fds, 1, 0);
        char text[100];
        snprintf(text, sizeof(text), "ready %d\n", ready);
        put(text);
        ready = poll(fds, 1, 20000);
        snprintf(text, sizeof(text), "then %d %d\n", ready, fds[0].revents & POLLIN);
        put(text);
        ssize_t got = read(0, piece, sizeof(piece));
        write(1, piece, (size_t)got);
        return 0;
    }
    if (is("/begin")) { /* begins its answer, and then waits for ever, or fails */
        put("Content-Type: text/plain\n\nbegun\n");
        poll(NULL, 0, 1);
        if (!strcmp(query, "trap"))
            __builtin_trap();
        if (!strcmp(query, "exit"))
            return 3;
        if (!strcmp(query, "wait"))
            poll(NULL, 0, 3600000);
        if (!strcmp(query, "flood"))
            for (;;)
                if (put("and on, and on, and on, and on, and on, and on, and on, and on, and on\n"))
                    return 1;
        return 0;
    }
    if (is("/trap"))
        __builtin_trap();
    if (is("/exit")) {
        put("A: b\n\nheld");
        return 3;
    }
    if (is("/silent"))
        return 0;
    return 9;
}
"""

NATIVE = r"""
#include <stdlib.h>
#include <time.h>
#include "faasm.h"

static char text[70000];

static void show(struct FaasmMemory *memory, const char *name)
{
    char value[200];
    int length = faasmHttpHeader(memory, name, value, sizeof(value));
    length = length < 0 ? snprintf(text, sizeof(text), "%s %d\n", name, length)
                        : snprintf(text, sizeof(text), "%s=%s\n", name, value);
    (void)faasmWriteOutput(memory, text, (uint32_t)length);
}

static void say(struct FaasmMemory *memory, const char *what, int result)
{
    int length = snprintf(text, sizeof(text), "%s %d\n", what, result);
    (void)faasmWriteOutput(memory, text, (uint32_t)length);
}

int exec(struct FaasmMemory *memory)
{
    char path[100] = "";
    int given = faasmHttpHeader(memory, ":path", path, sizeof(path));
    if (given < 0) { /* not through /h/ */
        say(memory, "header", given);
        say(memory, "status", faasmHttpStatus(memory, 200));
        say(memory, "set", faasmHttpSetHeader(memory, "a", "b"));
        say(memory, "flush", faasmHttpFlush(memory));
        return 0;
    }
    if (!strcmp(path, "/show")) {
        show(memory, ":method");
        show(memory, ":path");
        show(memory, ":query");
        show(memory, "x-one");
        show(memory, "X-TWO");
        show(memory, "x-none");
        say(memory, "size", (int)faasmInputSize(memory));
        say(memory, "small", faasmHttpHeader(memory, "x-one", path, 1));
    } else if (!strcmp(path, "/set")) {
        say(memory, "status", faasmHttpStatus(memory, 418));
        say(memory, "bad", faasmHttpStatus(memory, 199));
        say(memory, "set", faasmHttpSetHeader(memory, "X-A", "1"));
        say(memory, "again", faasmHttpSetHeader(memory, "x-a", "2"));
        say(memory, "cookie", faasmHttpSetHeader(memory, "Set-Cookie", "a=1"));
        say(memory, "cookie", faasmHttpSetHeader(memory, "Set-Cookie", "b=2"));
        say(memory, "inject", faasmHttpSetHeader(memory, "X-B", "1\r\nX-C: 2"));
        say(memory, "name", faasmHttpSetHeader(memory, "X B", "1"));
        say(memory, "ours", faasmHttpSetHeader(memory, "Transfer-Encoding", "chunked"));
        memset(text, 'x', sizeof(text) - 1);
        say(memory, "long", faasm_http_header_set("X-L", 3, text, 20000));
        say(memory, "flush", faasmHttpFlush(memory));
        say(memory, "late", faasmHttpStatus(memory, 200));
        say(memory, "late", faasmHttpSetHeader(memory, "X-D", "1"));
    } else if (!strcmp(path, "/read")) { /* all of it, from 0 on, and what may be read twice */
        uint32_t at = 0;
        int got;
        while ((got = faasmReadInput(memory, at, text, sizeof(text))) > 0)
            at += (uint32_t)got;
        say(memory, "bytes", (int)at);
        say(memory, "size", (int)faasmInputSize(memory));
        say(memory, "again", faasmReadInput(memory, 0, text, 10));
        say(memory, "gone", faasmReadInput(memory, 65536, text, 10));
        say(memory, "end", got);
        say(memory, "first", memory->input[0]);
    } else if (!strcmp(path, "/size")) {
        say(memory, "size", (int)faasmInputSize(memory));
    } else if (!strcmp(path, "/hold")) { /* nothing goes out before the flush */
        struct timespec pause = {0, 1000000};
        say(memory, "held", 1);
        nanosleep(&pause, NULL);
        say(memory, "set", faasmHttpSetHeader(memory, "X-Late", "no"));
        faasmHttpFlush(memory);
        nanosleep(&pause, NULL);
        say(memory, "sent", 2);
    }
    return 0;
}
"""

LITTLE = r"""
#include "faasm.h"
int exec(struct FaasmMemory *memory)
{
    int length = (int)strlen((char *)memory->input);
    snprintf((char *)memory->output, 100, "%d bytes", length);
    return 0;
}
"""

# Answers what its argument says, without a header block of CGI: `run` of 2018.
OLD = """(module (memory (export "memory") 1)
  (func (export "run") (param i32 i32 i32 i32) (result i32) (i32.const 0)))"""

LATER = """(module
  (import "env" "__faasm_read_input" (func $r (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (drop (call $r (i32.const 0) (i32.const 1000)))))"""

CHAIN = """(module
  (import "faasm" "chain" (func $c (param i32 i32 i32 i32) (result i32)))
  (import "faasm" "http_flush" (func $f (result i32)))
  (import "faasm" "output_write" (func $w (param i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 0) "%s")
  (func (export "_start")
    (drop (call $w (i32.const 0) (i32.const 4))) %s
    (drop (call $c (i32.const 0) (i32.const %d) (i32.const 0) (i32.const 0)))))"""


def compile_c(folder, name, source):
    path = folder / f"{name}.c"
    path.write_text(source)
    llvm = os.environ.get("FAASM_LLVM", "22")
    compiler = f"clang-{llvm}" if subprocess.run(["which", f"clang-{llvm}"], capture_output=True,
                                                 check=False).returncode == 0 else "clang"
    subprocess.run([compiler, "--target=wasm32-wasi", "-Wno-deprecated", "-O2", "-Wl,--stack-first",
                    "-Wl,-z,stack-size=262144", "-Wall", "-Werror", "-Wno-unused-result",
                    "-I", ROOT / "include/faasm", "-o", folder / f"{name}.wasm", path], check=True)
    return (folder / f"{name}.wasm").read_bytes()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    server = Server(folder / "data", samples=True).ready()
    web = compile_c(folder, "web", WEB)
    server.put("ada/web", web, LARGE + "&env.HTTP_MINE=own&env.REQUEST_METHOD_X=1")
    server.put("ada/brief", web, "?limit.wall_ms=300ms")
    server.put("ada/small", web, "?limit.input_bytes=1000&limit.output_bytes=1000")
    server.put("ada/native", compile_c(folder, "native", NATIVE), LARGE)
    server.put("ada/little", compile_c(folder, "little", LITTLE))
    server.put("ada/old", OLD)
    server.put("ada/later", LATER)
    server.put("ada/chain", CHAIN % ("little", "", 6))
    server.put("ada/lost", CHAIN % ("nobody", "", 6))
    server.put("ada/lost_late", CHAIN % ("nobody", "(drop (call $f))", 6))
    yield server
    try:
        server.stop()
    finally:
        server.process.kill()


open_now = []


def dial(server):
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    open_now.append(connection)
    return connection


def follow(server, path, *options):
    """A curl whose output is read as it comes."""
    process = subprocess.Popen(["curl", "-sN", *options, f"http://127.0.0.1:{server.port}{path}"],
                               stdout=subprocess.PIPE)
    open_now.append(process.stdout)
    return process


@pytest.fixture(autouse=True)
def nothing_stays_open():
    yield
    while open_now:
        open_now.pop().close()


def curl(server, path, *options, stdin=None, check=True):
    """The answer's head as curl prints it, and its body."""
    done = subprocess.run(["curl", "-sS", "-i", "-m", "120", *options,
                           f"http://127.0.0.1:{server.port}{path}"], input=stdin,
                          capture_output=True, check=False)
    if check:
        assert done.returncode == 0, done.stderr
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head, _, body = body.partition(b"\r\n\r\n")
    status = int(head.split()[1]) if head else 0
    headers = {}
    for line in head.decode().split("\r\n")[1:]:
        name, value = line.split(": ", 1)
        headers.setdefault(name, []).append(value)
    return status, {name: ", ".join(values) for name, values in headers.items()}, body


def problem(answer, status, code, words):
    assert answer[0] == status, answer
    assert answer[1]["Content-Type"] == "application/problem+json"
    text = json.loads(answer[2])
    assert text["code"] == code and words in text["detail"], text
    return text


def environment(body):
    return dict(line.split("=", 1) for line in body.decode().splitlines())


def no_sandbox_is_left(server):
    server.wait_metric("faasm_sandboxes", 0)


# --- the request ---------------------------------------------------------------------------------


def test_variables(server):
    status, headers, body = curl(
        server, "/h/ada/web/env?a=1&b=%20+c", "-H", "X-Some-Thing: one", "-H", "X-Some-Thing: two",
        "-H", "X_Some_Thing: three", "-H", "Proxy: http://evil/", "-H", "Cookie: a=1",
        "-H", "Cookie: b=2", "-H", "Mine: theirs", "-H", "Content-Type: text/x", "-H", "Keep-Alive: 5")
    assert status == 200 and headers["Content-Type"] == "text/plain"
    env = environment(body)
    expected = {
        "GATEWAY_INTERFACE": "CGI/1.1", "SERVER_PROTOCOL": "HTTP/1.1", "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(server.port), "REMOTE_ADDR": "127.0.0.1", "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "/h/ada/web", "PATH_INFO": "/env", "QUERY_STRING": "a=1&b=%20+c",
        "CONTENT_TYPE": "text/x", "HTTP_X_SOME_THING": "one, two", "HTTP_COOKIE": "a=1; b=2",
        "HTTP_MINE": "own", "HTTP_HOST": f"127.0.0.1:{server.port}", "REQUEST_METHOD_X": "1",
    }
    assert {name: env.get(name) for name in expected} == expected
    assert re.fullmatch(r"faasm/[0-9.]+", env["SERVER_SOFTWARE"])
    for name in ("HTTP_PROXY", "HTTP_KEEP_ALIVE", "HTTP_CONNECTION", "HTTP_CONTENT_TYPE",
                 "CONTENT_LENGTH"):
        assert name not in env
    assert re.fullmatch(r"[0-9a-f-]{36}", headers["X-Faasm-Call-Id"])
    assert headers["X-Faasm-Cold"] in ("0", "1")
    if "Content-Length" in headers:  # a whole answer; one that takes longer begins before its end
        assert headers["X-Faasm-Exit-Code"] == "0" and "X-Faasm-Cpu-Us" in headers


PATHS = ["", "/", "/a", "/a/", "/a//b", "//", "/a%2fb%00%zz/%C3%A4", "/../x", "/a;b=c", "/a" * 500]


@pytest.mark.parametrize("path", PATHS, ids=range(len(PATHS)))
def test_path_is_as_it_came(server, path):
    status, body, _ = server.request("GET", f"/h/simon/page{path}?x=%2f")
    assert status == 200
    assert f"<tr><th>PATH_INFO</th><td>{path}</td></tr>" in body.decode()


def test_names(server):
    problem(curl(server, "/h/ada/nobody/x"), 404, "not_found", "ada/nobody")
    problem(curl(server, "/h/ada/no%2fbody/x"), 400, "bad_name", "encoded slash")
    problem(curl(server, "/h/ada/old/x"), 422, "unsupported_module", "POST /f/ada/old")
    problem(curl(server, "/h/ada/later/x", "-d", "x" * 1000), 422, "unsupported_module", "no HTTP")
    assert curl(server, "/h/ada")[0] == 404
    assert environment(curl(server, "/h/a%64a/w%65b/env")[2])["SCRIPT_NAME"] == "/h/ada/web"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PURGE",
                                    "PROPFIND", "M-SEARCH", "get"])
def test_methods(server, method):
    status, _, body = curl(server, "/h/ada/web/env", "-X", method)
    assert status == 200
    assert environment(body)["REQUEST_METHOD"] == method


def test_head(server):
    status, headers, body = curl(server, "/h/ada/web/env", "-I")
    assert (status, body) == (200, b"")
    assert int(headers.get("Content-Length", 101)) > 100  # none if it began before its end
    status, headers, body = curl(server, "/h/ada/web/begin?wait", "-I")  # does not wait for its end
    assert (status, body) == (200, b"")
    no_sandbox_is_left(server)


def test_native_headers(server):
    status, headers, body = curl(server, "/h/ada/native/show?q=%31", "-X", "PATCH", "-d", "12345",
                                 "-H", "X-One: 1", "-H", "X-two: 2", "-H", "X-Two: 3")
    assert status == 200 and headers["Content-Type"] == "application/octet-stream"
    assert body.decode().splitlines() == [":method=PATCH", ":path=/show", ":query=q=%31", "x-one=1",
                                          "X-TWO=2, 3", "x-none -44", "size 5", "small -51"]


def test_native_answer(server):
    status, headers, body = curl(server, "/h/ada/native/set")
    assert status == 418
    assert headers["x-a"] == "2" and headers["Set-Cookie"] == "a=1, b=2"
    assert "X-C" not in headers and "X-D" not in headers and "X-B" not in headers
    assert [line.split() for line in body.decode().splitlines()] == [
        ["status", "0"], ["bad", "-28"], ["set", "0"], ["again", "0"], ["cookie", "0"],
        ["cookie", "0"], ["inject", "-28"], ["name", "-28"], ["ours", "-28"], ["long", "-1"],
        ["flush", "0"], ["late", "-7"], ["late", "-7"]]


def test_not_through_h(server):
    expected = b"header -58\nstatus -58\nset -58\nflush -58\n"
    assert server.call("ada/native") == (200, expected)
    status, body = server.call("ada/web", b"x")
    assert (status, json.loads(body)["exit_code"]) == (500, 9)  # no variables


# --- bodies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 300_000, 1_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_sizes(server, size, chunked):
    data = bytes(i * 7 % 251 for i in range(1000)) * (size // 1000 + 1)
    data = data[:size]
    options = ["--data-binary", "@-"] + (["-H", "Transfer-Encoding: chunked"] if chunked else [])
    assert curl(server, "/h/ada/web/cat", *options, stdin=data)[2] == data
    assert int(curl(server, "/h/ada/web/count", *options, stdin=data)[2]) == size
    lines = curl(server, "/h/ada/native/read", *options, stdin=data)[2].decode().splitlines()
    gone = 0 if size <= 65536 else -28
    assert lines == [f"bytes {size}", f"size {size}", f"again {min(size, 10)}", f"gone {gone}",
                     "end 0", f"first {data[0] if size else 0}"]


def test_size_of_chunks(server):
    """It is waited for as long as that can help."""
    chunked = ["-H", "Transfer-Encoding: chunked", "--data-binary", "@-"]
    size = curl(server, "/h/ada/native/size", *chunked, stdin=b"x" * 300_000)[2]
    assert size == b"size 300000\n"
    size = curl(server, "/h/ada/native/size", *chunked, stdin=b"x" * 3_000_000)[2]
    assert size == b"size -1\n"  # FAASM_SIZE_UNKNOWN


def test_small_functions(server):
    """What knows nothing of HTTP but reads memory->input."""
    assert curl(server, "/h/ada/little/", "-d", "hello")[2] == b"5 bytes"
    chunked = ["-H", "Transfer-Encoding: chunked", "--data-binary", "@-"]
    for options in (chunked, chunked[2:]):
        assert curl(server, "/h/ada/little/", *options, stdin=b"x" * 65536)[2] == b"65536 bytes"
        answer = curl(server, "/h/ada/little/", *options, stdin=b"x" * 65537)
        assert problem(answer, 500, "guest_exit", "75")["exit_code"] == 75


def test_expect(server):
    """Only what is welcome is sent."""
    connection = dial(server)
    connection.sendall(b"PUT /h/ada/web/count HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n"
                       b"Expect: 100-continue\r\n\r\n")
    assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert server.metric("faasm_sandboxes") == 0  # it has not even begun
    connection.sendall(b"12345")
    assert b"\r\n\r\n5\n" in connection.recv(1000)
    connection.sendall(b"PUT /h/ada/small/count HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n"
                       b"Expect: 100-continue\r\n\r\n")
    assert connection.recv(1000).startswith(b"HTTP/1.1 413 ")
    connection.close()


def test_body_comes_bit_by_bit(server):
    connection = dial(server)
    connection.sendall(b"PUT /h/ada/web/lines HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                       b"0\r\n\r\n")
    text = b""
    while not text.endswith(b"0\r\n\r\n") and b"then" not in text:
        text += connection.recv(1000)
    assert b"ready 1\n" in text and b"then 1 1\n" in text  # at the end there is no waiting
    connection.close()
    connection = dial(server)
    connection.sendall(b"PUT /h/ada/web/count HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    for i in range(20):
        connection.sendall(b"3\r\nabc\r\n")
        server.wait_metric("faasm_sandboxes", 1)
        if i == 3:
            server.wait_metric_reaches("faasm_calls_parked", 1)
    connection.sendall(b"0\r\n\r\n")
    text = b""
    while b"60\n" not in text:
        text += connection.recv(1000)
    connection.close()
    no_sandbox_is_left(server)


# --- the answer ----------------------------------------------------------------------------------


def test_whole_answers(server):
    """What ends at once has a length, and the connection stays."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    for _ in range(3):
        connection.request("GET", "/h/ada/web/silent")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"")
        assert answer.headers["Content-Length"] == "0" and "Content-Type" not in answer.headers
        connection.request("POST", "/h/ada/web/cat", b"x" * 1000)
        answer = connection.getresponse()
        assert answer.read() == b"x" * 1000 and answer.headers["A"] == "b"
        assert answer.headers["Content-Length"] == "1000"
    connection.close()


def test_pipelined(server):
    """One after the other, whatever kind of answer each has."""
    connection = dial(server)
    paths = ["ada/web/silent", "simon/events?2", "ada/native/hold", "ada/web/exit", "ada/web/silent"]
    connection.sendall("".join(f"GET /h/{path} HTTP/1.1\r\nHost: h\r\nX-Pause-Ms: 20\r\n\r\n"
                               for path in paths).encode())
    for status, body in ((200, b""), (200, b"id: 1\ndata:  1\n\nid: 2\ndata:  2\n\n"),
                         (200, b"held 1\nset 0\nsent 2\n"), (500, None), (200, b"")):
        answer = http.client.HTTPResponse(connection)
        answer.fp = connection.makefile("rb", buffering=0)  # nothing of the next one
        answer.begin()
        assert answer.status == status
        assert body is None and answer.read() or answer.read() == (body or b"")


def test_old_clients(server):
    """HTTP/1.0 has no chunks: the end of the connection is that of the answer."""
    status, headers, body = curl(server, "/h/simon/events?2", "-0", "-H", "X-Pause-Ms: 20")
    assert (status, body) == (200, b"id: 1\ndata:  1\n\nid: 2\ndata:  2\n\n")
    assert "Transfer-Encoding" not in headers
    assert len(curl(server, "/h/ada/web/give?1000000", "-0")[2]) == 1000000


def test_hold_and_flush(server):
    status, headers, body = curl(server, "/h/ada/native/hold")
    assert body == b"held 1\nset 0\nsent 2\n" and headers["X-Late"] == "no"
    assert headers["Transfer-Encoding"] == "chunked"


def test_events_one_by_one(server):
    """Each event is here while the function still runs."""
    curl_process = follow(server, "/h/simon/events?4", "-H", "X-Pause-Ms: 200", "-d", "tick")
    times = []
    for i in range(1, 5):
        assert curl_process.stdout.readline() == b"id: %d\n" % i
        if i < 4:
            assert server.metric("faasm_sandboxes") == 1
        assert curl_process.stdout.readline() == b"data: tick %d\n" % i
        assert curl_process.stdout.readline() == b"\n"
        times.append(time.monotonic())
    assert curl_process.stdout.read() == b"" and curl_process.wait() == 0
    assert times[3] - times[0] > 0.3
    no_sandbox_is_left(server)


def test_page(server):
    status, headers, body = curl(server, "/h/simon/page/a%2fb?x=<b>", "-d", "hello")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b"/a%2fb" in body and b"x=&lt;b&gt;" in body and b"5 bytes" in body
    assert curl(server, "/h/simon/page/missing")[0] == 404


def heads(server, text, name="web"):
    return curl(server, f"/h/ada/{name}/head", "--data-binary", "@-", stdin=text)


def test_head_of_the_answer(server):
    status, headers, body = heads(server, b"Status: 404 Nope\r\nX-A: 1\r\nX-A: 2\r\n\r\nbody\r\n")
    assert (status, headers["X-A"], body) == (404, "1, 2", b"body\r\n")
    assert heads(server, b"Location: /there\n\n")[0] == 302
    assert heads(server, b"Status: 301\nLocation: /there\n\n")[1]["Location"] == "/there"
    assert heads(server, b"\nonly a body")[2] == b"only a body"
    status, headers, body = heads(server, b"Status: 204\n\nnobody sees this")
    assert (status, body) == (204, b"") and "Content-Type" not in headers
    assert heads(server, b"Status: 304\nETag: x\n\n")[0] == 304
    assert heads(server, b"Content-Length: 3\n\nabc")[2] == b"abc"


@pytest.mark.parametrize("head, words", [
    (b"X: a\rSet-Cookie: b\n\n", "control character"), (b"X: \0\n\n", "control character"),
    (b"X: \x1b[2J\n\n", "control character"), (b"X Y: z\n\n", "no name"),
    (b"Connection: close\n\n", "not the function's"), (b"Transfer-Encoding: chunked\n\n", "not the"),
    (b"Upgrade: h2c\n\n", "not the function's"), (b"X-Faasm-Call-Id: 1\n\n", "not the function's"),
    (b"Content-Length: 1\nContent-Length: 2\n\nx", "two headers"), (b"<html>\n\n", "no header"),
    (b"Content-Length: x\n\nx", "no number"), (b"Content-Length: 2\n\nx", "less than its header"),
    (b"Content-Length: 0\n\nx", "more than its header"), (b"Status: 999\n\n", "200 to 599"),
    (b"Status: 101\n\n", "200 to 599"), (b"Status: 100\n\n", "200 to 599"), (b"A: b", "empty line"),
    (b"A: b\n continued\n\n", "line 2"),
])
def test_bad_heads(server, head, words):
    answer = heads(server, head)
    problem(answer, 502, "bad_response", words)
    assert "X-Faasm-Call-Id" in answer[1]
    assert set(answer[1]) <= {"Date", "Content-Type", "Content-Length", "X-Faasm-Call-Id",
                              "X-Faasm-Exit-Code", "X-Faasm-Cpu-Us", "X-Faasm-Cold"}
    call = answer[1]["X-Faasm-Call-Id"]
    for _ in range(100):  # another connection, perhaps another worker
        status, text, _ = server.request("GET", f"/calls/{call}")
        if status == 200:
            assert json.loads(text)["error"]["code"] == "bad_response"
            break


def test_limits_of_heads(server):
    for size, fits in ((8191, True), (8192, True), (8193, False)):
        answer = heads(server, b"X: " + b"v" * (size - 5) + b"\n\n")
        if fits:
            assert answer[0] == 200 and len(answer[1]["X"]) == size - 5
        else:
            problem(answer, 502, "bad_response", "more than 8192 bytes")
    for count, fits in ((99, True), (100, True), (101, False)):
        answer = heads(server, b"".join(b"X%d: v\n" % i for i in range(count)) + b"\n")
        assert answer[0] == (200 if fits else 502)
    # The request's own head leaves room for that, whatever it is made of, or is refused.
    answers = []
    for count in (1, 10, 50, 90, 130, 170):
        for room in (8000, 11000, 14000, 16000):
            given = [x for i in range(count) for x in ("-H", f"h{i}: " + "y" * (room // count - 8))]
            status, headers, _ = curl(server, "/h/ada/web/head", *given, "--data-binary", "@-",
                                      stdin=b"X: " + b"v" * 8180 + b"\n\n")
            assert status == 431 or status == 200 and len(headers["X"]) == 8180, (count, room)
            answers.append(status)
    assert set(answers) == {200, 431}


def give_too_much(server):
    """1001 bytes where 1000 may be: refused.  Unless the guest lost its turn in between: then the
    answer has begun, and is cut off."""
    for _ in range(100):
        answer = curl(server, "/h/ada/small/give?1001", check=False)
        if answer[0] != 200:
            return answer
        assert len(answer[2]) < 1001
    raise AssertionError("the answer has always begun")


def test_failures_before_the_answer(server):
    answer = curl(server, "/h/ada/web/trap")
    assert problem(answer, 502, "guest_trap", "")["trap"] == "unreachable"
    answer = curl(server, "/h/ada/web/exit")
    text = problem(answer, 500, "guest_exit", "exit code 3")
    assert text["exit_code"] == 3 and "output" not in text and answer[1]["X-Faasm-Exit-Code"] == "3"
    problem(give_too_much(server), 502, "guest_limit", "output_bytes")


@pytest.mark.parametrize("how", ["trap", "exit"])
def test_failures_in_the_answer(server, how):
    """The client sees that something is missing: curl's exit code 18."""
    done = subprocess.run(["curl", "-sN", f"http://127.0.0.1:{server.port}/h/ada/web/begin?{how}"],
                          capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (18, b"begun\n")


def test_limits_of_bodies(server):
    for size in (999, 1000):
        assert curl(server, "/h/ada/small/count", "-d", "x" * size)[0] == 200
        assert len(curl(server, f"/h/ada/small/give?{size}")[2]) == size
    problem(curl(server, "/h/ada/small/count", "-d", "x" * 1001), 413, "too_large", "input_bytes")
    answer = curl(server, "/h/ada/small/count", "-H", "Transfer-Encoding: chunked", "-d", "x" * 1001)
    problem(answer, 413, "too_large", "input_bytes")
    answer = give_too_much(server)
    assert problem(answer, 502, "guest_limit", "output_bytes")["limit"] == "output_bytes"


def test_held_output(server):
    """Before the end of the request nothing can be sent: so much is held, more is an error at once."""
    pad = 65536 + 262144  # of a body that can be here while it is not read
    answer = curl(server, "/h/ada/web/cat", "--data-binary", "@-", stdin=b"x" * MIB)
    assert len(answer[2]) == MIB
    answer = curl(server, "/h/ada/web/cat", "--data-binary", "@-", stdin=b"x" * (MIB + pad - 65536))
    assert len(answer[2]) == MIB + pad - 65536
    start = time.monotonic()
    answer = curl(server, "/h/ada/web/cat", "--data-binary", "@-", stdin=b"x" * 4 * MIB)
    assert problem(answer, 502, "guest_limit", "before it had read")["limit"] == "held_bytes"
    assert time.monotonic() - start < 20
    no_sandbox_is_left(server)


def test_unread_bodies(server):
    """The answer comes when the rest has come, and the connection stays."""
    status, _, body = curl(server, "/h/ada/web/silent", "--data-binary", "@-", stdin=b"x" * 3 * MIB)
    assert (status, body) == (200, b"")
    done = subprocess.run(["curl", "-sS", "-o", "/dev/null", "-H", "Transfer-Encoding: chunked", "-T", "-",
                           f"http://127.0.0.1:{server.port}/h/ada/web/silent"], input=b"x" * 20 * MIB,
                          capture_output=True, check=False)
    assert done.returncode != 0  # too much of it


def test_chains(server):
    status, headers, body = curl(server, "/h/ada/chain")
    assert (status, body) == (200, b"litt")
    problem(curl(server, "/h/ada/lost"), 500, "chain_target", "nobody")
    done = subprocess.run(["curl", "-sN", f"http://127.0.0.1:{server.port}/h/ada/lost_late"],
                          capture_output=True, check=False)
    assert done.returncode in (0, 18, 22) and b"nobo" in done.stdout or b"chain_target" in done.stdout


# --- streams -------------------------------------------------------------------------------------


def memory_of(server):
    text = pathlib.Path(f"/proc/{server.child()}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) * 1024


def peak_of(server, reset=False):
    if reset:
        pathlib.Path(f"/proc/{server.child()}/clear_refs").write_text("5")
    text = pathlib.Path(f"/proc/{server.child()}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", text)[1]) * 1024


def test_upload_with_flat_memory(server):
    before = peak_of(server, reset=True)
    for options in (["-T", "-"], ["--data-binary", "@-", "-H", "Content-Type: x"]):
        assert int(curl(server, "/h/ada/web/count", *options, stdin=bytes(BIG))[2]) == BIG
    assert peak_of(server) - before < FLAT


def test_download_with_flat_memory(server):
    before = peak_of(server, reset=True)
    curl_process = follow(server, f"/h/ada/web/give?{BIG}")
    total = 0
    while piece := curl_process.stdout.read(MIB):
        total += len(piece)
    assert curl_process.wait() == 0 and total == BIG
    assert peak_of(server) - before < FLAT


def test_slow_reader(server):
    """Who does not read has the function wait, without CPU time and in bounded memory."""
    before = memory_of(server)
    connection = dial(server)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    connection.sendall(f"GET /h/ada/web/give?{BIG} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    first = connection.recv(1000)
    assert first.startswith(b"HTTP/1.1 200")
    server.wait_metric_reaches("faasm_calls_parked", 1)
    assert server.metric("faasm_sandboxes") == 1
    used, since = -1, 0
    while since < 50:  # until the kernel's buffers are full, too
        now = server.metric("faasm_guest_cpu_seconds_total")
        used, since = now, since + 1 if now == used else 0
    assert server.metric("faasm_calls_parked") == 1
    assert memory_of(server) - before < FLAT
    total = len(first)
    while total < BIG and (piece := connection.recv(MIB)):
        total += len(piece)
    connection.close()
    no_sandbox_is_left(server)


def test_slow_function(server):
    """The client is not read from before the function reads."""
    connection = dial(server)
    connection.sendall(b"POST /h/ada/web/begin?wait HTTP/1.1\r\nHost: h\r\nContent-Length: 900000000\r\n\r\n")
    connection.setblocking(False)
    sent = 0
    for _ in range(1000):
        if not select.select([], [connection], [], 0.5)[1]:
            break
        sent += connection.send(bytes(MIB))
    assert sent < 64 * MIB
    assert server.metric("faasm_sandboxes") == 1
    # A FIN would stand behind the bytes that nobody reads; a reset is seen at once.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    no_sandbox_is_left(server)


@pytest.mark.parametrize("path", ["begin?wait", "begin?flood", f"give?{BIG}"])
def test_hang_up_in_the_answer(server, path):
    connection = dial(server)
    connection.sendall(f"GET /h/ada/web/{path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    text = connection.recv(1000)
    assert text.startswith(b"HTTP/1.1 200")
    call = re.search(rb"X-Faasm-Call-Id: (\S+)", text)[1].decode()
    assert server.metric("faasm_sandboxes") == 1
    connection.close()
    no_sandbox_is_left(server)
    records = [json.loads(server.request("GET", f"/calls/{call}")[1]) for _ in range(20)]
    assert all(record["status"] == "cancelled" for record in records if "status" in record)


def test_hang_up_in_the_body(server):
    connection = dial(server)
    connection.sendall(b"POST /h/ada/web/count HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nabc")
    server.wait_metric("faasm_sandboxes", 1)
    connection.close()
    no_sandbox_is_left(server)


def test_in_calls(server):
    """A call like any other: it is listed while it runs, and can be cancelled."""
    curl_process = follow(server, "/h/ada/web/begin?wait")
    assert curl_process.stdout.readline() == b"begun\n"
    calls = json.loads(server.request("GET", "/calls?user=ada&status=running")[1])["calls"]
    assert [call["function"] for call in calls] == ["web"]
    status, text, _ = server.request("DELETE", f"/calls/{calls[0]['id']}")
    assert status == 202 and json.loads(text)["status"] == "cancelled"
    assert curl_process.stdout.read() == b"" and curl_process.wait() == 18
    no_sandbox_is_left(server)


def test_wall_time(server):
    answer = curl(server, "/h/ada/brief/begin?wait", check=False)
    assert answer[2] == b"begun\n"
    connection = dial(server)
    connection.sendall(b"POST /h/ada/brief/count HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc")
    server.wait_metric("faasm_sandboxes", 1)
    no_sandbox_is_left(server)  # its time is over; the answer comes after the body
    connection.sendall(b"4567890")
    assert connection.recv(1000).startswith(b"HTTP/1.1 504 ")
    connection.close()


def test_ends_with_the_server(tmp_path):
    server = Server(tmp_path / "data", "--set", "drain_ms=100", samples=True).ready()
    try:
        curl_process = follow(server, "/h/simon/events?4", "-H", "X-Pause-Ms: 50000")
        assert curl_process.stdout.readline() == b"id: 1\n"
        server.stop()
        assert curl_process.wait() == 18
    finally:
        server.process.kill()
