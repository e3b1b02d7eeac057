"""What the documents promise is what the code has: tables in src/ against docs/, README.md, man/ and
completions/, in both directions where a document could also promise too much."""

import pathlib
import re
import shutil
import subprocess
import tomllib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
UNITS = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
         "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
WORDS = {"off": 0, "on": 1, "auto": "auto"}


def read(path):
    return (ROOT / path).read_text()


def code(path):
    """A source without its comments, and with lines that were split joined again."""
    text = read(path).replace("\\\n", "\n")
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


def macro(path, name):
    """The body of an X-macro list."""
    text = re.sub(r"/\*.*?\*/", "", read(path), flags=re.S)
    return re.search(rf"#define {name}\(X\)((?:.*\\\n)*.*\n)", text)[1].replace("\\\n", "\n")


def found(pattern, text, flags=0):
    """All matches; a pattern that finds nothing would make its test worthless."""
    matches = re.findall(pattern, text, flags)
    assert matches, pattern
    return matches


def section(path, heading):
    """What stands under a heading, up to the next of the same level."""
    level = heading.split()[0]
    parts = re.split(rf"^(?={level} )", read(path), flags=re.M)
    return next(part for part in parts if part.startswith(heading + "\n"))


def rows(text):
    """The cells of every row of the tables in a text."""
    return [[cell.strip() for cell in line[1:-1].split("|")]
            for line in text.splitlines() if line.startswith("|")]


def names(cell):
    return re.findall(r"`([^`]+)`", cell)


def number(text):
    """`64MiB`, `1m`, `off`: as the server reads it."""
    if text in WORDS:
        return WORDS[text]
    digits, unit = re.fullmatch(r"([0-9]+)([A-Za-z]*)", text).groups()
    return int(digits) * UNITS[unit]


def evaluate(expression):
    """A constant of base/limits.h or cmd/config.h."""
    if expression.strip() == "FM_CONFIG_AUTO":
        return "auto"
    sizes = {"FM_KIB": 2**10, "FM_MIB": 2**20, "FM_GIB": 2**30}
    return eval(expression, {"__builtins__": {}}, sizes)  # an expression of this repository


def ranges(path, name):
    """Key to (default, least, most), of a table whose rows are name, unit, default, min, max."""
    list_of = found(r"X\(\s*(\w+),\s*\w+,\s*([^,]+),\s*([^,]+),\s*([^,]+),\s*\"", macro(path, name))
    return {row[0]: tuple(evaluate(value) for value in row[1:]) for row in list_of}


def documented_ranges(text):
    table = {}
    for row in rows(text):
        if len(row) > 2 and " to " in row[2]:
            least, most = row[2].split(" to ")
            assert len(names(row[0])) == 1, row
            table[names(row[0])[0]] = (number(row[1]), number(least), number(most))
    return table


# --- settings and limits ------------------------------------------------------------------------


def test_settings():
    settings = ranges("src/cmd/config.h", "FM_CONFIG_MAP")
    text = read("docs/configuration.md").split("## Users")[0]
    assert documented_ranges(text) == settings


def test_quotas():
    quotas = ranges("src/base/quotas.h", "FM_QUOTA_MAP")
    assert documented_ranges(section("docs/configuration.md", "## Users")) == quotas


def test_settings_that_are_texts():
    keys = found(r'strcmp\(key, "(\w+)"\)', code("src/cmd/config.c"))
    documented = [names(row[0]) for row in rows(read("docs/configuration.md"))]
    for key in keys:
        assert [key] in documented


@pytest.mark.parametrize(("path", "heading"), [
    ("README.md", "## Limits"),
    ("docs/http.md", "## Limits of a function"),
])
def test_limits(path, heading):
    limits = ranges("src/base/limits.h", "FM_LIMIT_MAP")
    assert documented_ranges(section(path, heading)) == limits


# --- HTTP ---------------------------------------------------------------------------------------


def test_error_codes():
    codes = dict(found(r'X\(\w+,\s*"(\w+)",\s*(\d+),', macro("src/base/error.h", "FM_ERR_MAP")))
    documented = {}
    for row in rows(section("docs/http.md", "## Errors")):
        statuses = re.findall(r"\d{3}", row[1])
        for position, name in enumerate(names(row[0])):
            documented[name] = statuses[position % len(statuses)]
    assert documented == codes


def routes():
    """`METHOD path` of every handler in the table of routes."""
    variable = {"f": ["<user>", "<function>"], "fa": ["<user>", "<function>"], "calls": ["<id>"],
                "users": ["<user>"], "files": ["<user>", "<path>"],
                "h": ["<user>", "<function>"]}
    table = re.search(r"routes\[\] = \{(.*?)\n\};", code("src/http/routes.c"), re.S)[1]
    for block in table.split(".first = ")[1:]:
        first = re.match(r'"(\w+)"', block)[1]
        segments = int(re.search(r"segments_min = (\d)", block)[1])
        third = re.search(r'third = "(\w+)"', block)
        path = [first, *variable.get(first, []), *([third[1]] if third else [])]
        if ".any = " in block:
            yield "ANY /" + "/".join(path[:segments]) + "/<rest>"
            continue
        for method in found(r"\[([A-Z]+)\] =", block):
            yield f"{method} /" + "/".join(path[:segments])


def test_routes():
    documented = [name for row in rows(section("docs/http.md", "## Routes"))
                  for name in names(row[0]) if " /" in name]
    assert sorted(documented) == sorted(routes())


def test_headers():
    sources = "".join(code(path) for path in ROOT.glob("src/http/*.c"))
    for header in found(r'"(X-Faasm-[\w-]+)"', sources):
        assert f"`{header}" in read("docs/http.md")


def test_call_json():
    text = code("src/http/record_json.c")
    writer = text[text.index("static void write_error("):text.index("static int bad(")]
    documented = read("docs/http.md")
    for field in found(r'(?:fm_json|write)_\w+\([^"()]*"(\w+)"', writer):
        assert f"`{field}`" in documented, field


def test_user_json():
    documented = section("docs/http.md", "## Routes")
    writer = code("src/http/users.c").split("static int take_value")[0]
    for field in found(r'fm_json_\w+\(json, "(\w+)"', writer):
        assert f"`{field}`" in documented or f'"{field}"' in documented, field


def test_problems():
    documented = read("docs/http.md")
    for field in found(r'fm_json_\w+\([^"()]*"(\w+)"', code("src/http/problem.c")):
        assert f"`{field}`" in documented or f'"{field}":' in documented, field


def test_function_json():
    writer = code("src/store/meta.c").split("struct reader")[0]
    documented = section("docs/http.md", "## Function JSON")
    for field in found(r'put\w*\(json, "(\w+)"', writer):
        assert re.search(rf"`{field}[` ]", documented), field


def test_parameters_of_an_upload():
    documented = section("docs/http.md", "## Routes")
    for name in found(r'str\w*cmp\(name, "(\w+\.?)"', code("src/http/parameters.c")):
        assert re.search(rf"^\| `{re.escape(name)}", documented, re.M), name


# --- guests -------------------------------------------------------------------------------------


def documented_imports(heading):
    table = rows(section("docs/guest-abi.md", heading))
    return sorted(name for row in table for name in names(row[0]))


def listed_imports():
    """Name to signature, of the module `faasm`."""
    return dict(found(r'(?:X|PARKS)\(\s*(\w+),\s*"([^"]*)"', code("src/guest/imports_faasm.h")))


def test_imports_are_up_to_date():
    """The declarations in faasm.h and the table of guest-abi.md are made from the list."""
    subprocess.run([ROOT / "script/imports", "--check"], check=True)


def test_imports_in_c_have_the_types_of_their_signatures():
    header = found(r"#define FAASM_IMPORTS\(X\)\s*\\\n((?:.*\\\n)*.*\n)", read("include/faasm/faasm.h"))[0]
    declared = found(r"X\((\w+), (\w+),\s*\(([^)]*)\)\)", header.replace("\\\n", ""))
    listed = listed_imports()
    assert sorted(name for _, name, _ in declared) == sorted(listed)
    for result, name, parameters in declared:
        letters = ["I" if parameter.split()[0] == "int64_t" else "i"
                   for parameter in parameters.split(",") if parameter != "void"]
        assert "".join(letters) + (":I" if result == "int64_t" else ":i") == listed[name], name


@pytest.mark.parametrize(("path", "pattern"), [
    ("sdk/rust/src/host.rs", r"pub fn (\w+)\(([^)]*)\) -> (\w+);"),
    ("sdk/zig/faasm.zig", r'extern "faasm" fn (\w+)\(([^)]*)\) (\w+);'),
])
def test_imports_of_other_languages(path, pattern):
    """The crate and the Zig file declare what the server has; 64 bits are only i64."""
    declared = {}
    for name, parameters, result in found(pattern, read(path)):
        types = [parameter.split(": ")[1] for parameter in parameters.split(", ") if parameter]
        declared[name] = "".join("I" if of == "i64" else "i" for of in types) + (
            ":I" if result == "i64" else ":i")
    assert declared == listed_imports()


def test_imports_of_wasi():
    path = "src/guest/imports_wasi.h"
    imports = macro(path, "FM_WASI_IMPORTS") + macro(path, "FM_WASI_IMPORTS_SPECIAL")
    found_names = found(r'X\((\w+),\s*"', imports)
    assert documented_imports("## Module `wasi_snapshot_preview1`") == sorted(found_names)
    assert f"All {len(found_names)} functions" in read("docs/guest-abi.md")


def test_imports_of_2018():
    path = "src/guest/imports_2018.h"
    imports = macro(path, "FM_2018_IMPORTS") + macro(path, "FM_2018_IMPORTS_SPECIAL")
    documented = documented_imports("## Module `env`, for functions of 2018")
    assert documented == sorted(found(r'X\(\w+,\s*"(\w+)"', imports))


def test_traps():
    trap_c = code("src/engine/trap.c")
    traps = set(found(r'\{WASMTIME_TRAP_CODE_\w+,\s*"(\w+)"', trap_c))
    traps |= set(found(r'->trap = "(\w+)"', trap_c))
    for path in ROOT.glob("src/guest/*.c"):
        traps |= set(re.findall(r'fm_guest_trap\(\w+, "(\w+)"', code(path)))
    traps.remove("stack_overflow")  # becomes a limit: guest.c
    documented = {name for row in rows(section("docs/guest-abi.md", "## Traps"))
                  for name in names(row[0])}
    assert documented - {"trap"} == traps - {"trap"}


def test_abis():
    table = section("docs/guest-abi.md", "## Which ABI")
    for abi in found(r'\[FM_ABI_\w+\] = "([\w-]+)"', code("src/call/function.c")):
        assert f"| `{abi}` |" in table


# --- operation ----------------------------------------------------------------------------------


def test_log_events():
    sources = "".join(code(path) for path in [*ROOT.glob("src/cmd/*.c"), *ROOT.glob("src/http/*.c")])
    calls = found(r'fm_log\(\s*FM_LOG_\w+,\s*([^,]+),', sources)
    events = {event for call in calls for event in found(r'"(\w+)"', call)}
    documented = {name for row in rows(section("docs/operations.md", "## Log"))
                  for name in names(row[0])}
    assert documented == events


def test_metrics():
    text = code("src/cmd/metrics.c")
    metrics = {"faasm_" + name for name in found(r'ROW\("(\w+)"', text)}
    metrics |= set(found(r'"(faasm_\w+[a-z])"', text))
    metrics |= {"faasm_user_" + name for name in found(r'ROW\("(\w+)"', code("src/cmd/metrics_users.c"))}
    documented = {name.split("{")[0] for row in rows(section("docs/operations.md", "## Metrics"))
                  for name in names(row[0])}
    assert documented == metrics


# --- command line -------------------------------------------------------------------------------


def verbs():
    """Verb to its options, for the verbs that --help shows."""
    shown = {}
    for path in ROOT.glob("src/cmd/*.c"):
        text = code(path)
        if ".summary =" in text:
            verb = re.search(r'#define VERB "(\w+)"', text)[1]
            shown[verb] = re.findall(r'\{"(\w+)", (?:required|no)_argument,', text)
    return shown


def part_of_man(verb):
    return re.search(rf"^\.Ss faasm {verb}\n(.*?)(?=^\.S[sh] )", read("man/faasm.1"), re.M | re.S)[1]


def complete(*words):
    """What bash offers for the last word."""
    script = '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _faasm; echo "${COMPREPLY[*]}"'
    done = subprocess.run(["bash", "-c", script, "bash", ROOT / "completions/faasm.bash", "faasm", *words],
                          capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_there_are_verbs():
    assert set(verbs()) == {"serve", "run", "new"}
    assert [verb for verb, options in verbs().items() if not options] == ["new"]


def test_verbs_are_completed():
    assert complete("") == [*sorted(verbs(), reverse=True), "--help", "--version"]
    assert complete("se") == ["serve"]


@pytest.mark.parametrize("verb", verbs())
def test_options(verb):
    options = sorted(verbs()[verb])
    assert sorted(set(re.findall(r"^\.It Fl -(\w+)", part_of_man(verb), re.M))) == options
    synopsis = read("man/faasm.1").split(f".Cm {verb}\n")[1].split(".Nm")[0]
    assert sorted(set(re.findall(r"Fl -(\w+)", synopsis))) == options
    assert sorted(complete(verb, "--")) == sorted(f"--{name}" for name in [*options, "help"])


def test_languages_are_completed():
    languages = sorted(set(found(r'(?:ROW|PROGRAM)\("(\w+)",', code("src/cmd/new_files.c"))))
    assert complete("new", "") == [*languages, "--help"]
    assert complete("new", "r") == ["rust"]
    assert complete("new", "c", "") == []
    assert found(r"^\.It Cm (\w+)$", part_of_man("new"), re.M) == languages


def test_settings_are_completed():
    settings = set(ranges("src/cmd/config.h", "FM_CONFIG_MAP"))
    settings |= set(found(r'strcmp\(key, "(\w+)"\)', code("src/cmd/config.c")))
    assert set(complete("serve", "--set", "")) == {f"{name}=" for name in settings}
    assert complete("serve", "--set", "dr") == ["drain_ms="]


def test_limits_are_completed():
    limits = {f"{name}=" for name in ranges("src/base/limits.h", "FM_LIMIT_MAP")}
    assert set(complete("run", "--limit", "")) <= limits
    assert complete("run", "--limit", "cp") == ["cpu_ms="]


def test_files_are_completed(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.wasm").touch()
    assert complete("serve", "--data", f"{tmp_path}/f") == [f"{tmp_path}/folder"]
    assert f"{tmp_path}/file.wasm" in complete("run", f"{tmp_path}/f")


@pytest.mark.skipif(not shutil.which("groff"), reason="no groff")
def test_the_manual_page_is_well_formed():
    done = subprocess.run(["groff", "-mdoc", "-Tutf8", "-ww", "-z", ROOT / "man/faasm.1"],
                          capture_output=True, text=True, check=True)
    assert done.stderr == ""


# --- the whole ----------------------------------------------------------------------------------


def test_programs_of_others():
    """script/compatibility was run after the last change of what is run."""
    table = tomllib.loads(read("tests/programs/recipes.toml"))
    wanted = [[name, str(len(row["run"])), row["about"]] for name, row in table.items()]
    found_rows = rows(section("docs/compatibility.md", "## Programs"))[2:]
    assert [[row[0], row[3], row[4]] for row in found_rows] == wanted


def test_layers_of_the_architecture():
    lines = [line.split("#")[0].split() for line in read("src/LAYERS").splitlines()]
    layers = [line for line in lines if line]
    wanted = [[str(index), f"`{module}/`"] for index, layer in enumerate(layers, 1) for module in layer]
    table = rows(section("ARCHITECTURE.md", "## Layers"))
    assert sorted(row[:2] for row in table if row[0].isdigit()) == sorted(wanted)


QUICK_START = """
docker-compose up -d
curl -X POST http://localhost:8001/f/simon/echo -d "Hello!"
docker run -v $(pwd):/work -w /work -it shillaker/wasm-toolchain
/toolchain/bin/clang --target=wasm32-unknown-unknown-wasm --sysroot=/toolchain/sysroot -o hello.wasm -I include/faasm hello.c
curl -X PUT http://localhost:8001/f/dummy/hello -T hello.wasm
curl -X POST http://localhost:8001/f/dummy/hello
curl -X POST http://localhost:8080/f/simon/echo -d "hello faasm"
curl http://localhost:8080/f/simon/cool_func/ -X PUT -T /tmp/do_something.wasm
"""


@pytest.mark.parametrize("command", QUICK_START.split("\n")[1:-1])
def test_readme_keeps_its_commands(command):
    assert f"\n{command}\n" in read("README.md")


def anchors(text):
    """As the usual Markdown renderers name headings."""
    for heading in re.findall(r"^#+ (.*)$", text, re.M):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links(document):
    for link in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link
