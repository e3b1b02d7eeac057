"""Functions in Zig, with sdk/zig/faasm.zig."""

import textwrap

import pytest

from languages import ROOT, need_zig, run, sh
from process import Server

NOT_RUN = "faasm: run: child calls were not run"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("server")).ready()
    yield running
    running.stop()


def zig(folder, source):
    """Compiles in a folder where faasm.zig is."""
    compiler = need_zig()
    (folder / "faasm.zig").write_bytes((ROOT / "sdk/zig/faasm.zig").read_bytes())
    (folder / "x.zig").write_text(textwrap.dedent(source))
    sh(compiler, "build-exe", "-target", "wasm32-wasi", "-OReleaseSafe", "--stack", "262144",
       "-femit-bin=x.wasm", "x.zig", cwd=folder)
    return folder / "x.wasm"


def test_zig_sample_alone_and_with_its_calls(tmp_path, server):
    module = zig(tmp_path, (ROOT / "sdk/zig/sum.zig").read_text())
    numbers = b" ".join(b"%d" % number for number in range(1, 101))
    assert run(module, b"1 2 3\n") == (0, b"6", "")
    assert run(module, numbers) == (0, b"5050", f"{NOT_RUN} (2)\n")
    assert run(module, b"1 x") == (1, b"", "ERROR NotANumber\n")

    server.put("zi/sum", module.read_bytes())
    assert server.call("zi/sum", numbers) == (200, b"5050")


def test_zig_answers(tmp_path):
    module = zig(tmp_path, """
        const faasm = @import("faasm.zig");

        fn expect(ok: bool) !void {
            if (!ok) return error.Unexpected;
        }

        fn exec() !void {
            var buffer: [64]u8 = undefined;
            const size = faasm.inputSize();
            try expect(size == 3);
            try expect(faasm.inputRead(size - 1, &buffer).len == 1);
            try expect(faasm.inputRead(1 << 31, &buffer).len == 0);
            try expect(try faasm.chain("next", "data") == 1);
            try expect(faasm.chain("../next", "") == error.Invalid);
            if (faasm.callStart("next", "")) |_| return error.Unexpected else |err| try expect(err == error.Again);
            const gone = faasm.Call{ .handle = 1 };
            try expect(gone.wait(faasm.for_ever) == error.NotFound);
            try expect(gone.outputSize() == error.NotFound);
            if (gone.outputRead(0, &buffer)) |_| return error.Unexpected else |err| try expect(err == error.NotFound);
            try expect(faasm.callWaitAny(&.{}, 0) == error.Invalid);
            try expect(faasm.callWaitAny(&.{gone}, 0) == error.NotFound);
            try expect((try faasm.callInfo(.attempt, &buffer))[0] == '1');
            try expect((try faasm.callInfo(.parent, &buffer)).len == 0);
            faasm.log(.debug, "line");
            faasm.log(.err, "line");
            try faasm.outputWrite(faasm.inputRead(0, &buffer));
            try faasm.outputWrite("x");
        }

        pub fn main() u8 {
            return faasm.run(exec);
        }
        """)
    said = (f"DEBUG line\nERROR line\nfaasm: run: chained calls were not run (1)\n{NOT_RUN} (1)\n")
    assert run(module, b"abc") == (0, b"abcx", said)
    code, output, log = run(module, b"abc", ["--limit", "output_bytes=3"])
    assert code == 70 and "ERROR NoSpace" in log
