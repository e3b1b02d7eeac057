"""Memory as the kernel counts it: of control groups, of processes, and of files in the page cache."""
import contextlib
import ctypes
import mmap
import os
import pathlib
import re

PAGE = mmap.PAGESIZE

# --- control groups -------------------------------------------------------------------------------


def own_group():
    """The folder of this process's memory group and the file that holds its usage; None: there is no
    controller of memory to be seen."""
    with open("/proc/self/cgroup") as file:
        rows = [line.strip().split(":", 2) for line in file]
    with open("/proc/mounts") as file:
        mounts = [line.split()[1:4] for line in file]
    for place, kind, options in mounts:
        if kind == "cgroup" and "memory" in options.split(","):
            path, = [row[2] for row in rows if "memory" in row[1].split(",")]
            return pathlib.Path(place + path), "memory.usage_in_bytes"
        if kind == "cgroup2":
            controllers = pathlib.Path(place) / "cgroup.controllers"
            if "memory" in controllers.read_text().split():
                path, = [row[2] for row in rows if row[0] == "0"]
                return pathlib.Path(place + path), "memory.current"
    return None


class Group:
    """A control group for what is started inside of `with group.joined()`.  Where none can be made
    `usage()` is None, and `why` says the reason."""

    def __init__(self):
        self.folder = None
        self.why = "no memory controller is mounted"
        found = own_group()
        if not found:
            return
        parent, self.usage_file = found
        folder = parent / f"faasm-bench-{os.getpid()}"
        try:
            folder.mkdir()
            if not (folder / self.usage_file).exists():  # version 2, not handed down
                (parent / "cgroup.subtree_control").write_text("+memory")
        except OSError as error:
            self.why = f"{folder}: {error.strerror}"
            with contextlib.suppress(OSError):
                folder.rmdir()
            return
        self.parent, self.folder, self.why = parent, folder, ""

    @contextlib.contextmanager
    def joined(self):
        """Processes that are started meanwhile are members, and so are theirs."""
        if self.folder:
            (self.folder / "cgroup.procs").write_text(str(os.getpid()))
        try:
            yield
        finally:
            if self.folder:
                (self.parent / "cgroup.procs").write_text(str(os.getpid()))

    def usage(self):
        """Bytes: what processes have, the page cache that they filled, and what the kernel keeps for
        them (page tables, sockets)."""
        return int((self.folder / self.usage_file).read_text()) if self.folder else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.folder:
            self.folder.rmdir()


# --- processes ------------------------------------------------------------------------------------


def resident(pids):
    """Bytes of some processes: {"proportional", "anonymous", "file", "page_tables"}."""
    found = {"proportional": 0, "anonymous": 0, "file": 0, "page_tables": 0}
    rows = {"proportional": "Pss", "anonymous": "Pss_Anon", "file": "Pss_File"}
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            text = file.read()
        for name, row in rows.items():
            found[name] += int(re.search(rf"^{row}: *(\d+) kB", text, re.M).group(1)) * 1024
        with open(f"/proc/{pid}/status") as file:
            found["page_tables"] += int(re.search(r"^VmPTE:\s*(\d+) kB", file.read(), re.M)[1]) * 1024
    return found


# --- the page cache -------------------------------------------------------------------------------

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
LIBC.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]


def cached_pages(path):
    """How many pages of a file are in memory; asking brings none there."""
    size = os.path.getsize(path)
    if size == 0:
        return 0
    pages = -(-size // PAGE)
    fd = os.open(path, os.O_RDONLY)
    try:
        where = LIBC.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
        if where == ctypes.c_void_p(-1).value:
            raise OSError(ctypes.get_errno(), f"mmap {path}")
        states = ctypes.create_string_buffer(pages)
        failed = LIBC.mincore(where, size, states)
        LIBC.munmap(where, size)
        if failed:
            raise OSError(ctypes.get_errno(), f"mincore {path}")
    finally:
        os.close(fd)
    return sum(state & 1 for state in states.raw)


def evict(paths):
    """Takes files out of the page cache, which must not hold them for others; an error if some of it
    stays.  Names and inodes stay in memory."""
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)
    left = [path for path in paths if cached_pages(path)]
    if left:
        raise RuntimeError(f"{len(left)} of {len(paths)} files stay in the page cache: {left[0]}")
