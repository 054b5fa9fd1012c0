"""How services ended, as a successor of gearsd tells it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from conftest import Gears
from processes import alive, wait_until


def kill_daemon(gears: Gears) -> None:
    pid = gears.daemon_pid()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), "the end of gearsd")


def define(gears: Gears, text: str) -> None:
    (gears.home / "etc/gears.conf").write_text(text)


def test_a_failed_service_stays_failed(gears: Gears) -> None:
    define(
        gears,
        "[service:once]\nkind = command\ncommand = sh -c 'echo >>runs; exit 9'\n"
        f"cwd = {gears.home}\nrestart = no\nready = notify\n",
    )
    assert gears.run("start", "once", check=False).returncode == 1
    before = gears.status("once")
    assert (before["state"], before["exit"]["code"]) == ("failed", 9)
    kill_daemon(gears)
    after = gears.status("once")
    assert (after["state"], after["exit"]) == ("failed", before["exit"])
    assert (gears.home / "runs").read_text() == "\n"


def test_reset_failed_is_remembered(gears: Gears) -> None:
    define(gears, "[service:once]\nkind = command\ncommand = false\nready = notify\nrestart = no\n")
    gears.run("start", "once", check=False)
    gears.run("reset-failed", "once")
    assert gears.status("once")["state"] == "stopped"
    kill_daemon(gears)
    assert gears.status("once")["state"] == "stopped"
    gears.run("reset-failed", "once")


def test_a_start_of_a_failed_service_counts_for_the_successor(gears: Gears) -> None:
    define(
        gears,
        "[service:late]\nkind = command\ncommand = sh -c 'test -e go && exec sleep 1000'\n"
        f"cwd = {gears.home}\nready = started\nrestart = no\n",
    )
    gears.run("start", "late", check=False)
    gears.run("wait", "late", "--for", "stopped", check=False)
    assert gears.status("late")["state"] == "failed"
    (gears.home / "go").touch()
    gears.run("start", "late")
    kill_daemon(gears)
    assert gears.status("late")["state"] == "ready"


def test_a_stopped_service_keeps_its_exit(gears: Gears) -> None:
    gears.run("run", "nap", "--", "sleep", "1000")
    gears.run("stop", "nap")
    before = gears.status("nap")["exit"]
    assert before["signal"] == "TERM"
    kill_daemon(gears)
    after = gears.status("nap")
    assert (after["state"], after["exit"]) == ("stopped", before)


def test_a_tree_left_by_a_killed_stop_is_cleared(gears: Gears) -> None:
    """Stop was acknowledged as wanted, then gearsd and the keeper were killed."""
    define(
        gears,
        "[service:hard]\nkind = command\nready = log:up\nstop_timeout = 60s\n"
        f"command = sh {gears.home}/hard.sh\n",
    )
    (gears.home / "hard.sh").write_text("trap '' TERM; echo up; while :; do sleep 1000; done")
    gears.run("start", "hard")
    service = gears.status("hard")
    gears.run("stop", "hard", "--no-wait")
    keeper = int(Path(f"/proc/{service['pid']}/stat").read_text().rsplit(")")[1].split()[1])
    os.kill(gears.daemon_pid(), signal.SIGKILL)
    os.kill(keeper, signal.SIGKILL)
    wait_until(lambda: not alive(keeper), "the end of the keeper")
    gears.run("wait", "hard", "--for", "stopped")
    wait_until(lambda: not alive(service["pid"]), "the end of the tree")
    assert gears.status("hard")["exit"]["unknown"]
