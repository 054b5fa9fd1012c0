"""A full disk or a used-up quota below state/ and log/, and floods of output."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chatter import Chatter
from conftest import Gears
from once import Once
from processes import alive, parent, wait_until
from tracing import Tracer, needs_strace, thread_named

needs_mounts = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")


class SmallDisk:
    """A tmpfs that can be filled up and emptied again."""

    def __init__(self, path: Path, size: str) -> None:
        self.path = path
        words = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "none", str(path)]
        subprocess.run(words, check=True)

    def fill(self) -> None:
        try:
            with (self.path / "ballast").open("ab", buffering=0) as ballast:
                while ballast.write(b"x" * 4096):
                    pass
        except OSError:
            return

    def empty(self) -> None:
        (self.path / "ballast").unlink()

    def leave(self) -> None:
        subprocess.run(["umount", "-l", str(self.path)], check=True)


def small_disk(gears: Gears, area: str, size: str) -> Iterator[SmallDisk]:
    folder = gears.home / area
    folder.mkdir(mode=0o700)
    disk = SmallDisk(folder, size)
    try:
        yield disk
        gears.run("daemon", "stop", "--services", "--yes", check=False)
        wait_until(lambda: not gears.processes(), "the end of every process", 30)
    finally:
        disk.leave()


@pytest.fixture
def state(gears: Gears) -> Iterator[SmallDisk]:
    yield from small_disk(gears, "state", "256k")


@pytest.fixture
def log(gears: Gears) -> Iterator[SmallDisk]:
    yield from small_disk(gears, "log", "2m")


@needs_mounts
def test_a_full_state_refuses_starts_and_touches_nothing(gears: Gears, state: SmallDisk) -> None:
    once = Once(gears)
    gears.run("start", "once")
    pid = gears.status("once")["pid"]
    gears.run("run", "idle", "--", "true", check=False)
    gears.run("wait", "idle", "--for", "stopped")
    state.fill()
    for words in (["start", "lab"], ["run", "new", "--", "sleep", "9"], ["enable", "once"]):
        refused = gears.run(*words, check=False)
        assert refused.returncode == 1, words
        assert "No space left on device" in refused.stderr, words
    assert "new" not in gears.names()
    assert gears.status("once")["pid"] == pid
    assert gears.status("lab")["state"] == "stopped"
    # A gearsd that comes up now finds everything as it was.
    gears.kill_daemon()
    assert gears.status("once")["pid"] == pid
    assert "new" not in gears.names()
    state.empty()
    gears.run("run", "new", "--", "sleep", "1000")
    assert once.starts() == 1


@needs_mounts
def test_what_fills_a_disk_can_be_stopped(gears: Gears, state: SmallDisk) -> None:
    once = Once(gears)
    gears.run("start", "once")
    state.fill()
    stopped = gears.run("stop", "once", check=False)
    assert stopped.returncode == 1
    assert "it is being stopped" in stopped.stderr
    assert "No space left on device" in stopped.stderr
    wait_until(lambda: not once.running(), "the end of the tree", 20)
    wait_until(lambda: gears.status("once")["state"] == "stopped", "the report", 20)
    state.empty()
    gears.run("stop", "once")
    gears.kill_daemon()
    assert gears.status("once")["state"] == "stopped"


@needs_strace
@pytest.mark.parametrize("call", ["write", "fsync", "close"])
def test_a_quota_that_ends_anywhere_in_a_write(gears: Gears, call: str) -> None:
    """EDQUOT from write, from fsync, and from close, where NFS tells it."""
    once = Once(gears)
    tid = thread_named(gears.daemon_pid(), "io")
    with Tracer(tid, call, "error=EDQUOT:when=1"):
        refused = gears.run("start", "once", check=False)
    assert refused.returncode == 1
    assert "Disk quota exceeded" in refused.stderr
    assert once.starts() == 0
    assert not list(gears.home.glob("state/*/service/*.tmp"))
    gears.run("start", "once")
    assert once.starts() == 1


@needs_mounts
def test_a_full_log_holds_up_no_output(gears: Gears, log: SmallDisk, tmp_path: Path) -> None:
    talk = Chatter(gears, tmp_path, pause=0.0005)
    log.fill()
    talk.await_lines(2000, 30)
    wait_until(lambda: gears.status("talk")["log_dropped"], "the count")
    talk.await_lines(500, 30)
    assert talk.measured()["worst"] < 1.5, "a write was held up"
    assert gears.status("talk")["state"] == "ready"
    log.empty()

    def noted() -> bool:
        logs = gears.home.glob("log/*/talk/*.log")
        return any(re.search(rb" g dropped \d+ bytes", path.read_bytes()) for path in logs)

    wait_until(noted, "the note", 30)


def resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]


def test_a_gigabyte_of_output(gears: Gears, tmp_path: Path) -> None:
    """Bounded on disk and in memory, and everything answers meanwhile."""
    script = tmp_path / "flood.sh"
    script.write_text(f"yes {'x' * 999} | head -c 1000000000; echo the end\n")
    (gears.home / "etc/gears.conf").write_text(
        "[service:flood]\nkind = command\nlog_budget = 8M\nready = started\nrestart = no\n"
        f"command = sh {script}\n"
    )
    begin = time.monotonic()
    gears.run("start", "flood")
    pid = gears.status("flood")["pid"]
    keeper = parent(pid)
    most = slowest = 0.0
    while gears.status("flood")["state"] == "ready":
        asked = time.monotonic()
        gears.run("status")
        slowest = max(slowest, time.monotonic() - asked)
        if alive(keeper):
            most = max(most, resident(keeper))
        assert time.monotonic() - begin < 120, "the flood does not end"
        time.sleep(0.05)
    print(f"1 GB in {time.monotonic() - begin:.1f} s; keeper at most {most / 1e6:.1f} MB")
    assert most < 6e6
    assert slowest < 2
    size = sum(path.stat().st_size for path in gears.home.glob("log/*/flood/*.log"))
    assert size <= 9 << 20
    assert gears.status("flood")["exit"]["code"] == 0
    wait_until(lambda: "the end" in gears.run("logs", "flood", "-n", "1").stdout, "its last line")
    assert not gears.status("flood")["log_dropped"]
