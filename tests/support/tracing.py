"""Kills or delays a process at one chosen system call, with strace."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from processes import wait_until

COUNT_MOST = 40
# Everything that a write of a state record is made of, in the order of its steps.
RECORD_CALLS = "openat,write,fchmod,fsync,close,rename,unlink"
# The same of a keeper, which opens and closes much of /proc besides.
KEEPER_CALLS = "write,fchmod,fsync,rename"
# What gearsd's loop does around it: spawning, ordering, answering.
LOOP_CALLS = "socketpair,clone,clone3,vfork,wait4,sendmsg,write"


def may_trace() -> bool:
    """Whether strace is there and may attach to gearsd, which is not dumpable."""
    return shutil.which("strace") is not None and os.geteuid() == 0


needs_strace = pytest.mark.skipif(not may_trace(), reason="needs strace, as root")


def thread_named(pid: int, name: str) -> int:
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text() == f"{name}\n":
            return int(task.name)
    raise AssertionError(f"{pid} has no thread {name}")


@dataclass
class Point:
    """Before the count-th time that a thread makes the call."""

    call: str
    count: int

    def killing(self) -> tuple[str, str]:
        return self.call, f"signal=SIGKILL:when={self.count}"


def each_point(calls: str, one: Callable[[Point], bool]) -> int:
    """Try every point until a call is not made so often any more; how many points there were."""
    points = 0
    for call in calls.split(","):
        for count in range(1, COUNT_MOST):
            if not one(Point(call, count)):
                break
            points += 1
        else:
            raise AssertionError(f"{call} is made more than {COUNT_MOST} times")
    return points


class Tracer:
    """strace on one thread (or, with follow, a process and what it makes) until it ends."""

    def __init__(self, tid: int, calls: str, inject: str, follow: bool = False) -> None:
        self.output = Path(tempfile.mkstemp(prefix="gt", dir="/tmp")[1])
        words = ["strace", "-q", "-o", str(self.output), "-e", f"trace={calls}"]
        words += ["-e", f"inject={calls}:{inject}", *(["-f"] if follow else []), "-p", str(tid)]
        self.process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        try:
            wait_until(lambda: self.traces(tid) or self.process.poll() is not None, "strace")
            if self.process.poll() is not None:  # at once, if the call was just being made
                assert "killed by SIGKILL" in self.calls(), self.process.communicate()[1]
        except BaseException:
            self.end()
            raise

    @staticmethod
    def traces(tid: int) -> bool:
        try:
            status = Path(f"/proc/{tid}/status").read_text()
        except OSError:
            return False
        return "TracerPid:\t0\n" not in status

    def calls(self) -> str:
        return self.output.read_text()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.communicate(timeout=5)
        except subprocess.TimeoutExpired:  # it may wait for a thread that has gone
            self.process.kill()
            self.process.communicate()
        self.output.unlink(missing_ok=True)

    def __enter__(self) -> Tracer:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
