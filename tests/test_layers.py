"""tests/layers.py reports what breaks src/LAYERS, and nothing else."""
import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).resolve().parent / "layers.py"

LAYERS = """\
# a comment, then layers
base
loop engine   # side by side

guest
"""

TREE = {
    "base/base.h": "#include <stdint.h>\n",
    "base/map.h": '#include "base/base.h"\n',
    "loop/loop.h": '#include "base/base.h"\n',
    "engine/engine.h": '#include <wasmtime.h>\n#include <wasm.h>\n#  include "base/map.h"\n',
    "engine/wasmtime/shim.c": '#include "nowhere.h"\n',  # the engine's own sources are not looked at
    "guest/guest.h": '#include "base/base.h"\n#include "engine/engine.h"\n#include "loop/loop.h"\n',
    "guest/guest.c": '#include "guest/guest.h"\n\nint guest;\n',
}


@pytest.fixture
def root(tmp_path):
    write(tmp_path, "LAYERS", LAYERS)
    for path, text in TREE.items():
        write(tmp_path, path, text)
    return tmp_path


def write(root, path, text):
    file = root / "src" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def check(*arguments):
    """The exit code, and the lines of the answer."""
    done = subprocess.run(
        [sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def expect_one_problem(root, place, text):
    code, lines = check(root)
    assert code == 1
    assert lines == [f"{root}/src/{place}: {text}"]


def test_a_right_tree_passes(root):
    assert check(root) == (0, ["6 files keep to src/LAYERS"])


def test_this_repository_is_the_default():
    assert check() == check(SCRIPT.parent.parent)


@pytest.mark.parametrize(
    ("module", "header"),
    [
        ("base", "guest/guest.h"),  # upwards
        ("base", "loop/loop.h"),  # upwards by one
        ("engine", "guest/guest.h"),
        ("loop", "engine/engine.h"),  # sideways
        ("engine", "loop/loop.h"),  # sideways, the other way round
    ],
)
def test_a_wrong_include(root, module, header):
    write(root, f"{module}/wrong.c", f'\n#include "base/base.h"\n  # include "{header}"\n')
    expect_one_problem(root, f"{module}/wrong.c:3", f"{module}/ must not include {header}")


def test_a_file_that_is_not_there(root):
    write(root, "guest/wrong.c", '#include "guest.h"\n')
    expect_one_problem(root, "guest/wrong.c:1", '"guest.h" is not a file of src/')


def test_an_unknown_module(root):
    write(root, "stray/stray.h", '#include "base/base.h"\n')
    code, lines = check(root)
    assert code == 1
    assert lines == [
        f"{root}/src/stray/stray.h: module 'stray' is not in src/LAYERS",
        "src/stray is not in src/LAYERS",
    ]


def test_an_include_of_an_unknown_module(root):
    write(root, "stray/stray.h", "")
    write(root, "guest/wrong.c", '#include "stray/stray.h"\n')
    code, lines = check(root)
    assert code == 1
    assert f"{root}/src/guest/wrong.c:1: guest/ must not include stray/stray.h" in lines


def test_an_unknown_module_without_sources(root):
    (root / "src" / "empty").mkdir()
    assert check(root) == (1, ["src/empty is not in src/LAYERS"])


@pytest.mark.parametrize("header", ["wasmtime.h", "wasm.h", "wasi.h", "wasmtime/store.h"])
def test_an_engine_header_outside_engine(root, header):
    write(root, "guest/wrong.h", f"#include <{header}>\n")
    expect_one_problem(root, "guest/wrong.h:1", "only engine/ includes the engine's headers")


def test_every_problem_is_reported(root):
    write(root, "base/wrong.c", '#include "loop/loop.h"\n#include <wasm.h>\n')
    write(root, "loop/wrong.c", '#include "guest/guest.h"\n')
    code, lines = check(root)
    assert code == 1
    assert [line.split(": ")[0] for line in lines] == [
        f"{root}/src/base/wrong.c:1",
        f"{root}/src/base/wrong.c:2",
        f"{root}/src/loop/wrong.c:1",
    ]
