"""Uploads that are refused for what they import: the answer names all of it."""
import json
import re
import subprocess

import pytest

from process import Server


@pytest.fixture(scope="module", name="server")
def server_fixture(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("data") / "d").ready()
    yield running
    running.stop()


def refused(server, module):
    """The problem of an upload that the server has no imports for."""
    status, body, headers = server.request("PUT", "/f/bad/module", module)
    problem = json.loads(body)
    assert (status, problem["code"]) == (422, "unsupported_module"), problem
    assert headers["Content-Type"] == "application/problem+json"
    assert server.request("GET", "/f/bad/module")[0] == 404
    return problem


def test_every_missing_import_is_named(server):
    wanted = sorted([f"env.function_{i}" for i in range(150)] + [f"host.f{i}" for i in range(149)]
                    + ["faasm.input_size"])
    imports = "".join(f'(import "{module}" "{name}" (func))'  # there is a faasm.input_size, of another type
                      for module, name in (name.split(".") for name in reversed(wanted)))
    module = (f'(module {imports} (import "env" "function_7" (func (param i32)))'
              '(import "faasm" "output_write" (func (param i32 i32) (result i32)))'
              '(memory (export "memory") 1) (func (export "_start")))')
    problem = refused(server, module)
    assert len(wanted) == 300 and problem["missing_imports"] == wanted
    assert re.search(r" and \d+ more$", problem["detail"]) and len(problem["detail"]) < 512

    # As the compilers make them: the binary format.
    binary = subprocess.run(["wat2wasm", "--enable-all", "-", "--output=-"], input=module.encode(),
                            capture_output=True, check=True).stdout
    assert refused(server, binary) == problem


def leb(number):
    data = b""
    while number > 127:
        data += bytes([number & 127 | 128])
        number >>= 7
    return data + bytes([number])


def module_importing(names):
    """A command that imports functions of module `m`, in the binary format."""
    def sized(data):
        return leb(len(data)) + data
    imports = leb(len(names)) + b"".join(b"\1m" + sized(name) + b"\0\0" for name in names)
    exports = b"\2" + b"\6memory\2\0" + b"\6_start\0" + leb(len(names))
    sections = {1: b"\1\x60\0\0", 2: imports, 3: b"\1\0", 5: b"\1\0\1", 7: exports, 10: b"\1\2\0\x0b"}
    return b"\0asm\1\0\0\0" + b"".join(bytes([i]) + sized(data) for i, data in sections.items())


@pytest.mark.parametrize("count, listed", [(32768, True), (32769, False)])
def test_a_list_of_missing_imports_is_whole_or_left_out(server, count, listed):
    """512 KiB of names are listed, 16 bytes of JSON each here; the rest is a number."""
    names = [b"n%09d_" % i for i in range(count)]
    problem = refused(server, module_importing(names))
    if listed:
        assert problem["missing_imports"] == [f"m.{name.decode()}" for name in names]
    else:
        assert "missing_imports" not in problem
        assert problem["missing_imports_omitted"] is True
        assert problem["missing_imports_count"] == count
