"""Programs of others, for tests: where their sources are found, and how they are compiled.

Sources are Debian's and those in crates, brought by `apt-get` and `cargo`. They are kept, with what
is compiled of them, in a cache outside of the tree (~/.cache/faasm or $FAASM_CACHE). Nothing of the
machine's own configuration is changed: the lists of source packages are kept there as well.
"""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/programs"
CACHE = pathlib.Path(os.environ.get("FAASM_CACHE") or pathlib.Path.home() / ".cache/faasm")
SOURCES = CACHE / "sources"
BUILT = CACHE / "programs"


class Missing(Exception):
    """A source or a compiler that is not to be had here."""


def run(command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          check=False, **options)


# --- sources -------------------------------------------------------------------------------------


def apt_options():
    """For an apt of our own, which knows the sources of the packages that the machine's knows."""
    apt = CACHE / "apt"
    for folder in ("lists/partial", "archives/partial", "parts"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    system = pathlib.Path("/etc/apt")
    for path in [system / "sources.list", *system.glob("sources.list.d/*")]:
        if not path.exists() or path.suffix not in (".list", ".sources"):
            continue
        text = path.read_text()
        if "debian-archive-keyring" in text or path.name == "sources.list":  # not of others
            text = re.sub(r"^Types:.*$", "Types: deb-src", text, flags=re.M)
            text = re.sub(r"^deb ", "deb-src ", text, flags=re.M)
            (apt / "parts" / path.name.replace("sources.list", "main.list")).write_text(text)
    return ["-qq", "-o", "Dir::Etc::sourcelist=/dev/null", "-o", f"Dir::Etc::sourceparts={apt}/parts",
            "-o", f"Dir::State::Lists={apt}/lists", "-o", f"Dir::Cache={apt}",
            "-o", "APT::Sandbox::User=root"]


@functools.cache
def apt_update():
    """Once; what is said of it, if it failed."""
    done = run(["apt-get", *apt_options(), "update", "--error-on=any"])
    return done.stderr.strip() if done.returncode != 0 else ""


def unpacked(archive):
    """The folder that an archive holds, unpacked beside it."""
    with tarfile.open(archive) as tar:
        top = pathlib.PurePath(tar.getnames()[0]).parts[0]
        folder = archive.parent / top
        if not folder.exists():
            part = archive.parent / f"part.{os.getpid()}"
            safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            tar.extractall(part, **safely)
            (part / top).rename(folder)
            part.rmdir()
    return folder


def debian(name):
    """The upstream archive of a source package: (folder, version)."""
    folder = SOURCES / name
    archives = sorted(folder.glob("*.orig.tar.*"))
    if not archives:
        if not shutil.which("apt-get"):
            raise Missing("no apt-get")
        folder.mkdir(parents=True, exist_ok=True)
        fetch = ["apt-get", *apt_options(), "--download-only", "--tar-only", "source", name]
        done = run(fetch, cwd=folder)
        complaint = ""
        if done.returncode != 0:  # no lists yet, or old ones
            complaint = apt_update()
            done = run(fetch, cwd=folder)
        archives = sorted(folder.glob("*.orig.tar.*"))
        if done.returncode != 0 or not archives:
            complaint = complaint or done.stderr.strip()
            raise Missing(f"the sources of {name} cannot be had: {complaint[:300]}")
    version = re.search(r"_(.+)\.orig\.tar", archives[0].name)[1]
    return unpacked(archives[0]), version


def crate(name, version):
    folder = SOURCES / f"{name}-{version}"
    (folder / "src").mkdir(parents=True, exist_ok=True)
    (folder / "src/lib.rs").touch()
    (folder / "Cargo.toml").write_text(
        f'[package]\nname = "sources"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n'
        f'[dependencies]\n{name} = "={version}"\n')
    for offline in (["--offline"], []):
        done = run(["cargo", "metadata", "--format-version", "1", "--all-features", *offline],
                   cwd=folder)
        if done.returncode == 0:
            break
    else:
        raise Missing(f"the crate {name} cannot be had: {done.stderr.strip()[-300:]}")
    path, = [package["manifest_path"] for package in json.loads(done.stdout)["packages"]
             if package["name"] == name]
    return pathlib.Path(path).parent, version


def source(text):
    kind, _, name = text.partition(":")
    if kind == "own":
        return HERE, ""
    if kind == "debian":
        return debian(name)
    name, _, version = name.partition("=")
    return crate(name, version)


# --- recipes -------------------------------------------------------------------------------------


@dataclasses.dataclass
class Program:
    name: str
    about: str
    source: str
    run: list
    files: list = dataclasses.field(default_factory=list)
    exclude: list = dataclasses.field(default_factory=list)
    include: list = dataclasses.field(default_factory=list)
    flags: list = dataclasses.field(default_factory=list)
    wasm_flags: list = dataclasses.field(default_factory=list)
    libraries: list = dataclasses.field(default_factory=list)
    copy: dict = dataclasses.field(default_factory=dict)
    main: str = ""
    language: str = "c"
    version: str = ""  # a pattern; of the source where its package has another
    version_file: str = ""
    with_: str = ""


def recipes():
    table = tomllib.loads((HERE / "recipes.toml").read_text())
    return [Program(name, with_=row.pop("with", ""), **row) for name, row in table.items()]


class Built:
    """A program compiled in both ways."""

    def __init__(self, program, toolchain):
        self.program = program
        self.folder, package_version = source(program.source)
        self.other = source(program.with_)[0] if program.with_ else None
        self.toolchain = toolchain
        self.version = self.version_of(package_version)
        self.wasm = self.make("wasm")
        self.native = self.make("native")

    def version_of(self, package_version):
        if self.program.source == "own":  # it is about the compiler's library
            return re.search(r"\d+\.[.\d]+", self.compiler_version("wasm"))[0]
        if not self.program.version:
            return package_version
        text = (self.folder / self.program.version_file).read_text()
        return ".".join(re.findall(self.program.version, text))

    def path(self, text):
        """`WITH/x` is in the second source, `SOURCE/x` in the first; others where they are."""
        if text.startswith("WITH"):
            return self.other / text[len("WITH/"):]
        return self.folder / text

    def sources(self):
        found = [path for pattern in self.program.files
                 for path in sorted(self.path(pattern).parent.glob(pattern.rsplit("/", 1)[-1]))]
        excluded = {self.folder / name for name in self.program.exclude}
        found = list(dict.fromkeys(path for path in found if path not in excluded))
        return found + ([HERE / self.program.main] if self.program.main else [])

    def command(self, kind):
        program = self.program
        if program.language == "rust":
            rustc = "/usr/bin/rustc"  # Debian's, which has a library for WebAssembly
            target = ["--target", "wasm32-wasi"] if kind == "wasm" else []
            return [rustc, *target, "-O", HERE / program.main]
        plus = "++" if program.language == "c++" else ""
        compiler = self.toolchain / f"bin/clang{plus}" if kind == "wasm" else f"g{plus or 'cc'}"
        own = program.wasm_flags if kind == "wasm" else []
        flags = [word for word in own if not word.startswith("-l")]
        libraries = [word for word in own if word.startswith("-l")] + program.libraries
        if kind == "wasm":
            libraries = [word for word in libraries if word != "-lpthread"]
        return [compiler, "-w", "-O2" if kind == "wasm" else "-O1", *program.flags, *flags,
                *[f"-I{self.path(folder)}" for folder in program.include], f"-I{HERE}", "-I.",
                *self.sources(), *libraries]

    def compiler_version(self, kind):
        compiler = self.command(kind)[0]
        try:
            return run([compiler, "--version"]).stdout
        except FileNotFoundError:
            raise Missing(f"no {compiler}") from None

    def make(self, kind):
        """Compiles, unless that was done before with the same sources, flags and compiler."""
        command = self.command(kind)
        digest = hashlib.sha256()
        digest.update(self.compiler_version(kind).encode())
        words = repr([str(word) for word in command])
        for place in (self.toolchain, ROOT):
            words = words.replace(str(place), "")
        digest.update(words.encode())
        digest.update(self.version.encode())
        ours = [HERE / self.program.main] if self.program.main else []
        if kind == "wasm":
            ours += [HERE / "wasi.h", *sorted((ROOT / "sdk/c").iterdir())]
        for path in ours:
            digest.update(path.read_bytes())
        out = BUILT / f"{self.program.name}-{digest.hexdigest()[:16]}"
        product = out / ("program.wasm" if kind == "wasm" else "program")
        if not product.exists():
            self.compile(command, out, product)
        return product

    def compile(self, command, out, product):
        work = out.with_name(f"{out.name}.{os.getpid()}")
        work.mkdir(parents=True)
        for name, origin in self.program.copy.items():
            shutil.copy(self.folder / origin, work / name)
        done = run([*command, "-o", product.name], cwd=work)
        if done.returncode != 0 and re.search("can't find crate for `(std|core)`", done.stderr):
            raise Missing("no Rust library for WebAssembly")
        assert done.returncode == 0, done.stderr[-3000:]
        out.mkdir(parents=True, exist_ok=True)
        (work / product.name).rename(product)
        shutil.rmtree(work)
