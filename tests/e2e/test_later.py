"""Programs of the Faasm that came after 2018: commands that import `__faasm_...` of `env`."""
import json
import os
import shutil
import subprocess

import pytest

import calls
from process import FAASM, Server

CLANG = "clang-22" if shutil.which("clang-22") else "clang"

# As its toolchain declares and links them: names without a module are imports of `env`.
DECLARATIONS = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
long __faasm_read_input(unsigned char *buffer, long length);
void __faasm_write_output(const char *data, long length);
unsigned __faasm_chain_name(const char *name, const unsigned char *data, long length);
int __faasm_await_call(unsigned call);
int __faasm_await_call_output(unsigned call, char **data, int *length);
"""
PROGRAMS = {
    "echo": """
int main(void)
{
    long size = __faasm_read_input(NULL, 0);
    unsigned char *input = malloc((size_t)size + 1);
    long got = __faasm_read_input(input, size);
    printf("echoes %ld of %ld\\n", got, size);
    __faasm_write_output("never seen", 10);
    __faasm_write_output((char *)input, got);
    return 0;
}""",
    # Input: a name. Its output, and the exit code behind it.
    "ask": """
int main(void)
{
    char name[100] = "";
    char text[200];
    (void)__faasm_read_input((unsigned char *)name, sizeof(name) - 1);
    unsigned call = __faasm_chain_name(name, (const unsigned char *)"to\\0you", 6);
    char *data = NULL;
    int length = -1;
    int code = __faasm_await_call_output(call, &data, &length);
    if (code != __faasm_await_call(call))
        return 99;
    int used = snprintf(text, sizeof(text), "%d:", code);
    memcpy(text + used, data, (size_t)length);
    __faasm_write_output(text, used + length);
    return 0;
}""",
    # Takes the outputs of many calls, frees them, and uses its own memory in between.
    "many": """
int main(void)
{
    enum { CALLS = 200, BLOCKS = 50 };
    unsigned char *blocks[BLOCKS] = {NULL};
    unsigned char input[3000];
    unsigned started[CALLS];
    long sum = 0;
    memset(input, 'x', sizeof(input));
    for (int i = 0; i < CALLS; i++)
        started[i] = __faasm_chain_name("echo", input, i * 13);
    for (int i = 0; i < CALLS; i++) {
        char *data = NULL;
        int length = 0;
        if (__faasm_await_call_output(started[i], &data, &length) != 0 || length != i * 13)
            return 1;
        for (int j = 0; j < length; j++)
            if (data[j] != 'x')
                return 2;
        int at = i % BLOCKS;
        for (int j = 0; blocks[at] && j < 5000; j++)
            if (blocks[at][j] != (unsigned char)at)
                return 3;
        free(blocks[at]);
        free(data);
        blocks[at] = malloc(5000 + (size_t)i);
        if (!blocks[at])
            return 4;
        memset(blocks[at], at, 5000);
        memset(data, 0xff, (size_t)length); /* ours, as long as the call lasts */
        sum += length;
    }
    char text[40];
    int length = snprintf(text, sizeof(text), "%ld", sum);
    __faasm_write_output(text, length);
    return 0;
}""",
    # With the older await_call_output, in a program that exports no malloc.
    "older": """
int main(void)
{
    char text[8] = "1234567";
    unsigned call = __faasm_chain_name("echo", (const unsigned char *)"Hello", 5);
    if (__faasm_await_call_output(call, (char **)text, (int *)3) != 0)
        return 1;
    __faasm_write_output(text, 7);
    return 0;
}""",
    "exits": "int main(void) { __faasm_write_output(\"partly\", 6); return 7; }",
    "traps": "int main(void) { __builtin_trap(); }",
    "args": """
int main(int argc, char **argv)
{
    char text[200] = "";
    for (int i = 1; i < argc; i++)
        strcat(strcat(text, argv[i]), ";");
    strcat(text, getenv("MODE") ? getenv("MODE") : "none");
    __faasm_write_output(text, (long)strlen(text));
    return 0;
}""",
}
CHAIN_BY_POINTER = """(module
  (import "env" "__faasm_chain_ptr" (func (param i32 i32 i32) (result i32)))
  (import "env" "__faasm_read_input" (func (param i32 i32) (result i32)))
  (import "env" "__faasm_write_state" (func (param i32 i32 i32)))
  (import "env" "__cxa_throw" (func (param i32 i32 i32)))
  (memory (export "memory") 1) (func (export "_start")))"""


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """The programs, compiled as the later toolchain does it."""
    folder = tmp_path_factory.mktemp("later")
    for name, text in PROGRAMS.items():
        source = folder / f"{name}.c"
        source.write_text(DECLARATIONS + text)
        subprocess.run([CLANG, "--target=wasm32-wasi", "-Wno-deprecated", "-O2", "-Wall", "-Wextra",
                        "-Werror", "-Wl,--allow-undefined", "-Wl,--stack-first",
                        *([] if name == "older" else ["-Wl,--export=malloc", "-Wl,--export=free"]),
                        "-o", folder / f"{name}.wasm", source],
                       check=True, env={**os.environ, "PATH": "/usr/bin:/bin"})
    return {name: (folder / f"{name}.wasm").read_bytes() for name in PROGRAMS}


@pytest.fixture(scope="module")
def server(tmp_path_factory, modules):
    server = Server(tmp_path_factory.mktemp("server") / "data", "--workers", "2").ready()
    for name, module in modules.items():
        server.put(f"ada/{name}", module)
    yield server
    server.stop()


def test_they_are_functions_of_faasm(server):
    shown = json.loads(server.request("GET", "/f/ada/echo")[1])
    assert shown["abi"] == "faasm" and "env.__faasm_read_input" in shown["imports"]


def test_input_and_output(server):
    for data in (b"Hello", b"", b"a\0b\0", os.urandom(1 << 20)):
        assert server.call("ada/echo", data) == (200, data)
    record = calls.submit(server, "ada/echo", b"later")
    calls.wait(server, record, "succeeded")
    assert calls.output(server, record) == b"later"
    assert server.request("GET", f"/calls/{record}/log")[1] == b"echoes 5 of 5\n"


def test_calls_of_others(server):
    assert server.call("ada/ask", b"echo") == (200, b"0:to\0you")
    assert server.call("ada/ask", b"exits") == (200, b"7:partly")
    assert server.call("ada/ask", b"traps") == (200, b"1:")
    assert server.call("ada/older") == (200, b"Hel4567")
    assert server.call("ada/many") == (200, str(sum(i * 13 for i in range(200))).encode())


def test_what_cannot_be_called(server):
    for name in (b"nobody", b"", b"no name", b"x" * 99):
        status, body, headers = server.request("POST", "/f/ada/ask", name)
        assert (status, body) == (200, b"1:")
        log = server.request("GET", f"/calls/{headers['X-Faasm-Call-Id']}/log")[1]
        assert b"__faasm_chain_name: no call was started" in log


def test_exit_codes_and_configuration(server):
    status, body, _ = server.request("POST", "/f/ada/exits")
    problem = json.loads(body)
    assert (status, problem["exit_code"], problem["output"]) == (500, 7, "partly")
    assert server.call("ada/args") == (200, b"none")
    status, body, _ = server.request("PATCH", "/f/ada/args", '{"args": ["a", "b c"], "env": {"MODE": "m"}}',
                                     {"Content-Type": "application/merge-patch+json"})
    assert status == 200, body
    assert server.call("ada/args") == (200, b"a;b c;m")


def test_what_is_not_there_is_named(server):
    status, body, _ = server.request("PUT", "/f/ada/pointer", CHAIN_BY_POINTER)
    problem = json.loads(body)
    assert (status, problem["code"]) == (422, "unsupported_module")
    assert problem["missing_imports"] == ["env.__cxa_throw", "env.__faasm_chain_ptr",
                                          "env.__faasm_write_state"]
    assert "calls are made by name" in problem["detail"]


def test_run(modules, tmp_path):
    """Without a server the last output is written at the end, and nobody is called."""
    def run(name, data, *options):
        path = tmp_path / f"{name}.wasm"
        path.write_bytes(modules[name])
        result = subprocess.run([FAASM, "run", *options, str(path)], input=data, capture_output=True,
                                timeout=60)
        return result.returncode, result.stdout, result.stderr

    assert run("echo", b"Hello") == (0, b"Hello", b"echoes 5 of 5\n")
    assert run("echo", b"x" * 100_000)[:2] == (0, b"x" * 100_000)
    assert run("exits", b"")[:2] == (7, b"partly")
    code, out, log = run("ask", b"echo")
    assert (code, out) == (0, b"1:") and b"child calls were not run (1)" in log
    assert run("echo", b"x" * 11, "--limit", "output_bytes=11")[:2] == (0, b"x" * 11)
    code, out, log = run("echo", b"x" * 12, "--limit", "output_bytes=11")
    assert code != 0 and b"output_bytes" in log
