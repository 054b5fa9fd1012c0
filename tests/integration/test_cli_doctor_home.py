"""doctor: what is wrong with GEARS_HOME, its file system and its configuration."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Gears
from doctor_report import apart, examine, only, this_host
from hanging_mount import HangingMount
from processes import alive, wait_until
from records import private, record


def test_modes_are_named_and_mended(gears: Gears) -> None:
    gears.run("daemon", "start")
    gears.run("daemon", "stop", "--services", "--yes")
    (gears.home / "state").chmod(0o755)
    finding = only(examine(gears), "home")
    assert finding["remedy"] == f"chmod 0700 {gears.home}/state"
    assert only(examine(gears, "--fix"), "home")["fixed"]
    assert stat.S_IMODE((gears.home / "state").stat().st_mode) == 0o700
    assert examine(gears)["findings"] == []
    text = gears.run("doctor", check=False)
    assert "nothing wrong" in text.stdout


def test_mistakes_of_the_configuration(gears: Gears) -> None:
    conf = gears.home / "etc/gears.conf"
    conf.write_text(conf.read_text() + "colour = red\n[service:x]\nkind = sculpture\n")
    found = examine(gears)["findings"]
    assert [finding["check"] for finding in found] == ["configuration"] * len(found)
    assert len(found) >= 2
    assert {finding["remedy"] for finding in found} == {f"edit {conf}"}
    assert found[0]["message"].startswith(f"{conf}:5: ")


def test_python_that_is_missing_or_lacks_jupyter(gears: Gears) -> None:
    conf = gears.home / "etc/gears.conf"
    conf.write_text("")
    finding = only(examine(gears), "python")
    assert finding["remedy"] == "gearsctl init"
    assert f"no Python environment in {gears.home}/env/" in finding["message"]
    bare = gears.home / "bare/bin"
    bare.mkdir(parents=True)
    (bare / "python").symlink_to(shutil.which("python3") or "/usr/bin/python3")
    if subprocess.run([bare / "python", "-I", "-c", "import jupyterlab"], capture_output=True):
        conf.write_text(f"[service:lab]\nenv = {bare.parent}\n")
        finding = only(examine(gears), "python")
        assert "lacks JupyterLab" in finding["message"]


def test_leases_of_other_hosts_are_told(gears: Gears) -> None:
    gears.run("daemon", "start")
    (lease,) = gears.home.glob("run/*/gearsd.lease")
    other = gears.home / "run/elsewhere.olcf"
    other.mkdir(mode=0o700)
    text = lease.read_text().replace(f"host={lease.parent.name}\n", "host=elsewhere.olcf\n")
    (other / "gearsd.lease").write_text(text)
    report = examine(gears)
    assert report["findings"] == []
    assert any("elsewhere.olcf, pid" in note["message"] for note in report["notes"])


def test_a_path_that_sockets_do_not_fit(gears: Gears) -> None:
    deep = gears.home / ("d" * 90)
    deep.mkdir()
    gears.environment["GEARS_HOME"] = str(deep)
    found = examine(gears)["findings"]
    gears.environment["GEARS_HOME"] = str(gears.home)
    paths = [finding for finding in found if finding["check"] == "socket-paths"]
    assert len(paths) == 1
    assert "the kernel allows 107" in paths[0]["message"]


@pytest.fixture
def full_state(gears: Gears) -> Iterator[Path]:
    state = gears.home / "state"
    state.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k,mode=700", "none", str(state)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("the right to mount is needed")
    yield state
    if gears.processes():
        gears.run("daemon", "stop", "--services", "--yes")
        wait_until(lambda: not gears.processes(), "the end of all")
    subprocess.run(["umount", str(state)], check=True)


def test_a_full_disk(gears: Gears, full_state: Path) -> None:
    host = json.loads(gears.run("doctor", "--json", check=False).stdout)["host"]
    (full_state / host).mkdir(mode=0o700)
    report = examine(gears)
    checks = {finding["check"]: finding for finding in report["findings"]}
    assert "No space left on device" in checks["writable"]["message"]
    assert f"{full_state} has 0 MB left" in checks["space"]["message"]
    assert checks["space"]["remedy"].startswith("remove what is not needed")


def test_a_file_system_that_refuses_sockets(gears: Gears) -> None:
    """A message queue file system: it makes files, and nothing else."""
    gears.run("daemon", "start")
    gears.run("daemon", "stop", "--services", "--yes")
    wait_until(lambda: not gears.processes(), "the end of gearsd")
    run = gears.home / "run" / this_host(gears)
    report = apart(gears, f"mount -t mqueue none {run}")
    found = [f for f in report["findings"] if f["check"] == "filesystem"]
    assert [f["remedy"] for f in found] == ["set GEARS_HOME to a folder on another file system"]
    assert f"{run} (" in found[0]["message"]
    assert "cannot hold sockets: " in found[0]["message"]
    assert not list(gears.home.glob("run/.*"))


def test_a_host_whose_clock_is_ahead(gears: Gears) -> None:
    state = gears.home / "state"
    private(state, state / "hub2.olcf", state / "hub3.olcf", state / "@cluster")
    now = int(time.time() * 1e6)
    record(state / "hub3.olcf/hop/andes.rec", since=now - 10**12, authenticated_at=now + 10**6)
    record(state / "@cluster/andes.rec", cluster="andes", host="login1.andes", at=now + 10**12)
    assert examine(gears)["findings"] == []
    now = int(time.time() * 1e6)
    record(state / "hub2.olcf/hop/andes.rec", cluster="andes", since=now + 3600 * 10**6)
    finding = only(examine(gears), "other-clocks")
    assert re.match("what hub2.olcf wrote down is 5[0-9]m", finding["message"])
    assert "the clock of hub2.olcf or of" in finding["remedy"]


def test_a_hung_home_does_not_hang_doctor(gears: Gears) -> None:
    with HangingMount(gears.home / "far", gears.home / "near") as mount:
        home = str(mount.door(gears.home))
        mount.hang()
        began = time.monotonic()
        process = subprocess.Popen(
            [str(gears.bin / "gearsctl"), "doctor"],
            env={**gears.environment, "GEARS_HOME": home},
            stdout=(gears.home / "out").open("w"),
            stderr=subprocess.STDOUT,
        )
        assert process.wait(60) == 1
        assert time.monotonic() - began < 20
        out = (gears.home / "out").read_text()
        assert f"{home} did not answer within 2 s; its file system hangs" in out


def test_what_is_slow_is_not_called_a_hung_home(gears: Gears) -> None:
    folder = gears.home / "slow"
    folder.mkdir()
    shutil.copy(gears.bin / "gearsctl", folder)
    (folder / "gearsd").write_text(f"#!/bin/sh\necho $$ >> {folder}/pids\nexec sleep 1000\n")
    (folder / "gearsd").chmod(0o700)
    words = [str(folder / "gearsctl"), "doctor", "--json", "--bundle", str(folder / "b.tar.gz")]
    result = subprocess.run(words, env=gears.environment, capture_output=True, text=True)
    try:
        findings = {f["check"]: f["message"] for f in json.loads(result.stdout)["findings"]}
        assert "this check did not end within 2 s" in findings["configuration"]
        assert "hangs" not in str(findings), findings
        assert "python" in str(json.loads(result.stdout)["notes"]), "later checks were left out"
        assert (folder / "b.tar.gz").exists()
        ran = [int(pid) for pid in (folder / "pids").read_text().split()]
        wait_until(lambda: ran and not any(map(alive, ran)), "the end of what doctor ran")
    finally:
        for pid in filter(alive, map(int, (folder / "pids").read_text().split())):
            os.kill(pid, signal.SIGKILL)
