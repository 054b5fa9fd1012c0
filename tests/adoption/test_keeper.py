"""The keeper and the whole tree of its service: killed, stopped by signals, hard to end."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Gears
from link_frames import frame
from once import Once
from processes import alive, parent, tell, wait_until
from raw_peer import connect
from tracing import Tracer, needs_strace

# A main process, a child, one in its own session, one double-forked, and one that ignores TERM;
# all keep descriptor 9, the lock of Once.
TREE = """
cd {folder}
exec 9>lock
flock -n 9 || {{ echo $$ >>doubled; exit 3; }}
echo $$ >>started
sleep 1000 &
setsid sleep 1000 &
(setsid sh -c 'sleep 1000 & sleep 1000' &) &
setsid sh -c 'trap "" TERM; echo up; while :; do sleep 1000; done' &
{main}
"""


def tree(gears: Gears, main: str = "while :; do sleep 1000; done", keys: str = "") -> Once:
    once = Once(gears, keys=f"stop_timeout = 300ms\n{keys}")
    once.script.write_text(TREE.format(folder=once.folder, main=main))
    gears.run("start", "once")
    wait_until(lambda: len(once.running()) >= 8, "the whole tree")
    return once


def all_gone(pids: list[int]) -> bool:
    return not any(alive(pid) for pid in pids)


@pytest.mark.parametrize("away", [False, True], ids=["gearsd-serves", "gearsd-away"])
def test_the_tree_of_a_killed_keeper_is_cleared_before_a_restart(gears: Gears, away: bool) -> None:
    once = tree(gears, keys="restart = always\n")
    pids = once.running()
    keeper = parent(gears.status("once")["pid"])
    if away:
        gears.kill_daemon()
    os.kill(keeper, signal.SIGKILL)
    wait_until(lambda: not alive(keeper), "the end of the keeper")
    wait_until(lambda: gears.status("once")["exit"], "the report")
    assert gears.status("once")["exit"]["unknown"] is True
    wait_until(lambda: once.starts() == 2, "the restart")
    assert all_gone(pids)
    assert not (once.folder / "doubled").exists()
    wait_until(lambda: gears.status("once")["state"] == "ready", "readiness")


def test_nothing_is_left_of_a_stopped_tree(gears: Gears) -> None:
    once = tree(gears)
    pids = once.running()
    gears.run("stop", "once")
    assert all_gone(pids)
    assert "note" not in gears.status("once")["exit"]
    assert gears.status("once")["state"] == "stopped"


def test_what_outlives_its_main_process_is_cleared(gears: Gears) -> None:
    """The main process ends by itself; its daemons are ended, and only then it counts as gone."""
    os.mkfifo(gears.home / "go")
    once = tree(gears, main=f"read line <{gears.home}/go; exit 4", keys="restart = no\n")
    pids = once.running()
    tell(gears.home / "go", "go\n")
    wait_until(lambda: gears.status("once")["state"] == "failed", "the end")
    assert gears.status("once")["exit"]["code"] == 4
    assert all_gone(pids)


def quick_status(gears: Gears) -> dict[str, Any]:
    begin = time.monotonic()
    service = gears.status("once")
    assert time.monotonic() - begin < 20, "status waits for what stands still"
    return service


def message(gears: Gears) -> str:
    return quick_status(gears)["health"].get("message", "")


def is_well(gears: Gears) -> bool:
    return quick_status(gears)["health"]["ok"]


def test_a_stopped_service_is_named_and_continued(gears: Gears) -> None:
    Once(gears)
    gears.run("start", "once")
    pid = gears.status("once")["pid"]
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: not is_well(gears), "its name")
    service = gears.status("once")
    assert service["state"] == "ready"
    assert "stopped by a signal" in service["health"]["message"]
    assert "gearsctl signal once CONT" in service["health"]["message"]
    gears.kill_daemon()
    wait_until(lambda: "SIGSTOP" in message(gears), "the same")
    gears.run("signal", "once", "CONT")
    wait_until(lambda: is_well(gears), "health again")
    assert gears.status("once")["pid"] == pid


def test_a_stopped_service_can_be_stopped_for_good(gears: Gears) -> None:
    once = Once(gears)
    gears.run("start", "once")
    os.kill(gears.status("once")["pid"], signal.SIGSTOP)
    begin = time.monotonic()
    gears.run("stop", "once")
    assert time.monotonic() - begin < 20
    assert not once.running()
    assert gears.status("once")["exit"]["signal"] == "TERM"


@pytest.mark.parametrize("away", [False, True], ids=["known", "found-stopped"])
def test_a_stopped_keeper_is_named_and_continued_for_a_stop(gears: Gears, away: bool) -> None:
    once = Once(gears)
    gears.run("start", "once")
    keeper = parent(gears.status("once")["pid"])
    os.kill(keeper, signal.SIGSTOP)
    if away:
        gears.kill_daemon()
    said = wait_until(lambda: "keeper is stopped" in (m := message(gears)) and m, "its name")
    assert f"kill -CONT {keeper}" in said
    assert once.running()
    begin = time.monotonic()
    gears.run("stop", "once")
    assert time.monotonic() - begin < 20
    assert not once.running()
    assert gears.status("once")["state"] == "stopped"


def test_a_stopped_keeper_that_goes_on_is_well_again(gears: Gears) -> None:
    once = Once(gears)
    gears.run("start", "once")
    keeper = parent(gears.status("once")["pid"])
    os.kill(keeper, signal.SIGSTOP)
    gears.kill_daemon()
    wait_until(lambda: "keeper" in message(gears), "its name")
    os.kill(keeper, signal.SIGCONT)
    wait_until(lambda: (s := quick_status(gears))["state"] == "ready" and s["health"]["ok"], "it")
    assert once.starts() == 1


def drop_daemon(gears: Gears) -> Path:
    """The keeper turns from gearsd, as from one that takes no messages; its socket's path."""
    (path,) = gears.home.glob("run/*/link/k-once.sck")
    with connect(path, socket.SOCK_SEQPACKET) as other:
        other.send(frame("HELLO", 1))
        assert other.recv(4096)
    return path


def log_says(gears: Gears, words: str) -> bool:
    return any(words in path.read_text() for path in gears.home.glob("log/*/gearsd/*"))


@contextlib.contextmanager
def standing(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_keeper_that_turned_away_without_its_socket_is_found(gears: Gears) -> None:
    """A cleaner took the socket's file while gearsd stood: only death ends the service."""
    once = Once(gears)
    gears.run("start", "once")
    before = gears.status("once")
    daemon = gears.daemon_pid()
    with standing(daemon):
        drop_daemon(gears).unlink()
    wait_until(lambda: log_says(gears, "found by its mark service=once"), "its keeper")
    wait_until(lambda: is_well(gears), "health")
    now = gears.status("once")
    assert [now[key] for key in ("pid", "state", "since")] == [
        before["pid"],
        "ready",
        before["since"],
    ]
    assert once.starts() == 1
    gears.run("stop", "once")
    assert not once.running()


def test_a_keeper_that_gearsd_has_no_descriptor_to_look_for_lives_on(gears: Gears) -> None:
    once = Once(gears)
    gears.run("start", "once")
    pid = gears.status("once")["pid"]
    daemon = gears.daemon_pid()
    limits = resource.prlimit(daemon, resource.RLIMIT_NOFILE)
    with standing(daemon):
        drop_daemon(gears)
        resource.prlimit(daemon, resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        wait_until(lambda: log_says(gears, "event=keeper-silent"), "the word about it")
        assert once.running() == [pid]
    finally:
        resource.prlimit(daemon, resource.RLIMIT_NOFILE, limits)
    wait_until(lambda: is_well(gears), "health")
    assert gears.status("once")["pid"] == pid
    assert once.starts() == 1


@needs_strace
def test_a_keeper_that_gearsd_has_no_descriptor_to_reach_lives_on(gears: Gears) -> None:
    """The worker has found it; its loop cannot connect."""
    once = Once(gears)
    gears.run("start", "once")
    pid = gears.status("once")["pid"]
    daemon = gears.daemon_pid()
    with Tracer(daemon, "socket", "error=EMFILE"):
        with standing(daemon):
            drop_daemon(gears)
        wait_until(lambda: log_says(gears, "event=keeper-silent"), "the word about it")
        assert once.running() == [pid]
    wait_until(lambda: is_well(gears), "health")
    assert gears.status("once")["pid"] == pid
    assert once.starts() == 1


@pytest.mark.parametrize("away", [False, True], ids=["known", "found"])
def test_a_keeper_out_of_reach_is_kept_and_ends_with_a_stop(gears: Gears, away: bool) -> None:
    """A folder stands at its socket's place, so that it cannot make it again."""
    once = Once(gears)
    gears.run("start", "once")
    pid = gears.status("once")["pid"]
    with standing(gears.daemon_pid()):
        path = drop_daemon(gears)
        path.unlink()
        path.mkdir()
    if away:
        gears.kill_daemon()
    wait_until(lambda: "cannot be reached" in message(gears), "its name")
    assert once.running() == [pid]
    gears.run("stop", "once")
    wait_until(lambda: gears.status("once")["state"] == "stopped", "the stop")
    assert not once.running()
    path.rmdir()


@needs_strace
def test_survivors_of_kill_are_named(gears: Gears) -> None:
    """A process that even KILL does not remove: dead, but held by a tracer that stands still."""
    once = Once(gears, keys="stop_timeout = 100ms\n")
    gears.run("start", "once")
    (pid,) = once.running()
    tracer = subprocess.Popen(["strace", "-q", "-o", "/dev/null", "-p", str(pid)])
    try:
        wait_until(
            lambda: f"TracerPid:\t{tracer.pid}\n" in Path(f"/proc/{pid}/status").read_text(),
            "the tracer",
        )
        os.kill(tracer.pid, signal.SIGSTOP)
        gears.run("stop", "once")
        end = gears.status("once")["exit"]
        assert f"could not be killed: sleep({pid})" in end["note"]
        gears.kill_daemon()
        assert gears.status("once")["exit"]["note"] == end["note"]
    finally:
        os.kill(tracer.pid, signal.SIGKILL)
        tracer.wait()


@needs_strace
def test_a_keeper_without_a_free_thread_tries_again(gears: Gears) -> None:
    """A user at the limit of processes when a service ends: how it ended is recorded later."""
    once = Once(gears)
    gears.run("start", "once")
    keeper = parent(gears.status("once")["pid"])
    with Tracer(keeper, "clone,clone3", "error=EAGAIN"):
        stop = subprocess.Popen(
            [str(gears.bin / "gearsctl"), "stop", "once"], env=gears.environment
        )
        wait_until(lambda: "no thread can be made" in message(gears), "the word about it")
        assert not once.running()
        assert stop.poll() is None
    assert stop.wait(30) == 0
    assert gears.status("once")["exit"]["signal"] == "TERM"
    gears.kill_daemon()
    assert gears.status("once")["exit"]["signal"] == "TERM"


def test_output_held_open_from_outside_ends_with_the_tree(gears: Gears) -> None:
    """Another process has the service's output open, and writes as fast as it can."""
    Once(gears)
    gears.run("start", "once")
    pid = gears.status("once")["pid"]
    with Path(f"/proc/{pid}/fd/1").open("wb", buffering=0) as output:
        writer = subprocess.Popen(["yes", "from outside"], stdout=output, stderr=output)
        try:
            gears.run("stop", "once")
            assert gears.status("once")["state"] == "stopped"
        finally:
            writer.kill()
            writer.wait()
