"""doctor: one remedy for each thing that is wrong with what runs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import Gears
from doctor_report import examine, only
from other_daemon import OLD, other_daemon
from processes import alive, wait_until


def relay_of(gears: Gears) -> int:
    return next(
        pid for pid in gears.processes() if Path(f"/proc/{pid}/comm").read_text() == "gears-relay\n"
    )


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), "the end of a killed process")


def test_nothing_is_wrong_with_what_is_new_runs_or_was_stopped(gears: Gears) -> None:
    assert examine(gears)["findings"] == []
    assert not gears.processes(), "doctor starts nothing"
    gears.run("run", "steady", "--", "sleep", "1000")
    report = examine(gears)
    assert report["findings"] == []
    assert any("jupyterlab" in note["message"] for note in report["notes"])
    text = gears.run("doctor").stdout
    assert text.endswith("nothing wrong (25 checks)\n")
    gears.run("daemon", "stop", "--services", "--yes")
    wait_until(lambda: not gears.processes(), "the end of all")
    assert examine(gears)["findings"] == []


def test_sockets_of_the_dead_are_named_and_removed(gears: Gears) -> None:
    gears.run("daemon", "start")
    wait_until(lambda: list(gears.home.glob("run/*/lab.sck")), "the sockets")
    daemon, relay = gears.daemon_pid(), relay_of(gears)
    kill(daemon)
    kill(relay)
    report = examine(gears)
    assert {finding["check"] for finding in report["findings"]} == {"stale-sockets"}
    dead = {finding["remedy"].removeprefix("rm ") for finding in report["findings"]}
    host = next(gears.home.glob("run/*"))
    assert {str(host / "gearsd.sck"), str(host / "lab.sck")} <= dead
    assert all(finding["fixed"] for finding in examine(gears, "--fix")["findings"])
    assert not [path for path in map(Path, dead) if path.exists()]
    gears.run("status")
    assert examine(gears)["findings"] == []


def test_services_without_gearsd_get_one(gears: Gears) -> None:
    gears.run("run", "steady", "--", "sleep", "1000")
    pid = gears.status("steady")["pid"]
    kill(gears.daemon_pid())
    finding = only(examine(gears), "daemon")
    assert finding["remedy"] == "gearsctl daemon start"
    assert "1 services run without a gearsd" in finding["message"]
    fixed = examine(gears, "--fix")["findings"]
    assert [f["check"] for f in fixed if f["fixed"]][-1] == "daemon"
    assert gears.status("steady")["pid"] == pid


@pytest.mark.parametrize("victim", ["relay", "daemon"])
def test_who_is_stopped_is_named(gears: Gears, victim: str) -> None:
    gears.run("daemon", "start")
    wait_until(lambda: list(gears.home.glob("run/*/link/relay.sck")), "the relay")
    pid = relay_of(gears) if victim == "relay" else gears.daemon_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        assert only(examine(gears), victim)["remedy"] == f"kill -CONT {pid}"
    finally:
        os.kill(pid, signal.SIGCONT)
    assert examine(gears)["findings"] == []


def test_failing_services_say_why(gears: Gears) -> None:
    conf = gears.home / "etc/gears.conf"
    conf.write_text(
        conf.read_text() + "[service:ill]\nkind = command\ncommand = sh -c 'exit 7'\n"
        "restart = no\nready = notify\n"
    )
    gears.run("start", "ill", check=False)
    finding = only(examine(gears), "services")
    assert finding["remedy"] == "gearsctl logs ill"
    assert finding["message"].startswith("ill is in state failed: ")


def test_another_build_of_gearsd(gears: Gears) -> None:
    answers = {"Hello": {"parameters": OLD}, "Status": {"parameters": {"services": []}}}
    with other_daemon(gears, answers):
        found = examine(gears)["findings"]
    builds = [finding for finding in found if finding["check"] == "builds"]
    assert [finding["remedy"] for finding in builds] == ["gearsctl daemon upgrade"]


def test_processes_that_nobody_can_reach(gears: Gears) -> None:
    gears.run("run", "steady", "--", "sleep", "1000")
    folder = gears.home / "stray"
    folder.mkdir()
    program = folder / "gears-tunnel"
    shutil.copy(shutil.which("sleep") or "/bin/sleep", program)
    words = [str(program), "1000"]
    begun = time.monotonic()
    with (
        subprocess.Popen(words, env={"GEARS_HOME": str(gears.home)}) as ours,
        subprocess.Popen(words, env={"GEARS_HOME": "/another/home"}) as other,
    ):
        try:
            # It counts when it is five seconds old.
            young = examine(gears)["findings"]
            assert not young or time.monotonic() - begun > 5, "what has just begun is no stray"
            wait_until(lambda: examine(gears)["findings"] != [], "the finding")
            finding = only(examine(gears, "--fix"), "strays")
            assert finding["remedy"] == f"kill {ours.pid}"
            assert not finding["fixed"]
            assert ours.poll() is None
        finally:
            ours.kill()
            other.kill()
    assert examine(gears)["findings"] == []
