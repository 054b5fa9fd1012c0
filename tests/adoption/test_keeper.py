"""The keeper and the whole tree of its service: killed, stopped by signals, hard to end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Gears
from once import Once
from processes import alive, parent, wait_until
from tracing import needs_strace

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
    wait_until(lambda: once.starts() == 2, "the restart", 20)
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
    (gears.home / "go").write_text("go\n")
    wait_until(lambda: gears.status("once")["state"] == "failed", "the end", 20)
    assert gears.status("once")["exit"]["code"] == 4
    assert all_gone(pids)


def quick_status(gears: Gears) -> dict[str, Any]:
    begin = time.monotonic()
    service = gears.status("once")
    assert time.monotonic() - begin < 2, "status waits for what stands still"
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
    assert time.monotonic() - begin < 5, "TERM ends it, no KILL is awaited"
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
    assert time.monotonic() - begin < 10
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
