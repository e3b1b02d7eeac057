"""The machine that is measured on: what it charges, and whether it has other things to do."""
import json
import os
import platform
import re
import subprocess
import time

from harness.servers import TICKS_PER_SECOND, stat_fields

QUIET_SHARE = 0.05  # of all cores may be busy before we start
FOREIGN_SHARE = 0.10  # of one core may go to others during a measurement


def processor_times():
    """Seconds since boot, all cores: {"own": user, nice and system, "steal": ..., "idle": ...}."""
    with open("/proc/stat") as file:
        numbers = [int(text) / TICKS_PER_SECOND for text in file.readline().split()[1:]]
    user, nice, system, idle, wait, irq, softirq, steal = numbers[:8]
    return {
        "own": user + nice + system,
        "interrupts": irq + softirq,
        "steal": steal,
        "idle": idle + wait,
    }


def _process_times():
    """CPU seconds by process, which its id and its start time name together."""
    times = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        fields = stat_fields(pid)
        if fields:
            used = (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND
            times[(int(pid), fields[19])] = used
    return times


def _command(pid):
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except OSError:
        return f"process {pid}"


def quietness(seconds):
    """How busy the machine is with other things, and with which."""
    before, processes = processor_times(), _process_times()
    time.sleep(seconds)
    after, later = processor_times(), _process_times()
    used = {key: after[key] - before[key] for key in after}
    busy = sum(used.values()) - used["idle"]
    spent = sorted(((later[key] - processes.get(key, 0), key[0]) for key in later), reverse=True)
    eaters = [f"{_command(pid)} {100 * used / seconds:.0f} %" for used, pid in spent[:3] if used]
    share = busy / (seconds * os.cpu_count())
    return {
        "load": round(os.getloadavg()[0], 2),
        "busy_share": round(share, 3),
        "busy_with": eaters,
        "quiet": share <= QUIET_SHARE,
    }


def say_quietness(found, when):
    if not found["quiet"]:
        print(
            f"THE MACHINE IS NOT QUIET {when}: {100 * found['busy_share']:.0f} % of it is busy "
            f"(load {found['load']}; {', '.join(found['busy_with']) or 'nobody to be seen'}). "
            "These figures are not to be kept.",
            flush=True,
        )


class Disturbance:
    """CPU time that neither the servers nor the load generator used, in cores."""

    def __init__(self):
        self.before = processor_times()
        self.at = time.perf_counter()

    def end(self, known_seconds):
        after = processor_times()
        seconds = time.perf_counter() - self.at
        own = after["own"] - self.before["own"] - known_seconds
        steal = after["steal"] - self.before["steal"]
        return max(0.0, own + steal) / seconds


def facts():
    kernel = re.match(r"[\d.]*\d", platform.release())
    with open("/proc/meminfo") as file:
        kibibytes = int(re.search(r"^MemTotal: *(\d+)", file.read(), re.M).group(1))
    return {
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "kernel": kernel.group(0) if kernel else platform.release(),
        "memory_bytes": kibibytes * 1024,
    }


def costs(program, folder):
    """See bench/machine.c."""
    return json.loads(subprocess.run([program, folder], check=True, capture_output=True).stdout)


def say_costs(found):
    print(
        f"this machine: system call {found['system_call_ns']:.0f} ns, "
        f"page fault {found['page_fault_ns']:.0f} ns, "
        f"waking a thread {found['thread_wake_ns'] / 1000:.1f} us, "
        f"fsync {found['fsync_us']:.0f} us",
        flush=True,
    )
