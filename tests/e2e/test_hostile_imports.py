"""Guests that call every import with whatever numbers come: an answer or a trap of their own, and
never anything else.  Each module is written from a seed, which a failure tells."""

import os
import pathlib
import random
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FAASM = os.environ["FAASM"]
SEEDS = int(os.environ.get("FAASM_FUZZ_SEEDS", "40"))
CALLS = 400
PAGES = 3

FINE, REFUSED, TRAPPED, LATE = 0, 1, 70, 75

# Numbers at which something may change: sizes, flags, ends of the memory, signs.
NUMBERS = [0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 24, 31, 32, 48, 64, 255, 256, 1023, 1024, 1025, 4095, 4096,
           65535, 65536, PAGES * 65536 - 8, PAGES * 65536 - 1, PAGES * 65536, 2**31 - 1, 2**31,
           2**32 - 16, 2**32 - 1]
LONGS = NUMBERS + [2**32, 2**40, 2**63 - 1, 2**63, 2**64 - 1]
WORDS = [b"a", b"b/c", b"../x", b"/", b".", b"d/", b"\xff", b"a\0b", b"name", b"long" * 80]


def imports(header):
    """(name, parameters, result) of every row of a list of imports."""
    text = (ROOT / "src/guest" / header).read_text()
    rows = re.findall(r'(?:X|PARKS)\((?:\w+, )?"?(\w+)"?,\s*"([iI]*):([iI]?)"', text)
    assert len(rows) > 8, header
    return rows


def write_module(seed, module, rows):
    chance = random.Random(seed)
    types = {"i": "i32", "I": "i64", "": ""}
    text = ["(module"]
    for name, parameters, result in rows:
        kinds = " ".join(types[p] for p in parameters)
        text.append(f'(import "{module}" "{name}" (func ${name} (param {kinds})'
                    + (f" (result {types[result]})" if result else "") + "))")
    text.append(f'(memory (export "memory") {PAGES})')
    noise = bytearray(chance.randbytes(2048))
    for _ in range(60):  # paths, and lists of small numbers, here and there
        word = chance.choice(WORDS + [bytes([chance.randrange(9), 0, 0, 0] * 8)])
        at = chance.randrange(len(noise) - len(word))
        noise[at:at + len(word)] = word
    escaped = "".join(f"\\{byte:02x}" for byte in noise)
    text.append(f'(data (i32.const 0) "{escaped}")')
    text.append('(func (export "_start")')
    for _ in range(CALLS):
        name, parameters, result = chance.choice(rows)
        values = []
        for kind in parameters:
            pool = LONGS if kind == "I" else NUMBERS
            value = chance.choice([chance.choice(pool), chance.randrange(12), chance.randrange(2048)])
            values.append(f"({types[kind]}.const {value})")
        call = f"(call ${name} {' '.join(values)})"
        text.append(f"(drop {call})" if result else call)
    text.append("))")
    return "\n".join(text)


def run(path, text, *options):
    path.write_text(text)
    return subprocess.run([FAASM, "run", "--limit", "wall_ms=2000", *map(str, options), str(path)],
                          input=b"some input", capture_output=True, timeout=120)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_wasi(tmp_path, seed):
    """WASI has an errno for everything; what waits for a time that never comes runs out of its own."""
    rows = [row for row in imports("imports_wasi.h") if row[0] != "proc_exit"]
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_text("file")
    option = ["--dir", f"{folder}::/"] if seed % 2 else ["--files", folder]
    text = write_module(seed, "wasi_snapshot_preview1", rows)
    result = run(tmp_path / "module.wat", text, *option)
    assert result.returncode in (FINE, LATE), (seed, result.stderr)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "module.wat"]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_faasm(tmp_path, seed):
    """A bad pointer is a trap here, so most modules do not get far."""
    rows = imports("imports_faasm.h")
    result = run(tmp_path / "module.wat", write_module(seed, "faasm", rows))
    assert result.returncode in (FINE, REFUSED, TRAPPED, LATE), (seed, result.stderr)
    if result.returncode == TRAPPED:
        assert b"bad_pointer" in result.stderr or b"output_bytes" in result.stderr


@pytest.mark.parametrize("seed", range(SEEDS))
def test_2018(tmp_path, seed):
    rows = [row for row in imports("imports_2018.h") if not row[0].startswith("__syscall_exit")]
    text = write_module(seed, "env", rows)
    text = text.replace('(func (export "_start")',
                        '(func (export "run") (param i32 i32 i32 i32) (result i32)')
    text = text[:text.rindex("))")] + "(i32.const 0)))"
    result = run(tmp_path / "module.wat", text)
    assert result.returncode in (FINE, TRAPPED, LATE), (seed, result.stderr)
    if result.returncode == TRAPPED:
        assert b"deadlock" in result.stderr
