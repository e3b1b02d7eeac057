"""The tests of WASI's first preview that its authors publish, each run by `faasm run` on both kinds
of files: a folder of the machine, and a user's tree with the call's own changes in memory.

They are programs of others, so they are not here. Where the environment variable FAASM_THIRD_PARTY
names a folder that holds `wasi-testsuite`, with the programs compiled, they are run from there;
otherwise nothing is, and that is said. Beside a program lies, as JSON, what it is given and what is
to come of it:

    args, env          its arguments and environment
    root               a folder beside it, which it finds as `/`
    exit_code          0 if it does not say
    stdout, stderr     the whole text; if it does not say, anything

    FAASM   the program under test
"""

import json
import os
import pathlib
import shutil
import subprocess

import pytest

FAASM = os.environ["FAASM"]
THIRD_PARTY = os.environ.get("FAASM_THIRD_PARTY", "")
SUITE = pathlib.Path(THIRD_PARTY) / "wasi-testsuite"
TARGET = "wasm32-wasip1"
KNOWN = {"args", "env", "root", "exit_code", "stdout", "stderr"}
TIMEOUT_S = 120  # with a sanitizer, on a busy machine

if not THIRD_PARTY:
    pytest.skip("FAASM_THIRD_PARTY does not say where wasi-testsuite is", allow_module_level=True)

# A variable that leads nowhere is a mistake, and no reason to skip.
PROGRAMS = sorted(path for path in SUITE.rglob("*.wasm") if path.parent.name == TARGET)
assert PROGRAMS, f"no {TARGET}/*.wasm below {SUITE}"


def name_of(path):
    return f"{path.relative_to(SUITE).parts[0]}-{path.stem}"


@pytest.mark.parametrize("files", ["dir", "files"])
@pytest.mark.parametrize("program", PROGRAMS, ids=name_of)
def test_program(program, files, tmp_path):
    told = program.with_suffix(".json")
    wanted = json.loads(told.read_text()) if told.exists() else {}
    assert set(wanted) <= KNOWN  # else there is something new to be done

    options = []
    if "root" in wanted:
        copy = tmp_path / "root"
        shutil.copytree(program.parent / wanted["root"], copy)
        options += ["--dir", f"{copy}::/"] if files == "dir" else ["--files", copy]
    for name, value in wanted.get("env", {}).items():
        options += ["--env", f"{name}={value}"]
    done = subprocess.run([FAASM, "run", *options, program, *wanted.get("args", [])],
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S,
                          check=False)
    said = done.stderr.decode(errors="replace")
    assert done.returncode == wanted.get("exit_code", 0), said
    if "stdout" in wanted:
        assert done.stdout.decode() == wanted["stdout"]
    if "stderr" in wanted:
        assert said == wanted["stderr"]
