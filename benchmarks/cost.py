"""What processes cost: CPU of the living and the dead, memory, descriptors; and which core they are on."""

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_LIBC: Final = ctypes.CDLL(None, use_errno=True)

EXCHANGE_CORE: Final = 0  # workers, office and Postgres; the peer in its turn
OTHERS_CORE: Final = 1  # buyers, the load generator and whoever measures


@contextmanager
def on_core(core: int, *, pin: bool = True) -> Iterator[None]:
    """Whatever is started within stays on this core; on one core nothing is pinned."""
    allowed = os.sched_getaffinity(0)
    if not pin or not {EXCHANGE_CORE, OTHERS_CORE} <= allowed:
        yield
        return
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def can_pin() -> bool:
    return {EXCHANGE_CORE, OTHERS_CORE} <= os.sched_getaffinity(0)


def cpu_s(pid: int) -> float:
    """User and system time of one process, all its threads, by the scheduler's own clock: exact."""
    clock = ctypes.c_int()
    if error := _LIBC.clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise ProcessLookupError(error, os.strerror(error))
    return time.clock_gettime(clock.value)


def family_cpu_s(pid: int) -> float:
    """Of a process, its descendants, and those of them that have ended. The dead are 10 ms fine."""
    found = 0.0
    for one in (pid, *descendants_of(pid)):
        try:
            found += cpu_s(one) + _dead_children_s(one)
        except OSError:  # gone meanwhile: its parent has its time now
            continue
    return found


def _dead_children_s(pid: int) -> float:
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    fields = text.rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / _TICKS_PER_S


def children_of(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text(encoding="utf-8").split())
    return found


def descendants_of(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for child in children_of(pid):
            found += [child, *descendants_of(child)]
    except OSError:
        return found
    return found


def argv(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def rss_mb(pid: int) -> float:
    """Resident memory now."""
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]
    return int(pages) * _PAGE_BYTES / 1_000_000


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def core_s(core: int) -> float:
    """Seconds since boot that this core was used by anybody, or taken away by the host."""
    for line in Path("/proc/stat").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, _idle, _wait, irq, softirq, steal = map(int, line.split()[1:9])
            return (user + nice + system + irq + softirq + steal) / _TICKS_PER_S
    return 0.0
