"""S2 and HTTP: the echo beside other ways to run a function, and under loads of many shapes."""
from harness import plots
from harness.lineup import CGI, NGINX, OURS, PATH, RAW, WASMTIME, lineup
from harness.load import Load, Rounds, take_turns
from harness.peers import wasmtime_program
from harness.report import Figure, Matrix

COLUMNS = {
    "rate": "requests/s",
    "p50_us": "p50, us",
    "p99_us": "p99, us",
    "p999_us": "p99.9, us",
    "cpu_us": "server CPU a request, us",
    "memory_mb": "memory, MB",
    "errors": "errors",
}


def measure(bench, names, load, seconds):
    """What each server did in each round under the same load, by name."""
    shape = {"body_bytes": load.body_bytes, "connections": load.connections}
    with lineup(bench, names, **shape) as servers:
        memory_mb = {name: load.warm_up(server) / 1e6 for name, server in servers.items()}

        def run(name):
            return {**load.run(servers[name], seconds), "memory_mb": memory_mb[name]}

        return take_turns(bench.rounds, {name: lambda name=name: run(name) for name in names})


def rows_of(found, under=""):
    return [(under, name, rounds) for name, rounds in found.items()]


# --- S2 -------------------------------------------------------------------------------------------

# What is asked of the ratio of requests and of CPU to each.
TARGETS = {RAW: (None, None), NGINX: (0.8, None), WASMTIME: (3.3, 0.25), CGI: (None, None)}


def figures_beside(name, ours, theirs):
    """One peer's; `theirs` is None when it was not run."""
    what = f"echo, 32 connections, beside {name}"
    if not theirs:
        rates = [one["rate"] for one in ours]
        return [Figure("S2", what, "/s", rates, None, "not run: WASMTIME names no binary")]
    both = Rounds(ours, theirs)
    rate, cpu = TARGETS[name]
    rate = rate and ("ratio >=", rate)
    cpu = cpu and ("ratio <=", cpu)
    foreign = both.foreign()
    return [
        Figure("S2", what, "/s", *both.of("rate"), name, rate, foreign),
        Figure("S2", f"{what}: server CPU", "us", *both.of("cpu_us"), name, cpu, foreign),
    ]


def peers(bench):
    """S2"""
    names = [OURS, *TARGETS]
    if not wasmtime_program():
        names.remove(WASMTIME)
    found = measure(bench, names, Load(PATH), bench.seconds)
    figures = []
    for name in TARGETS:
        figures += figures_beside(name, found[OURS], found.get(name))
    for name, rounds in found.items():
        errors = sum(one["errors"] for one in rounds)
        if errors:
            raise RuntimeError(f"{name}: {errors} errors")
    title = "echo of 100 bytes, 32 connections, all cores"
    return figures + [Matrix("S2", title, COLUMNS, rows_of(found), plots.bars("rate"))]


# --- HTTP -----------------------------------------------------------------------------------------

ECHOES = (OURS, RAW)
ALL = (OURS, RAW, NGINX)  # where a constant answer of 100 bytes compares


def sizes():
    named = ((0, "0 B"), (100, "100 B"), (4096, "4 KiB"), (65536, "64 KiB"), (1 << 20, "1 MiB"))
    for size, name in named:
        yield f"{name}, 32 connections", ALL if size == 100 else ECHOES, Load(PATH, 32, size)


def connections():
    for count in (1, 8, 128, 1000):
        names = ALL if count in (1, 1000) else ECHOES
        yield f"100 B, {count} connection{'s' * (count > 1)}", names, Load(PATH, count)


def without_keep_alive():
    for count in (1, 32):
        what = f"100 B, {count} at once, Connection: close"
        yield what, ALL if count == 32 else ECHOES, Load(PATH, count, keep_alive=False)


def loads(bench):
    """HTTP"""
    seconds = max(1, bench.seconds // 3)  # there are many
    rows = []
    for under, names, load in (*sizes(), *connections(), *without_keep_alive()):
        rows += rows_of(measure(bench, names, load, seconds), under)
    title = "POST and its answer, all cores"
    return [Matrix("HTTP", title, COLUMNS, rows, plots.bars("rate"))]
