"""Functions in JavaScript: the runner of sdk/js."""

import json
import textwrap

import pytest

from languages import ROOT, documented, need_quickjs, run, sh
from process import Server

NOT_RUN = "faasm: run: child calls were not run"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("server")).ready()
    yield running
    running.stop()


@pytest.fixture
def script(tmp_path):
    need_quickjs()

    def build(text):
        (tmp_path / "script.js").write_bytes(textwrap.dedent(text).strip().encode())
        sh(ROOT / "sdk/js/build", tmp_path / "script.js", tmp_path / "script.wasm")
        return tmp_path / "script.wasm"
    return build


def test_the_example_of_the_documents(script):
    module = script(documented("js"))
    assert run(module, b"you") == (0, b"Hello you!", "INFO greets you\n")


def test_js_answers(script):
    module = script("""
        const lines = [];
        const tell = (...values) => lines.push(values.join(" "));
        function attempt(what) {
            try {
                tell(what());
            } catch (error) {
                tell(error instanceof Error, error.code, error.message);
            }
        }

        attempt(() => faasm.input());
        attempt(() => Math.random());
        const exec = () => {
            tell(faasm.input().length, faasm.inputBytes().join());
            attempt(() => faasm.chain("next", new Uint8Array([1, 2])));
            attempt(() => faasm.chain("../next", ""));
            attempt(() => faasm.chain("next", 5));
            attempt(() => faasm.callStart("next", new ArrayBuffer(3)));
            attempt(() => faasm.callWait(1));
            attempt(() => faasm.callWaitAny([1, 2], 0));
            attempt(() => faasm.callWaitAny(Array(1025).fill(1)));
            attempt(() => faasm.callOutput(1));
            attempt(() => faasm.callInfo("attempt") + faasm.callInfo("parent"));
            attempt(() => faasm.callInfo("shoe size"));
            attempt(() => new Set(Array.from({length: 1000}, Math.random)).size);
            attempt(() => Array.from({length: 1000}, Math.random).every(x => x >= 0 && x < 1));
            tell(new Date(Date.now()).getFullYear() > 2020, "ä€😀".length);
            faasm.output(lines.join("\\n") + "\\n");
            faasm.output(new Uint16Array([0x4100, 0x0042, 0xffff]).subarray(1, 2));
            return "ä€😀";
        };
        """)
    outside = "true  faasm.%s() can only be used while exec() runs\n"
    told = (outside % "input" + outside % "random" + """\
3 97,0,98
1
true EINVAL faasm.chain: not a valid name or argument (EINVAL)
true  neither a string nor bytes
true EAGAIN faasm.callStart: over a limit, now or at all (EAGAIN)
true ENOENT faasm.callWait: no such function or call (ENOENT)
true ENOENT faasm.callWaitAny: no such function or call (ENOENT)
true EINVAL faasm.callWaitAny: not a valid name or argument (EINVAL)
true ENOENT faasm.callOutput: no such function or call (ENOENT)
1
true EINVAL faasm.callInfo: not a valid name or argument (EINVAL)
1000
true
true 4
""")
    code, output, log = run(module, b"a\0b")
    assert output.decode() == told + "B\0ä€😀"
    assert (code, log) == (0, f"faasm: run: chained calls were not run (1)\n{NOT_RUN} (1)\n")


def ask(server, name, body):
    """(exit code, output, log) of a call, on a server, which compiles a module but once."""
    status, output, headers = server.request("POST", f"/f/{name}", body)
    assert status == 200 or json.loads(output)["code"] == "guest_exit", output
    log = server.request("GET", f"/calls/{headers['X-Faasm-Call-Id']}/log")[1].decode()
    return int(headers["X-Faasm-Exit-Code"]), output if status == 200 else None, log


def test_js_ends(script, server):
    """What exec() may return, and how it may fail; the input says which."""
    module = script("""
        function thrower() { throw new TypeError("no way"); }
        const ends = {
            code: () => 7, nothing: () => {}, null: () => null, text: () => "text",
            bytes: () => new Uint8Array([0, 1]), object: () => ({a: 1}), bool: () => true,
            throws: thrower, odd: () => { throw {toString: thrower}; }, plain: () => { throw 5; },
            async: async () => { await null; return "later"; },
            rejects: async () => { await null; thrower(); },
            pending: () => new Promise(() => {}),
            forgotten: () => { (async () => thrower())(); },
            handled: () => { Promise.reject(1).catch(() => faasm.output("caught")); },
            deep: () => { const down = n => 1 + down(n + 1);
                          try { down(0); } catch (error) { return error.name; } },
            callback: () => { const down = () => [1].map(down);
                              try { down(); } catch (error) { return error.name; } },
            memory: () => { try { return "x".repeat(1 << 29).split(""); }
                            catch (error) { return error.message; } },
            log: () => { console.log("one\\ntwo", 1, {a: [1]}, null); console.error("bad");
                         console.debug(); faasm.log("three"); const o = {}; o.o = o; console.warn(o); },
        };
        function exec() { return ends[faasm.input()](); }
        """)
    server.put("js/ends", module.read_bytes())
    for name, expected in {
            "code": (7, None, ""), "nothing": (0, b"", ""), "null": (0, b"", ""),
            "text": (0, b"text", ""), "bytes": (0, b"\0\1", ""), "async": (0, b"later", ""),
            "handled": (0, b"caught", ""), "deep": (0, b"RangeError", ""),
            "callback": (0, b"RangeError", ""), "memory": (0, b"out of memory", ""),
            "log": (0, b"", 'INFO one\nINFO two 1 {"a":[1]} null\nERROR bad\nINFO three\n'
                            "WARNING [object Object]\n")}.items():
        assert ask(server, "js/ends", name.encode()) == expected, name
    for name, said in {
            "object": "neither a string", "bool": "neither a string",
            "throws": "ERROR TypeError: no way\nERROR     at thrower (function.js:1:",
            "plain": "ERROR 5\n", "odd": "", "rejects": "ERROR TypeError: no way\n",
            "pending": "waits for what never comes", "forgotten": "a promise was rejected"}.items():
        code, _, log = ask(server, "js/ends", name.encode())
        assert code == 1 and said in log, name
    assert run(module, b"text", ["--limit", "output_bytes=3"])[0] == 70


def test_js_is_initialised_at_upload(script, server):
    module = script("""
        let calls = 0;
        const squares = [];
        for (let i = 0; i < 100000; i++) squares.push(i * i);
        const seen = new Set();
        function exec() { calls++; return `${calls} ${squares[777]} ${Math.random()}`; }
        """)
    server.put("js/once", module.read_bytes())
    assert json.loads(server.request("GET", "/f/js/once")[1])["snapshot"] is True
    answers = [ask(server, "js/once", b"") for _ in range(10)]
    assert all(code == 0 and output.startswith(b"1 603729 ") for code, output, _ in answers)
    assert len({output for _, output, _ in answers}) == 10  # chance is each call's own

    status, body, _ = server.request("PUT", "/f/js/clock", script(
        "const start = Date.now(); function exec() { return String(start); }").read_bytes())
    problem = json.loads(body)
    assert status == 422 and problem["trap"] == "not_in_snapshot", problem


@pytest.mark.parametrize(("text", "said"), [
    ("const x = 1;", "the script has no function exec()"),
    ("let exec = 5;", "the script has no function exec()"),
    ("function exec() {", "SyntaxError"),
    ("null.x; function exec() {}", "TypeError: cannot read property 'x' of null"),
])
def test_js_that_cannot_start(script, server, text, said):
    """At upload: it is initialised there."""
    module = script(text)
    code, output, log = run(module)
    assert (code, output) == (65, b"") and said in log
    status, body, _ = server.request("PUT", "/f/js/broken", module.read_bytes())
    assert status == 422 and said in json.loads(body)["log_tail"]


def test_js_with_calls_on_a_server(script, server):
    module = script("""
        let initialised = 0;
        initialised++;
        function exec() {
            const [depth, text] = faasm.input().split(" ");
            if (depth === "0") return `${text}${initialised}`;
            if (depth === "fail") return 3;
            const own = faasm.callInfo("function");
            const start = (d, t) => faasm.callStart(own, `${d} ${t}`);
            const calls = [start(depth - 1, text + "a"), start(depth - 1, text + "b")];
            const first = faasm.callWaitAny(calls);
            if (first !== 0 && first !== 1) return 4;
            if (faasm.callWait(calls[0], 60000) !== 0) return 5;
            const failing = start("fail", "");
            try { faasm.callOutput(failing); return 6; }
            catch (error) { if (error.code !== "ECHILD") return 7; }
            return faasm.callOutput(calls[0]) + new TextLike(faasm.callOutputBytes(calls[1]));
        }
        function TextLike(bytes) { this.toString = () => String.fromCharCode(...bytes); }
        """)
    server.put("js/tree", module.read_bytes())
    assert server.request("GET", "/f/js/tree")[1].count(b'"abi":"reactor"') == 1
    for _ in range(2):
        assert server.call("js/tree", b"2 ") == (200, b"aa1ab1ba1bb1")
