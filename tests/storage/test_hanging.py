"""log/ or state/ on a filesystem that hangs: everything goes on, nothing acknowledged is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chatter import Chatter
from conftest import Gears
from hanging_mount import HangingMount
from lab_client import UnixHTTPConnection
from once import Once
from processes import alive, tell, wait_until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that never hangs."""
    return tmp_path


@pytest.fixture
def log(gears: Gears, folder: Path) -> Iterator[HangingMount]:
    with HangingMount(folder / "log-source", gears.home / "log") as mount:
        mount.source.chmod(0o700)
        yield mount
        end(gears)


@pytest.fixture
def state(gears: Gears, folder: Path) -> Iterator[HangingMount]:
    with HangingMount(folder / "state-source", gears.home / "state") as mount:
        mount.source.chmod(0o700)
        yield mount
        end(gears)


def end(gears: Gears) -> None:
    """Before the mount goes: nothing may be left that writes there."""
    gears.run("daemon", "stop", "--services", "--yes")
    wait_until(lambda: not gears.processes(), "the end of every process")


def quick(gears: Gears, *words: str) -> subprocess.CompletedProcess[str]:
    begin = time.monotonic()
    result = gears.run(*words)
    took = time.monotonic() - begin
    assert took < 20, f"{words} took {took:.1f} s"
    return result


def fetch(gears: Gears, name: str) -> int:
    """An HTTP status through the relay."""
    connection = UnixHTTPConnection(Path(gears.status(name)["socket"]), 5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    finally:
        connection.close()


def start_web(gears: Gears) -> None:
    gears.run("run", "web", "--", "python3", "-m", "http.server", "--bind", "127.0.0.1", "{port}")
    wait_until(lambda: fetch(gears, "web") == 200, "the web server")


def segments(gears: Gears, name: str) -> str:
    paths = sorted(gears.home.glob(f"log/*/{name}/*.log"))
    return "".join(path.read_text() for path in paths)


def test_a_hanging_log_holds_up_nobody(gears: Gears, log: HangingMount, folder: Path) -> None:
    start_web(gears)
    talk = Chatter(gears, folder, pause=0.0005)
    wait_until(lambda: segments(gears, "talk"), "its log")
    with log.hanging():
        # More than the ring holds: some is dropped, and the program goes on all the while.
        talk.await_lines(2000)
        wait_until(lambda: gears.status("talk")["log_dropped"], "the count")
        assert fetch(gears, "web") == 200
        quick(gears, "status", "--json")
        quick(gears, "run", "other", "--", "sleep", "1000")
        quick(gears, "stop", "other")
        said = gears.run("events").stdout
        assert "the log's filesystem does not take writes" in said
        assert talk.measured()["worst"] < 20, "a write was held up"
    wait_until(lambda: re.search(r" g dropped \d+ bytes", segments(gears, "talk")), "the note")
    gears.run("stop", "talk")
    noted = sum(map(int, re.findall(r" g dropped (\d+) bytes", segments(gears, "talk"))))
    printed = talk.measured()["lines"]
    numbers = [int(n) for n in re.findall(r" o (\d{10}) x", segments(gears, "talk"))]
    assert numbers == sorted(set(numbers)), "lines are out of order or doubled"
    lost = printed - len(numbers)
    # Whole lines of 1000 bytes but for one cut at each end; the report may be 50 ms old.
    assert abs(noted - lost * 1000) < 200 * 1000
    assert gears.status("talk")["log_dropped"] >= noted


def test_gearsd_comes_up_over_a_hanging_log(gears: Gears, log: HangingMount, folder: Path) -> None:
    once = Once(gears)
    gears.run("start", "once")
    pid = gears.status("once")["pid"]
    with log.hanging():
        gears.kill_daemon()
        quick(gears, "status")
        assert gears.status("once")["pid"] == pid
        quick(gears, "stop", "once")
        assert not once.running()
    wait_until(lambda: "stopping" in segments(gears, "gearsd"), "gearsd's own log")


def ask(gears: Gears, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(gears.bin / "gearsctl"), *words],
        env=gears.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def service(gears: Gears, name: str) -> dict[str, Any]:
    reply = quick(gears, "status", "--json")
    return next(s for s in json.loads(reply.stdout)["services"] if s["name"] == name)


def test_a_hanging_state_holds_up_nobody(gears: Gears, state: HangingMount, folder: Path) -> None:
    start_web(gears)
    talk = Chatter(gears, folder, pause=0.001)
    once = Once(gears)
    gears.run("daemon", "stop")
    gears.run("status")
    with state.hanging():
        start = ask(gears, "start", "once")
        talk.await_lines(1000)
        assert fetch(gears, "web") == 200
        assert service(gears, "talk")["state"] == "ready"
        assert talk.measured()["worst"] < 20
        # A start waits for its record; nothing runs before it is there.
        wait_until(lambda: "has not answered" in gears.run("events").stdout, "the word about it")
        assert start.poll() is None
        assert once.starts() == 0
    assert start.wait(60) == 0
    assert once.starts() == 1


def test_a_stop_is_carried_out_over_a_hanging_state(
    gears: Gears, state: HangingMount, folder: Path
) -> None:
    once = Once(gears)
    gears.run("start", "once")
    with state.hanging():
        stop = ask(gears, "stop", "once")
        wait_until(lambda: not once.running(), "the end of the tree")
        waits = wait_until(
            lambda: "cannot be recorded" in service(gears, "once")["health"]["message"], "its word"
        )
        assert waits
        assert service(gears, "once")["state"] == "stopping"
        assert stop.poll() is None, "it was answered and is not recorded"
    assert stop.wait(60) == 0
    assert gears.status("once")["state"] == "stopped"
    assert gears.status("once")["exit"]["signal"] == "TERM"
    gears.kill_daemon()
    assert gears.status("once")["state"] == "stopped"


def test_an_exit_over_a_hanging_state_is_kept(
    gears: Gears, state: HangingMount, folder: Path
) -> None:
    os.mkfifo(folder / "go")
    gears.run("run", "five", "--", "sh", "-c", f"read line <{folder}/go; exit 5")
    with state.hanging():
        daemon = gears.daemon_pid()
        os.kill(daemon, signal.SIGKILL)
        wait_until(lambda: not alive(daemon), "the end of gearsd")
        tell(folder / "go", "go\n")
        status = ask(gears, "status", "five")
        wait_until(lambda: "has not" in "".join(read_available(status)), "the client's word")
    status.wait(60)
    wait_until(lambda: gears.status("five")["state"] == "failed", "the report")
    assert gears.status("five")["exit"]["code"] == 5


def read_available(process: subprocess.Popen[str]) -> list[str]:
    assert process.stderr is not None
    os.set_blocking(process.stderr.fileno(), False)
    said: list[str] = getattr(process, "said", [])
    process.said = said  # type: ignore[attr-defined]
    while line := process.stderr.readline():
        said.append(line)
    return said
