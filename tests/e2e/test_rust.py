"""Functions in Rust: the crate of sdk/rust, with and without the standard library."""

import subprocess
import textwrap

import pytest

from languages import ROOT, WASI, documented, need_rust, run, sh
from process import Server

RUST = ROOT / "sdk/rust"
NOT_RUN = "faasm: run: child calls were not run"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("server")).ready()
    yield running
    running.stop()


class Crate:
    """The crate, compiled for one target and with or without the standard library."""

    def __init__(self, folder, rustc, target, std):
        self.folder, self.std = folder, std
        self.command = [rustc, "--edition", "2021", "-C", "opt-level=2", "-C", "panic=abort",
                        "-D", "warnings"]
        if target:
            self.command += ["--target", target, "-C", "strip=debuginfo"]
        feature = ["--cfg", 'feature="std"'] if std else []
        sh(*self.command, *feature, "--crate-type", "rlib", "--crate-name", "faasm",
           "-o", folder / "libfaasm.rlib", RUST / "src/lib.rs", cwd=folder)

    def compile(self, source, name="x.wasm"):
        kind = [] if self.std else ["--crate-type", "cdylib"]
        sh(*self.command, *kind, "--crate-name", "x", "--extern",
           f"faasm={self.folder}/libfaasm.rlib", "-o", self.folder / name, source, cwd=self.folder)
        return self.folder / name

    def compile_text(self, text):
        source = self.folder / "x.rs"
        source.write_text(textwrap.dedent(text))
        return self.compile(source)


@pytest.fixture(scope="module")
def std_crate(tmp_path_factory):
    return Crate(tmp_path_factory.mktemp("std"), *need_rust(*WASI), True)


@pytest.fixture(scope="module")
def bare_crate(tmp_path_factory):
    return Crate(tmp_path_factory.mktemp("bare"), *need_rust("wasm32-unknown-unknown"), False)


def test_rust_sample_alone_and_with_its_calls(std_crate, server):
    module = std_crate.compile(RUST / "examples/fib.rs", "fib.wasm")
    assert run(module, b"10") == (0, b"55", f"{NOT_RUN} (2)\n")
    assert run(module, b"15 15\n") == (0, b"610", "")
    for bad in (b"94", b"x", b"-1", b"1 2 3"):
        assert run(module, bad) == (1, b"", "ERROR fib: the input must be a number up to 93\n")

    server.put("ru/fib", module.read_bytes())
    assert server.call("ru/fib", b"25") == (200, b"75025")


def test_rust_without_its_library(bare_crate):
    module = bare_crate.compile(RUST / "examples/upper.rs")
    for size in (0, 1, 999, 1000, 1001, 100000):
        assert run(module, b"a" * size) == (0, b"A" * size, "")

    panics = bare_crate.compile_text("""
        #![no_std]
        fn exec() -> i32 {
            let mut one = [0u8; 1];
            let size = faasm::input_read(0, &mut one);
            assert!(size == 1, "no input, {} bytes", size);
            one[0].into()
        }
        faasm::entry!(exec);
        """)
    assert run(panics, b"\7") == (7, b"", "")
    code, output, log = run(panics)
    assert (code, output) == (70, b"")
    assert log.startswith("ERROR panicked at") and "no input, 0 bytes" in log


def test_the_example_of_the_documents(std_crate):
    assert run(std_crate.compile_text(documented("rust")), b"you") == (0, b"Hello you", "")


def test_rust_answers(std_crate):
    module = std_crate.compile_text("""
        use faasm::{Error, Info, Level};
        use std::io::{Read, Write};
        use std::time::Duration;

        fn exec() -> Result<(), Box<dyn std::error::Error>> {
            let mut text = String::new();
            faasm::Input::default().read_to_string(&mut text)?;
            assert_eq!(text.as_bytes(), faasm::input().as_slice());
            assert_eq!(faasm::input_size(), text.len());
            let mut two = [0; 2];
            assert_eq!(faasm::input_read(text.len() - 1, &mut two), 1);
            assert_eq!(faasm::input_read(usize::MAX, &mut two), 0);

            assert_eq!(faasm::chain("next", b"data"), Ok(1));
            assert_eq!(faasm::chain("../next", b""), Err(Error::INVALID));
            assert_eq!(faasm::call_start("next", b""), Err(Error::AGAIN));
            assert_eq!(Error::AGAIN.errno(), 6);
            assert_eq!(faasm::call_wait_any(&[], Some(Duration::from_secs(1))), Err(Error::INVALID));
            let mut name = [0; 64];
            assert_eq!(faasm::call_info(Info::Attempt, &mut name), Ok("1"));
            assert_eq!(faasm::call_info(Info::Attempt, &mut []), Err(Error::NO_SPACE));
            assert_eq!(faasm::call_info(Info::Parent, &mut name), Ok(""));
            for level in [Level::Debug, Level::Info, Level::Warning, Level::Error] {
                faasm::log(level, "line");
            }
            write!(faasm::Output, "{}{}", text, text)?;
            println!("into the log");
            faasm::output_write(b"x").map_err(|error| error.into())
        }
        faasm::entry!(exec);
        """)
    said = ("DEBUG line\nINFO line\nWARNING line\nERROR line\ninto the log\n"
            "{}faasm: run: chained calls were not run (1)\n" + NOT_RUN + " (1)\n")
    code, output, log = run(module, b"abc")
    assert (code, output, log) == (0, b"abcabcx", said.format(""))
    code, output, log = run(module, b"abc", ["--limit", "output_bytes=6"])
    assert code == 70 and output == b"abcabc"
    assert "ERROR over the limit of the output" in log


def test_rust_natively(tmp_path):
    rustc, _ = need_rust("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")
    program = Crate(tmp_path, rustc, None, True).compile(RUST / "examples/fib.rs", "fib")

    done = subprocess.run([program], input=b"12", capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"144")
    assert done.stderr.count(b"faasm: cannot start  with ") == 2
    done = subprocess.run([program], input=b"x", capture_output=True)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"faasm: error: fib: the input must be a number up to 93\n"
