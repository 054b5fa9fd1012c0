"""A full disk or a used-up quota below state/ and log/, and floods of output."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
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
        wait_until(lambda: not gears.processes(), "the end of every process")
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


def record(gears: Gears, name: str) -> dict[str, str]:
    (path,) = gears.home.glob(f"state/*/service/{name}.rec")
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@needs_mounts
def test_what_was_refused_takes_no_effect_later(gears: Gears, state: SmallDisk) -> None:
    once = Once(gears, keys="workspace = /\n")
    gears.run("run", "web", "--", "python3", "-m", "http.server", "--bind", "127.0.0.1", "{port}")
    gears.run("forward", "web", str(first := free_port()))
    before = {name: gears.status(name) for name in ("once", "web")}
    port = free_port()
    state.fill()
    refused = (
        ["enable", "once"],
        ["forward", "web", str(port)],
        ["start", "once", "--workspace", "/tmp"],
        ["start", "web", "--workspace", "/tmp"],
    )
    for words in refused:
        assert "No space left on device" in gears.run(*words, check=False).stderr, words
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)
    socket.create_connection(("127.0.0.1", first), 5).close()
    state.empty()
    for name, service in before.items():
        for key in ("enabled", "workspace", "url"):
            assert gears.status(name).get(key) == service.get(key), key
    gears.run("stop", "web")  # writes its record, and so does the next gearsd's start
    gears.run("start", "once")
    assert record(gears, "once")["workspace"] == "/"
    assert record(gears, "once")["enabled"] == "-1"
    assert record(gears, "web")["forward_port"] == str(first)
    assert once.starts() == 1


@needs_strace
def test_a_run_while_the_same_name_is_removed_is_refused(gears: Gears) -> None:
    gears.run("run", "same", "--", "sleep", "1000")
    gears.run("stop", "same")
    with Tracer(thread_named(gears.daemon_pid(), "io"), "unlink", "delay_enter=600000000") as io:
        words = [str(gears.bin / "gearsctl"), "remove", "same"]
        remove = subprocess.Popen(words, env=gears.environment)
        wait_until(lambda: "unlink" in io.calls() or remove.poll() is not None, "the removal")
        assert remove.poll() is None
        again = gears.run("run", "same", "--", "sleep", "1000", check=False)
        assert again.returncode == 1
        assert "it is being removed" in again.stderr
    assert remove.wait(30) == 0
    assert "same" not in gears.names()
    gears.run("run", "same", "--", "sleep", "1000")
    gears.kill_daemon()
    assert gears.status("same")["state"] == "ready"


@needs_mounts
def test_what_fills_a_disk_can_be_stopped(gears: Gears, state: SmallDisk) -> None:
    once = Once(gears)
    gears.run("start", "once")
    state.fill()
    stopped = gears.run("stop", "once", check=False)
    assert stopped.returncode == 1
    assert "it is being stopped" in stopped.stderr
    assert "No space left on device" in stopped.stderr
    wait_until(lambda: not once.running(), "the end of the tree")
    wait_until(lambda: gears.status("once")["state"] == "stopped", "the report")
    state.empty()
    gears.run("stop", "once")
    gears.kill_daemon()
    assert gears.status("once")["state"] == "stopped"


@needs_mounts
def test_the_kernels_that_a_full_disk_does_not_record_are_named(
    gears: Gears, state: SmallDisk
) -> None:
    with (gears.home / "etc/gears.conf").open("a") as conf:
        conf.write("restart = no\n")
    gears.run("start", "lab")
    gears.client().start_notebook("analysis.ipynb")
    server = gears.status()["pid"]
    keeper = parent(server)
    state.fill()
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: gears.status()["state"] == "failed", "the report", 30)
    assert "analysis.ipynb (python3" in gears.status()["exit"]["lost"]
    assert "No space left" in gears.run("events", "lab").stdout, "that it is not on disk"
    wait_until(lambda: not alive(keeper), "the end of a keeper that was released", 20)
    state.empty()


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
    talk.await_lines(2000)
    wait_until(lambda: gears.status("talk")["log_dropped"], "the count")
    talk.await_lines(500)
    assert talk.measured()["worst"] < 20, "a write was held up"
    assert gears.status("talk")["state"] == "ready"
    log.empty()

    def noted() -> bool:
        logs = gears.home.glob("log/*/talk/*.log")
        return any(re.search(rb" g dropped \d+ bytes", path.read_bytes()) for path in logs)

    wait_until(noted, "the note")


# Says that it is ready once its folder has the file "go".
NOTIFIES = """
import os, socket, time
print("up", flush=True)
while not os.path.exists("go"):
    time.sleep(0.02)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
    link.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
time.sleep(1000)
"""


@needs_mounts
def test_a_keeper_leaves_its_successor_s_sockets_alone(gears: Gears, log: SmallDisk) -> None:
    """The old one waits for its log a while, when the new one listens already."""
    program = gears.home / "notifies.py"
    program.write_text(NOTIFIES)
    go = gears.workspace / "go"
    (gears.home / "etc/gears.conf").write_text(
        f"[service:tb]\nkind = command\nready = notify\nrestart = no\n"
        f"cwd = {gears.workspace}\ncommand = python3 {program}\n"
    )
    go.touch()
    gears.run("start", "tb")
    pid = gears.status("tb")["pid"]
    keeper = parent(pid)
    log.fill()
    with Path(f"/proc/{pid}/fd/1").open("wb", buffering=0) as output:
        output.write(b"x" * 4096 + b"\n")
    go.unlink()
    words = [str(gears.bin / "gearsctl"), "restart", "tb"]
    restart = subprocess.Popen(words, env=gears.environment)
    wait_until(lambda: gears.status("tb")["pid"] not in (None, pid), "the restart", 30)
    wait_until(lambda: not alive(keeper), "the end of the old keeper", 20)
    go.touch()
    wait_until(lambda: gears.status("tb")["state"] == "ready", "readiness", 20)
    assert restart.wait(20) == 0
    log.empty()


def test_short_lines_are_all_kept(gears: Gears) -> None:
    """Each has a stamp many times its length, and there are more than the ring holds."""
    (gears.home / "etc/gears.conf").write_text(
        "[service:count]\nkind = command\nready = started\nrestart = no\n"
        "command = sh -c \"seq 1 1000000; yes '' | head -c 500000\"\n"
    )
    gears.run("start", "count")
    gears.run("wait", "count", "--for", "stopped", "--timeout", "120s")
    assert not gears.status("count")["log_dropped"]
    paths = sorted(gears.home.glob("log/*/count/*.log"))
    wait_until(lambda: sum(p.read_bytes().count(b"\n") for p in paths) >= 1500000, "all lines", 20)
    texts = [line[20:] for path in paths for line in path.read_bytes().splitlines()]
    assert texts == [str(n).encode() for n in range(1, 1000001)] + [b""] * 500000


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
        with contextlib.suppress(OSError, TypeError):  # it ends with the flood
            most = max(most, resident(keeper))
        assert time.monotonic() - begin < 600, "the flood does not end"
        time.sleep(0.05)
    print(f"1 GB in {time.monotonic() - begin:.1f} s; keeper at most {most / 1e6:.1f} MB")
    assert most < 6e6
    assert slowest < 20
    size = sum(path.stat().st_size for path in gears.home.glob("log/*/flood/*.log"))
    assert size <= 9 << 20
    assert gears.status("flood")["exit"]["code"] == 0
    wait_until(lambda: "the end" in gears.run("logs", "flood", "-n", "1").stdout, "its last line")
    assert not gears.status("flood")["log_dropped"]
