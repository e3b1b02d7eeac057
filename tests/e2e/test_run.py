"""`faasm run` and files: what a module finds with each option, what it cannot reach, and how mistakes
are told. The functions of WASI one by one are in test_wasi.py, programs of others in test_programs.py.

    FAASM   the program under test
"""

import os
import pathlib
import shutil
import subprocess

import pytest

FAASM = os.environ["FAASM"]
CLANG = shutil.which("clang-22") or "clang"

# Does what its arguments say, one after the other, and tells the errors by name.
MODULE = r"""
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *cause(int failed)
{
    return !failed           ? "ok"
           : errno == ENOENT ? "ENOENT"
           : errno == EPERM  ? "EPERM"
           : errno == EDQUOT ? "EDQUOT"
           : errno == ENOSPC ? "ENOSPC"
           : errno == 76     ? "ENOTCAPABLE"
                             : strerror(errno);
}

int main(int argc, char **argv)
{
    static char data[1 << 16];
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *path = argv[i + 1];
        int failed = 0;
        if (strcmp(argv[i], "cat") == 0) {
            int file = open(path, O_RDONLY);
            ssize_t got = file < 0 ? -1 : read(file, data, sizeof(data));
            failed = got < 0;
            if (!failed)
                printf("%.*s|", (int)got, data);
        } else if (strcmp(argv[i], "write") == 0) {
            FILE *file = fopen(path, "a");
            failed = !file || fputs("written", file) < 0 || fclose(file) != 0;
        } else if (strcmp(argv[i], "fill") == 0) { /* 4 MiB */
            int file = open(path, O_WRONLY | O_CREAT, 0666);
            failed = file < 0;
            for (int n = 0; n < 64 && !failed; n++)
                failed = write(file, data, sizeof(data)) != sizeof(data);
        } else if (strcmp(argv[i], "ls") == 0) {
            int names = 0;
            DIR *folder = opendir(path);
            failed = !folder;
            while (folder && readdir(folder))
                names++;
            if (!failed)
                printf("%d|", names);
        } else if (strcmp(argv[i], "rm") == 0) {
            failed = unlink(path);
        } else if (strcmp(argv[i], "mkdir") == 0) {
            failed = mkdir(path, 0777);
        }
        printf("%s\n", cause(failed));
    }
}
"""


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    folder = tmp_path_factory.mktemp("module")
    (folder / "module.c").write_text(MODULE)
    out = folder / "module.wasm"
    subprocess.run([CLANG, "--target=wasm32-wasi", "-O1", "-Wno-deprecated", "-Wall", "-Wextra",
                    "-Werror", "-o", out, folder / "module.c"], check=True)
    return out


@pytest.fixture
def folder(tmp_path):
    """`data` is the module's; beside it lies what it must not reach."""
    (tmp_path / "secret").write_text("secret")
    data = tmp_path / "data"
    (data / "sub").mkdir(parents=True)
    (data / "file").write_text("text")
    (data / "sub/other").write_text("other text")
    (data / "out").symlink_to("../secret")
    (data / "absolute").symlink_to(tmp_path / "secret")
    (data / "in").symlink_to("sub/other")
    (data / "up").symlink_to("..")
    return data


def run(options, module, *args, cwd=None, code=0):
    """The lines that it prints, and what is said besides."""
    done = subprocess.run([FAASM, "run", *map(str, options), module, *map(str, args)], cwd=cwd,
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout.splitlines(), done.stderr


def tree(folder):
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
            for path in pathlib.Path(folder).rglob("*") if not path.is_symlink()}


def test_without_an_option_there_is_no_folder(module, folder):
    lines, log = run([], module, "cat", "file", "cat", "/", "write", "new", "mkdir", "/new", cwd=folder)
    assert set(lines) <= {"ENOTCAPABLE", "ENOENT"} and len(lines) == 4
    assert log == "" and not (folder / "new").exists()


def test_dir_by_its_own_name(module, folder):
    lines, _ = run(["--dir", "."], module, "cat", "file", "cat", "./sub/../file", "write", "new",
                   "mkdir", "sub/made", "ls", ".", "rm", "file", cwd=folder)
    assert lines == ["text|ok", "text|ok", "ok", "ok", "9|ok", "ok"]
    assert (folder / "new").read_text() == "written"
    assert (folder / "sub/made").is_dir()
    assert not (folder / "file").exists()

    lines, _ = run(["--dir", "data"], module, "cat", "data/new", "cat", "new", cwd=folder.parent)
    assert lines[0] == "written|ok" and lines[1] != "written|ok"
    lines, _ = run(["--dir", folder], module, "cat", folder / "new")
    assert lines == ["written|ok"]


def test_dir_by_another_name(module, folder, tmp_path):
    (tmp_path / "second").mkdir()
    options = ["--dir", f"{folder}::/data", "--dir", f"{tmp_path}/second::/"]
    lines, _ = run(options, module, "cat", "/data/file", "write", "/new", "write", "/data/new",
                   "cat", "/data/../data/file")
    assert lines[:3] == ["text|ok", "ok", "ok"]
    assert (tmp_path / "second/new").read_text() == (folder / "new").read_text() == "written"


OUT = ["../secret", "out", "absolute", "up/secret", "sub/../../secret", "./../secret", "up/../secret"]


@pytest.mark.parametrize("option", ["dir", "files"])
def test_nothing_outside_is_reached(module, folder, option):
    args = [word for path in OUT for what in ("cat", "write", "rm", "ls") for word in (what, path)
            if not (what == "rm" and path in ("out", "absolute"))]
    options = ["--dir", f"{folder}::/"] if option == "dir" else ["--files", folder]
    lines, _ = run(options, module, *args)
    if option == "dir":
        assert set(lines) <= {"EPERM", "ENOTCAPABLE", "ENOENT", "Not a directory"}
    else:  # there are no such links; a name that is missing is one to be made
        assert "secret|ok" not in lines
    assert (folder.parent / "secret").read_text() == "secret"
    assert sorted(path.name for path in folder.parent.iterdir()) == ["data", "secret"]


def test_links_inside_are_followed(module, folder):
    lines, _ = run(["--dir", f"{folder}::/"], module, "cat", "in", "rm", "in", "cat", "sub/other")
    assert lines == ["other text|ok", "ok", "other text|ok"]


def test_files_are_not_written(module, folder):
    (folder / "empty").mkdir()
    before = tree(folder)
    lines, log = run(["--files", folder], module, "cat", "file", "cat", "/sub/other", "write", "file",
                     "cat", "file", "write", "new", "cat", "/new", "rm", "sub/other", "cat",
                     "sub/other", "mkdir", "made", "ls", "/", "ls", "empty")
    assert lines == ["text|ok", "other text|ok", "ok", "textwritten|ok", "ok", "written|ok", "ok",
                     "ENOENT", "ok", "7|ok", "2|ok"]
    assert tree(folder) == before
    assert log == f"faasm: run: '{folder}': left out what are no plain files (4)\n"


def test_files_have_a_limit(module, tmp_path):
    options = ["--files", tmp_path, "--limit"]
    assert run([*options, "file_bytes=8MiB"], module, "fill", "a")[0] == ["ok"]
    lines, _ = run([*options, "file_bytes=6MiB"], module, "fill", "a", "fill", "b", "rm", "a", "fill",
                   "c")
    assert lines[0] == "ok" and lines[1] in ("EDQUOT", "ENOSPC")
    assert run(["--dir", f"{tmp_path}::/", "--limit", "file_bytes=1KiB"], module, "fill", "a")[0] == ["ok"]


def test_large_files_are_loaded(module, tmp_path):
    """Contents are read when they are opened, also while the module may only take so long."""
    for name in "abc":
        (tmp_path / name).write_bytes(name.encode() * 300_000)
    lines, _ = run(["--files", tmp_path, "--limit", "wall_ms=60s"], module, "cat", "a", "cat", "c",
                   "cat", "a", "cat", "missing")
    assert lines == [name * 65536 + "|ok" for name in "aca"] + ["ENOENT"]


@pytest.mark.parametrize("options, code, words", [
    (["--limit", "memory_bytes=64M"], 64, "memory_bytes: '64M' is not a number with a fitting unit (B, KiB,"),
    (["--limit", "cpu_ms=2h"], 64, "cpu_ms: '2h' is not between 1ms and 1h"),
    (["--dir", "/nowhere"], 66, "cannot open the folder '/nowhere': No such file"),
    (["--dir", "/etc/passwd"], 66, "cannot open the folder '/etc/passwd': Not a directory"),
    (["--files", "/nowhere"], 66, "cannot read '/nowhere': No such file"),
    (["--files", "/etc/passwd"], 66, "'/etc/passwd' is no folder"),
    (["--dir", ""], 64, "--dir wants HOST or HOST::GUEST"),
    (["--dir", "::/x"], 64, "--dir wants HOST or HOST::GUEST"),
    (["--dir", "/tmp::"], 64, "--dir wants HOST or HOST::GUEST"),
    (["--dir", "/tmp::" + "x" * 4096], 64, "more than 4095 bytes"),
    (["--dir", "/tmp", "--files", "/tmp"], 64, "either --dir or --files"),
    (["--files", "/tmp", "--files", "/tmp"], 64, "more than one --files"),
    (["--dir", "/tmp"] * 65, 64, "more than 64 --dir"),
])
def test_mistakes_are_told(module, options, code, words):
    lines, log = run(options, module, code=code)
    assert lines == [] and words in log
    assert log.startswith("faasm: run: ") and log.count("\n") == 1


def test_an_option_without_its_value():
    done = subprocess.run([FAASM, "run", "--dir"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (64, "faasm: run: --dir wants a value (see `faasm run --help`)\n")


def test_as_many_folders_as_allowed(module, folder):
    options = [word for i in range(64) for word in ("--dir", f"{folder}::/{i}")]
    assert run(options, module, "cat", "/0/file", "cat", "/63/file")[0] == ["text|ok", "text|ok"]
