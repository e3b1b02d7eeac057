"""S7: what very many functions cost, loaded and not, and very many calls that wait."""
import json
import os
import resource
import subprocess
import tempfile
import threading
import time

from harness import memory
from harness.modules import BENCH, guest, sample, variant
from harness.report import Figure
from harness.servers import Faasm, cpu_seconds
from harness.wire import connect, request

KILOBYTE = 1000
UPLOADERS = 4  # two modules are compiled at once, and their files synced meanwhile
EXPONENT = 1.0  # of Zipf's law
PARKED_SECONDS_MAX = 30
MODULES_BYTES_MIN = 1 << 20


class Sizes:
    """How many of everything: as in the targets, or little, to try the bench."""

    def __init__(self, quick):
        self.functions = 500 if quick else 10000
        self.held = self.functions // 10  # that the budget has room for
        self.parked = 200 if quick else 5000
        self.first = 50 if quick else 600  # calls before anything is measured
        self.first_parked = 50 if quick else 300
        # Asynchronous calls get three quarters of all, one user of them three quarters of these.
        self.slots = 1000 if quick else 10000


# --- registering ----------------------------------------------------------------------------------


def upload_share(server, module, numbers, failures):
    try:
        with server.client() as client:
            for number in numbers:
                client.upload(f"/f/bench/{number}", variant(module, number))
    except (OSError, RuntimeError) as error:
        failures.append(error)


def register(bench, data, count):
    """Functions /f/bench/0 and so on, each with its own module; seconds."""
    module = sample("echo")
    failures = []
    with Faasm(bench.program, data) as server:
        server.wait_ready()
        before = time.perf_counter()
        threads = [
            threading.Thread(
                target=upload_share, args=(server, module, range(i, count, UPLOADERS), failures)
            )
            for i in range(UPLOADERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - before
    if failures:
        raise RuntimeError(f"registering: {failures[0]}")
    return took


# --- memory ---------------------------------------------------------------------------------------


class Watched(Faasm):
    """A server whose memory can be told, by its control group where there is one."""

    def __init__(self, group, *how, **more):
        self.group = group
        with group.joined():
            super().__init__(*how, **more)

    def memory(self):
        return {"group": self.group.usage(), **memory.resident(self.family())}


def grown(before, after, count):
    """KB by each of `count`."""
    found = {
        name: (after[name] - before[name]) / count / KILOBYTE
        for name in after
        if after[name] is not None
    }
    found["own"] = found["anonymous"] + found["page_tables"]
    return found


def call_each(server, numbers):
    with server.client() as client:
        for number in numbers:
            answer = client.call("POST", f"/f/bench/{number}", b"ping")
            if answer.status != 200 or answer.body != b"ping":
                raise RuntimeError(f"{number}: {answer.status} {answer.body!r}")


def loaded_round(bench, data, sizes):
    """Functions, registered and then loaded.  The first calls also fill what does not grow with the
    number of functions: slots, call stacks, connections, records of calls."""
    with tempfile.TemporaryDirectory(prefix="faasm-bench-") as empty, memory.Group() as group:
        with Watched(group, bench.program, empty) as server:
            server.wait_ready()
            nothing = server.memory()
        with Watched(group, bench.program, data) as server:
            server.wait_ready()
            registered = server.memory()
            call_each(server, range(sizes.first))
            before = server.memory()
            call_each(server, range(sizes.first, sizes.functions))
            after = server.memory()
            with server.client() as client:
                loaded = client.metrics()["faasm_modules_loaded"]
        if loaded != sizes.functions:
            raise RuntimeError(f"{loaded:.0f} of {sizes.functions} functions are loaded")
    return {
        "registered": grown(nothing, registered, sizes.functions),
        "loaded": grown(before, after, sizes.functions - sizes.first),
    }


# --- calls that wait ------------------------------------------------------------------------------


def allow_descriptors(connections):
    """For them, and for the rest of this process and of servers that it starts."""
    wanted = connections + 500
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < wanted:
        raise RuntimeError(f"{wanted} open files are needed, {most} are allowed: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(now, wanted), most))


def park_connected(server, count):
    """Each on a connection of its own; the connections."""
    call = request("POST", "/f/bench/park")
    links = [connect(server.address) for _ in range(count)]
    for link in links:
        link.sendall(call)
    return links


def park_asynchronous(server, count):
    """Accepted on two connections a worker, so that each worker gets its share."""
    call = request("POST", "/fa/bench/park")
    clients = [server.client() for _ in range(2 * os.cpu_count())]
    for number in range(count):
        answer = clients[number % len(clients)].ask(call)
        if answer.status != 202:
            raise RuntimeError(f"{answer.status} {answer.body!r}")
    return clients


def park(server, how, count):
    """So many more calls, all of them parked."""
    with server.client() as client:
        wanted = client.metrics()["faasm_calls_parked"] + count
        links = how(server, count)
        until = time.monotonic() + PARKED_SECONDS_MAX
        while (parked := client.metrics()["faasm_calls_parked"]) < wanted:
            if time.monotonic() > until:
                raise RuntimeError(f"{parked:.0f} of {wanted:.0f} calls are parked")
            time.sleep(0.05)
    return links


def park_round(bench, sizes, how):
    """Some calls are there before anything is measured."""
    settings = [f"slots={sizes.slots}"]
    with tempfile.TemporaryDirectory(prefix="faasm-bench-") as data:
        with Faasm(bench.program, data) as server, server.client() as client:
            server.wait_ready()
            client.upload("/f/bench/park?limit.wall_ms=1h&limit.concurrency=10000", guest("park"))
        with memory.Group() as group, Watched(group, bench.program, data, settings=settings) as server:
            server.wait_ready()
            links = park(server, how, sizes.first_parked)
            before = server.memory()
            links += park(server, how, sizes.parked)
            found = grown(before, server.memory(), sizes.parked)
            for link in links:
                link.close()
    found["beyond"] = found.get("group", found["own"]) - found["page_tables"]
    found["beyond"] -= 2 * memory.PAGE / KILOBYTE
    return found


def park_figures(bench, sizes):
    allow_descriptors(sizes.first_parked + sizes.parked)
    kinds = {
        f"a parked call, asynchronous, of {sizes.parked}": (park_asynchronous, 30, 12),
        f"a parked call, of {sizes.parked} on as many connections": (park_connected, None, None),
    }
    figures = []
    for name, (how, most, most_beyond) in kinds.items():
        rounds = [park_round(bench, sizes, how) for _ in range(bench.rounds)]
        key = "group" if "group" in rounds[0] else "own"
        figures += memory_figures(rounds, name, {key: ("<=", most)} if most else None)
        figures.append(Figure("S7", f"{name}: what is neither its two pages nor page tables", "KB",
                              [found["beyond"] for found in rounds],
                              target=("<=", most_beyond) if most_beyond else None))
    return figures


# --- Zipf -----------------------------------------------------------------------------------------


def zipf(server, count, seconds, seed):
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s", "-s", str(BENCH / "zipf.lua")]
    command += [f"http://{server.address}", "--", str(count), str(EXPONENT), str(seed)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    if found["errors"] or not found["requests"]:
        raise RuntimeError(f"zipf: errors: {done.stdout}")
    return found


def zipf_round(bench, data, sizes, budget, seed):
    """Some seconds to come to a steady state, and some that count."""
    settings = [f"modules_bytes={budget}"] if budget else []
    with Faasm(bench.program, data, settings=settings) as server, server.client() as client:
        server.wait_ready()
        if not budget:
            call_each(server, range(sizes.functions))
        zipf(server, sizes.functions, bench.seconds, seed)
        before, used = client.metrics(), cpu_seconds(server.pid)
        found = zipf(server, sizes.functions, bench.seconds, seed + 1)
        after = client.metrics()
        used = cpu_seconds(server.pid) - used
    cold = after["faasm_calls_cold_total"] - before["faasm_calls_cold_total"]
    return {
        "rate": found["requests"] / found["duration_us"] * 1e6,
        "cpu_us": used / found["requests"] * 1e6,
        "hits": 100 * (1 - cold / found["requests"]),
        "loaded": after["faasm_modules_loaded"],
        **{name: found[name] for name in ("p50_us", "p99_us", "p999_us")},
    }


def image_bytes(bench, data):
    """What one function counts for in the budget."""
    with Faasm(bench.program, data) as server:
        server.wait_ready()
        call_each(server, [0])
        with server.client() as client:
            return client.metrics()["faasm_modules_bytes"]


def best_hits(count, held):
    """Per cent of calls whose function is among the `held` most called ones."""
    weights = [rank**-EXPONENT for rank in range(1, count + 1)]
    return 100 * sum(weights[:held]) / sum(weights)


# --- all of it ------------------------------------------------------------------------------------


def memory_figures(rounds, name, targets=None):
    """A row for each way to count; only the control group's may be missing."""
    names = {
        "group": "memory of the control group",
        "own": "the processes' own memory and page tables",
        "proportional": "proportional memory, its files in the page cache too",
    }
    return [
        Figure("S7", f"{name}: {names[key]}", "KB", [found[key] for found in rounds],
               target=(targets or {}).get(key))
        for key in names
        if key in rounds[0]
    ]


def density(bench):
    """S7"""
    sizes = Sizes(bench.quick)
    with memory.Group() as group:
        if group.why:
            print(f"S7: no control group, so its memory is not known: {group.why}", flush=True)
    figures = park_figures(bench, sizes)
    with tempfile.TemporaryDirectory(prefix="faasm-bench-") as data:
        took = register(bench, data, sizes.functions)
        figures.append(Figure("S7", f"registering {sizes.functions} functions by upload", "s", [took]))
        rounds = [loaded_round(bench, data, sizes) for _ in range(min(2, bench.rounds))]
        figures += memory_figures([found["registered"] for found in rounds],
                                  f"a function on disk, of {sizes.functions}")
        figures += memory_figures([found["loaded"] for found in rounds],
                                  f"a function in memory, of {sizes.functions}", {"own": ("<=", 25)})
        figures += zipf_figures(bench, data, sizes)
    return figures


def zipf_figures(bench, data, sizes):
    budget = max(MODULES_BYTES_MIN, int(sizes.held * image_bytes(bench, data)))
    rounds = {"few": [], "all": []}
    for number in range(bench.rounds):
        for kind in rounds if number % 2 == 0 else reversed(rounds):
            found = zipf_round(bench, data, sizes, budget if kind == "few" else 0, 2 * number + 1)
            rounds[kind].append(found)
    name = f"Zipf over {sizes.functions} functions, {sizes.held} of them in memory"

    def figure(what, unit, key):
        values = {kind: [found[key] for found in rounds[kind]] for kind in rounds}
        return Figure("S7", f"{name}: {what}", unit, values["few"], values["all"], "all in memory")

    best = best_hits(sizes.functions, sizes.held)
    return [
        figure("calls a second", "/s", "rate"),
        figure("p50", "us", "p50_us"),
        figure("p99", "us", "p99_us"),
        figure("p99.9", "us", "p999_us"),
        figure("server CPU of a call", "us", "cpu_us"),
        Figure("S7", f"{name}: calls that find it there", "%", [f["hits"] for f in rounds["few"]],
               [best] * bench.rounds, "if these were always the most called ones"),
    ]
