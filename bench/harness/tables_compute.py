"""S11: how fast guests compute, against the same sources compiled by gcc for this machine."""
import math
import os
import pathlib
import shutil
import subprocess
import tempfile

from harness import load
from harness.machine import Disturbance
from harness.modules import BENCH
from harness.report import Figure

KERNELS = BENCH / "kernels"
THIRD_PARTY = "FAASM_THIRD_PARTY"
SUITE = "polybench"
SUITE_ROUNDS_MAX = 3  # of LARGE: some kernels make their input for longer than a minute
TARGET = ("ratio <=", 1.05)

# Neither side may fuse a multiplication and an addition: WebAssembly never does.
GCC = ["gcc", "-O3", "-ffp-contract=off"]
SIDES = {"guest": None, "native": [], "tuned": ["-march=native"]}
NATIVE = "gcc -O3"
TUNED = "gcc -O3 -march=native"


class Kernel:
    """One program, compiled for every side; `parse` makes (result, ms) of what it prints."""

    def __init__(self, name, sources, arguments, parse, flags=(), guest_flags=()):
        self.name = name
        self.sources = sources
        self.arguments = arguments
        self.parse = parse
        self.flags = flags
        self.guest_flags = guest_flags
        self.programs = {}

    def build(self, clang, folder, suffix="", flags=()):
        programs = {}
        for side, options in SIDES.items():
            out = folder / f"{self.name}{suffix}.{side}"
            compiler = [clang] if side == "guest" else [*GCC, *options]
            own = self.guest_flags if side == "guest" else []
            command = [*compiler, "-w", *self.flags, *flags, "-o", out, *self.sources, "-lm", *own]
            subprocess.run(command, check=True, capture_output=True, text=True)
            programs[side] = out
        return programs

    def run(self, bench, program, side, arguments):
        command = [program, *arguments]
        if side == "guest":
            # With a limit of time the engine's clock ticks, as it does on the server.
            limits = ["--limit", "memory_bytes=1GiB", "--limit", "cpu_ms=1h"]
            command = [bench.program, "run", *limits, *command]
        return subprocess.run(command, check=True, capture_output=True, text=True)

    def measure(self, bench, side):
        done = self.run(bench, self.programs[side], side, self.arguments)
        return self.parse(done.stdout)


def check(name, results):
    """The guest's result must be that of gcc -O3.  With -march=native gcc 12 fuses some operations
    all the same, so that side only has to have one."""
    if results["guest"] != results["native"] or not results["tuned"]:
        raise RuntimeError(f"{name}: different results: {results}")


# --- our own --------------------------------------------------------------------------------------


def parse_own(text):
    checksum, nanoseconds = text.split()
    return checksum, int(nanoseconds) / 1e6


def own_kernels(bench, clang, folder):
    runs = "5" if bench.quick else "20"
    kernels = []
    for path in sorted(KERNELS.glob("*.c")):
        if path.stem != "main":
            sources = [KERNELS / "main.c", path]
            kernels.append(Kernel(path.stem, sources, [runs], parse_own))
            kernels[-1].programs = kernels[-1].build(clang, folder)
    return kernels


# --- PolyBench/C ----------------------------------------------------------------------------------

# It includes a header of clocks that it does not use.
CLOCKS = ["-D_WASI_EMULATED_PROCESS_CLOCKS", "-lwasi-emulated-process-clocks"]


def parse_polybench(text):
    return "checked before", float(text) * 1000


def polybench_kernels(bench, clang, folder):
    """All of its list, each checked first: the arrays of a small run must be the same."""
    suite = pathlib.Path(os.environ[THIRD_PARTY]) / SUITE
    size = "MEDIUM" if bench.quick else "LARGE"
    kernels = []
    for line in (suite / "utilities" / "benchmark_list").read_text().split():
        path = suite / line
        sources = [suite / "utilities" / "polybench.c", path]
        include = [f"-I{suite / 'utilities'}", f"-I{path.parent}"]
        kernel = Kernel(path.stem, sources, [], parse_polybench, include, CLOCKS)
        dump = ["-DSMALL_DATASET", "-DPOLYBENCH_DUMP_ARRAYS"]
        small = kernel.build(clang, folder, ".small", dump)
        check(path.stem, {
            side: kernel.run(bench, program, side, []).stderr for side, program in small.items()
        })
        timed = [f"-D{size}_DATASET", "-DPOLYBENCH_TIME"]
        kernel.programs = kernel.build(clang, folder, "", timed)
        kernels.append(kernel)
    return kernels


def polybench_missing():
    """Why it cannot be run; None if it can."""
    if not os.environ.get(THIRD_PARTY):
        return f"{THIRD_PARTY} does not name the folder that holds {SUITE}/"
    suite = pathlib.Path(os.environ[THIRD_PARTY]) / SUITE
    return None if suite.is_dir() else f"there is no {suite}"


# --- the table ------------------------------------------------------------------------------------


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def measure_set(bench, rounds, title, kernels):
    """Every kernel in every round on every side, one after the other; figures and their means."""
    took = {kernel.name: {side: [] for side in SIDES} for kernel in kernels}
    disturbed = {}
    for kernel in kernels:
        disturbance = Disturbance()
        before = load.children_seconds()
        for number in range(rounds):
            results = {}
            for side in SIDES if number % 2 == 0 else reversed(SIDES):
                results[side], milliseconds = kernel.measure(bench, side)
                took[kernel.name][side].append(milliseconds)
            check(kernel.name, results)
        disturbed[kernel.name] = disturbance.end(load.children_seconds() - before)

    def means(side):
        by_round = zip(*(took[kernel.name][side] for kernel in kernels))
        return [geometric_mean(values) for values in by_round]

    figures = [
        Figure("S11", f"{title}: {name}", "ms", found["guest"], found["native"], NATIVE,
               foreign=disturbed[name])
        for name, found in took.items()
    ]
    mean = f"{title}: geometric mean of {len(kernels)}"
    return figures + [
        Figure("S11", mean, "ms", means("guest"), means("native"), NATIVE, TARGET),
        Figure("S11", mean, "ms", means("guest"), means("tuned"), TUNED),
    ]


def kernels(bench):
    """S11"""
    if not shutil.which("gcc"):
        raise RuntimeError("gcc is missing: apt-get install gcc libc6-dev")
    with tempfile.TemporaryDirectory(prefix="faasm-bench-") as name:
        folder = pathlib.Path(name)
        toolchain = folder / "toolchain"
        subprocess.run([BENCH.parent / "sdk/c/install", toolchain], check=True)
        clang = toolchain / "bin/clang"
        figures = measure_set(bench, bench.rounds, "own", own_kernels(bench, clang, folder))
        missing = polybench_missing()
        if missing:
            print(f"S11: PolyBench/C is not run: {missing}", flush=True)
            return figures
        size = "MEDIUM" if bench.quick else "LARGE"
        title = f"PolyBench/C {size}"
        rounds = min(bench.rounds, SUITE_ROUNDS_MAX)
        return figures + measure_set(bench, rounds, title, polybench_kernels(bench, clang, folder))
