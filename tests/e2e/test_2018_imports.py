"""What the functions of 2018 import that used the network: the samples `net` and `curl`. Most of the 58
names were never called; they must not keep a module from being uploaded."""
import json
import re
import struct

import pytest

from process import Server

# Name and signature, as in src/guest/imports_2018.h: i is i32.
WORDS = """
    puts i:i                        __syscall_poll iii:i            __syscall_open iii:i
    abort :                         __syscall_llseek iiiii:i        __syscall_exit i:i
    __syscall_chown32 iii:i         __syscall_setrlimit ii:i        __syscall_ugetrlimit ii:i
    __syscall_access ii:i           __syscall_openat iiii:i         __syscall_fsync i:i
    __syscall_exit_group i:i        __syscall_dup2 ii:i             __syscall_prlimit64 iiii:i
    __syscall_socketcall ii:i       __syscall__newselect iiiii:i    __syscall_readv iii:i
    __syscall_writev iii:i          __syscall_fdatasync i:i         __syscall_read iii:i
    __syscall_close i:i             __syscall_creat ii:i            __syscall_unlink i:i
    __syscall_chdir i:i             __syscall_madvise iii:i         __syscall_getdents64 iii:i
    __syscall_fcntl64 iii:i         __syscall_getrlimit ii:i        __syscall_getrusage ii:i
    __syscall_gettimeofday ii:i     __syscall_readlink iii:i        __syscall_rt_sigaction iii:i
    __syscall_mmap iiiiii:i         __syscall_stat64 ii:i           __syscall_lstat64 ii:i
    __syscall_fstat64 ii:i          __syscall_getgroups32 ii:i      __syscall_kill ii:i
    __syscall_rename ii:i           __syscall_dup i:i               __syscall_pipe i:i
    __syscall_brk i:i               __syscall_clock_gettime ii:i    __syscall_tgkill iii:i
    __syscall_setitimer iii:i       __syscall_wait4 iiii:i          __syscall_futex iiiiii:i
    __syscall_sched_getaffinity iii:i  __syscall_ioctl iiiiii:i     __syscall_umask i:i
    __syscall_faccessat iiii:i      __syscall_pselect6 iiiiii:i     __syscall_mremap iiiii:i
    __syscall_munmap ii:i           __unsupported_syscall iiiiiii:i  _Exit i:
    ioctl iii:i""".split()
IMPORTS = dict(zip(WORDS[::2], WORDS[1::2], strict=True))
MISSING = """abort _Exit chown32 setrlimit ugetrlimit access openat fsync dup2 prlimit64 _newselect
    fdatasync creat unlink chdir getdents64 getrlimit getrusage readlink rt_sigaction stat64 lstat64 fstat64
    getgroups32 kill rename dup pipe tgkill setitimer wait4 sched_getaffinity umask faccessat pselect6
    __unsupported_syscall""".split()
MISSING = {name if name in IMPORTS else f"__syscall_{name}" for name in MISSING}
SOCKETS = range(1, 21)  # socket, bind, connect ... of socketcall
ENOSYS = 38


def module():
    """Imports them all. The input is a byte: which of them to call, with zeros; and a word, which is its
    first parameter. The output is the result, a word."""
    def declare(name, signature):
        parameters, _, result = signature.partition(":")
        return (f'(import "env" "{name}" (func ${name} (param {"i32 " * len(parameters)})'
                f'{" (result i32)" if result else ""}))')

    def call(name, signature):
        parameters, _, result = signature.partition(":")
        values = ["(local.get $first)"] * bool(parameters) + ["(i32.const 0)"] * (len(parameters) - 1)
        made = f"(call ${name} {' '.join(values)})"
        return f"(local.set $got {made})" if result else made

    text = ["(module"] + [declare(*row) for row in IMPORTS.items()]
    text += ['(memory (export "memory") 1)',
             '(func (export "run") (param $in i32) (param $out i32) (param i32 i32) (result i32)',
             "(local $first i32) (local $got i32)",
             "(local.set $first (i32.load offset=1 (local.get $in)))"]
    for i, row in enumerate(IMPORTS.items()):
        text.append(f"(if (i32.eq (i32.load8_u (local.get $in)) (i32.const {i + 1})) (then {call(*row)}))")
    text.append("(i32.store (local.get $out) (local.get $got)) (i32.const 0)))")
    return "\n".join(text)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("2018") / "data", "--workers", "1").ready()
    server.put("simon/net", module())
    yield server
    server.stop()


def call(server, name, first=0):
    return server.call("simon/net", bytes([list(IMPORTS).index(name) + 1]) + struct.pack("<i", first))


def test_it_is_a_function_of_2018(server):
    shown = json.loads(server.request("GET", "/f/simon/net")[1])
    assert shown["abi"] == "faasm-2018"
    assert len(IMPORTS) == 58
    assert shown["imports"] == sorted(f"env.{name}" for name in IMPORTS)


@pytest.mark.parametrize("name", sorted(IMPORTS))
def test_every_function(server, name):
    status, body = call(server, name)
    if name in MISSING:
        problem = json.loads(body)
        assert (status, problem["trap"]) == (502, "missing_import")
        assert re.search(rf"\b{re.escape(name)}\b", problem["detail"]), problem
    elif name == "__syscall_futex":
        assert (status, json.loads(body)["trap"]) == (502, "deadlock")
    else:
        assert status == 200, body


def test_sockets_answer_an_errno(server):
    """A program that tries the network is told, and goes on."""
    for number in SOCKETS:
        assert call(server, "__syscall_socketcall", number) == (200, struct.pack("<i", -ENOSYS))


def test_a_type_that_is_wrong_is_no_stub(server):
    text = module().replace('"__syscall_socketcall" (func $__syscall_socketcall (param i32 i32 )',
                            '"__syscall_socketcall" (func $__syscall_socketcall (param i32 i64 )')
    text = text.replace("(call $__syscall_socketcall (local.get $first) (i32.const 0))",
                        "(call $__syscall_socketcall (local.get $first) (i64.const 0))")
    status, body, _ = server.request("PUT", "/f/simon/other", text)
    assert status == 422 and json.loads(body)["missing_imports"] == ["env.__syscall_socketcall"], body
