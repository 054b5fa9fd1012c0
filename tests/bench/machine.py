"""What the kernel tells of processes: time, memory, wake-ups."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

HELD_MOST = 9500
TICK = os.sysconf("SC_CLK_TCK")


class Memory(NamedTuple):
    """Kilobytes."""

    rss: int
    private_dirty: int
    pss: int


def children(pid: int) -> list[int]:
    """The process and its descendants."""
    if not Path(f"/proc/{pid}").exists():
        raise ProcessLookupError(f"process {pid} has ended")
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += [int(word) for word in task.read_text().split()]
            except OSError:
                continue
    return found


def cpu_seconds(pid: int) -> float:
    """Time used by a process, its living descendants, and those it has waited for."""
    total = 0.0
    for each in children(pid):
        try:
            stat = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            for task in Path(f"/proc/{each}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0]) / 1e9
        except OSError:
            continue
        total += (int(stat[13]) + int(stat[14])) / TICK
    return total


def memory(pid: int) -> Memory:
    """Of one process; smaps of gearsd may be read by root only, so others get estimates."""
    try:
        rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        values = {row.split(":")[0]: int(row.split()[1]) for row in rows}
        return Memory(values["Rss"], values["Private_Dirty"], values["Pss"])
    except PermissionError:
        rows = Path(f"/proc/{pid}/status").read_text().splitlines()
        values = {
            row.split(":")[0]: row.split()[1] for row in rows if row.startswith(("Vm", "Rss"))
        }
        return Memory(int(values["VmRSS"]), int(values["RssAnon"]), int(values["VmRSS"]))


def tree_memory(pid: int) -> Memory:
    parts = [memory(each) for each in children(pid)]
    return Memory(*(sum(column) for column in zip(*parts)))


def switches(pid: int, *, descend: bool = True, forced: bool = True) -> int:
    """Context switches of all threads of a process (and its descendants): it ran that often.
    Without the forced ones, what others take from it does not count."""
    total = 0
    for each in children(pid) if descend else [pid]:
        for task in Path(f"/proc/{each}/task").iterdir():
            for row in (task / "status").read_text().splitlines():
                if row.startswith(("voluntary", "nonvoluntary" if forced else "voluntary")):
                    total += int(row.split()[1])
    return total


def pin(core: int, pid: int = 0) -> None:
    """Keep a process (0: this one) and its descendants on the core."""
    for each in children(pid or os.getpid()):
        for task in Path(f"/proc/{each}/task").iterdir():
            os.sched_setaffinity(int(task.name), {core})


def favour(core: int, pid: int = 0) -> None:
    """Pin a process to the core as well; when root, nobody else's work delays it."""
    pin(core, pid)
    for each in children(pid or os.getpid()):
        for task in Path(f"/proc/{each}/task").iterdir():
            if os.geteuid() == 0:
                os.sched_setscheduler(int(task.name), os.SCHED_RR, os.sched_param(1))


def descriptor_pairs() -> int:
    """How many connections a relay here may hold: two descriptors each."""
    return min(HELD_MOST, (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 400) // 2)


@contextmanager
def first_in_line() -> Iterator[None]:
    """What is started in this context comes before everybody else's where root may say so: all
    that is compared gets the same, and neighbours matter less."""
    if os.geteuid() != 0:
        yield
        return
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)
