"""doctor: one remedy for each thing that is wrong, and a support archive without secrets."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Gears
from hanging_mount import HangingMount
from other_daemon import OLD, other_daemon
from processes import alive, wait_until


def examine(gears: Gears, *words: str) -> dict[str, Any]:
    result = gears.run("doctor", "--json", *words, check=False)
    report = json.loads(result.stdout)
    open_findings = [finding for finding in report["findings"] if not finding["fixed"]]
    assert result.returncode == (1 if open_findings else 0), result.stdout
    assert report["schema"] == 1
    for finding in report["findings"]:
        assert finding["check"] in report["checks"]
        assert finding["message"] and finding["remedy"]
        assert "\n" not in finding["message"] + finding["remedy"]
    # /tmp is everybody's: what a run beside this one leaves there is not this test's matter.
    report["findings"] = [f for f in report["findings"] if f["check"] != "short-folders"]
    return report


def only(report: dict[str, Any], check: str) -> dict[str, Any]:
    found = report["findings"]
    assert [finding["check"] for finding in found] == [check], report
    return found[0]


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
    assert text.endswith("nothing wrong (18 checks)\n")
    gears.run("daemon", "stop", "--services", "--yes")
    wait_until(lambda: not gears.processes(), "the end of all")
    assert examine(gears)["findings"] == []


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


def test_another_build_of_gearsd(gears: Gears) -> None:
    answers = {"Hello": {"parameters": OLD}, "Status": {"parameters": {"services": []}}}
    with other_daemon(gears, answers):
        found = examine(gears)["findings"]
    builds = [finding for finding in found if finding["check"] == "builds"]
    assert [finding["remedy"] for finding in builds] == ["gearsctl daemon upgrade"]


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


# The program may itself be below /tmp: it is kept by its descriptor.
LEFTOVERS = """
exec 3<"$0"
mount -t tmpfs none /tmp
mkdir -m 700 /tmp/gears-old /tmp/gears-fresh /tmp/gears-used
touch -d '2 days ago' /tmp/gears-old /tmp/gears-used
/proc/$$/fd/3 doctor --json >$GEARS_HOME/first || true
/proc/$$/fd/3 doctor --fix --json >$GEARS_HOME/second || true
ls /tmp >$GEARS_HOME/left
"""


def test_leftovers_below_tmp(gears: Gears) -> None:
    """In a /tmp of its own."""
    host = json.loads(gears.run("doctor", "--json").stdout)["host"]
    with tempfile.TemporaryDirectory(prefix="g", dir="/var/tmp") as folder:
        home = Path(folder)
        (home / "state" / host).mkdir(parents=True)
        for path in (home / "state", home / "state" / host):
            path.chmod(0o700)
        (home / "state" / host / "short-jr-lab").write_text("/tmp/gears-used")
        unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
        result = subprocess.run(
            [*unshare, "sh", "-ec", LEFTOVERS, str(gears.bin / "gearsctl")],
            env={**gears.environment, "GEARS_HOME": folder},
            capture_output=True,
            text=True,
            timeout=120,
        )
        if not (home / "left").exists():
            pytest.skip(f"no namespace with another /tmp: {result.stderr}")
        first = json.loads((home / "first").read_text())["findings"]
        found = [f for f in first if "is left from an earlier run" in f["message"]]
        assert [f["remedy"] for f in found] == ["rm -r /tmp/gears-old"]
        second = json.loads((home / "second").read_text())["findings"]
        assert [f["fixed"] for f in second if f["remedy"] == "rm -r /tmp/gears-old"] == [True]
        assert (home / "left").read_text().split() == ["gears-fresh", "gears-used"]


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


def test_a_clock_that_is_wrong(gears: Gears) -> None:
    if not shutil.which("faketime"):
        pytest.skip("faketime is needed")
    result = subprocess.run(
        ["faketime", "-f", "+3h", str(gears.bin / "gearsctl"), "doctor", "--json"],
        env={**gears.environment, "NO_FAKE_STAT": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    if "ASan runtime" in result.stderr:
        pytest.skip("a sanitized program does not run under faketime")
    found = json.loads(result.stdout)["findings"]
    assert ["the clock of this host" in finding["remedy"] for finding in found] == [True]


def test_a_host_that_kills_at_logout(gears: Gears) -> None:
    script = (
        "mkdir -p $GEARS_HOME/sys && mount --bind $GEARS_HOME/sys /etc/systemd"
        " && printf '[Login]\\nKillUserProcesses=yes\\n' >/etc/systemd/logind.conf || exit 99\n"
        'exec "$0" doctor --json'
    )
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, str(gears.bin / "gearsctl")],
        env=gears.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if not result.stdout:
        pytest.skip(f"cannot put another logind.conf in place: {result.stderr}")
    (finding,) = json.loads(result.stdout)["findings"]
    assert finding["remedy"] == "loginctl enable-linger"


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
        assert process.wait(30) == 1
        assert time.monotonic() - began < 6
        out = (gears.home / "out").read_text()
        assert f"{home} did not answer within 2 s; its file system hangs" in out


SECRETS = {
    "log": "https://h/lab?token=PlantedInALog",
    "header": "Authorization: token PlantedInAHeader",
    "cookie": "Set-Cookie: session=PlantedInACookie; path=/",
    "password": "password: PlantedPassword",
    "passcode": "Enter PASSCODE: Planted123456",
}


def test_the_bundle_holds_no_secret(gears: Gears) -> None:
    conf = gears.home / "etc/gears.conf"
    lines = "".join(f"echo '{line}'; " for line in SECRETS.values())
    (gears.home / "talk.sh").write_text(lines + "exec sleep 1000\n")
    conf.write_text(
        conf.read_text()
        + "[service:talk]\nkind = command\n"
        + f"command = sh {gears.home}/talk.sh\nready = log:PASSCODE\n"
        + "environment = HUB_API_TOKEN=PlantedInTheConfiguration\n"
    )
    gears.run("start", "lab")
    gears.run("start", "talk")
    token = json.loads(gears.run("url", "lab", "--json").stdout)["token"]
    known = [path.read_text() for path in gears.home.glob("state/*/secret/*")]
    gears.run("run", "leak", "--", "sh", "-c", f"echo say {token} aloud; exec sleep 1000")
    wait_until(lambda: token in gears.run("logs", "leak").stdout, "the leak")
    bundle = gears.home / "support.tar.gz"
    gears.run("doctor", "--bundle", str(bundle))
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o600
    with tarfile.open(bundle) as archive:
        texts = {
            member.name.removeprefix("./"): archive.extractfile(member).read().decode()  # type: ignore[union-attr]
            for member in archive.getmembers()
            if member.isfile()
        }
    wanted = {"version.json", "status.json", "doctor.json", "events.json", "gears.conf"}
    wanted |= {"log-talk.txt", "log-lab.txt", "log-gearsd.txt", "config-effective.json"}
    assert wanted <= set(texts)
    whole = "\n".join(texts.values())
    assert token not in whole
    assert "Planted" not in whole
    assert not [secret for secret in known if secret.strip() in whole]
    assert "say [redacted] aloud" in texts["log-leak.txt"]
    assert str(gears.home) in whole, "paths stay"
    assert json.loads(texts["status.json"])["schema"] == 1
    assert json.loads(texts["doctor.json"])["findings"] == []
    before = bundle.read_bytes()
    again = gears.run("doctor", "--bundle", str(bundle), check=False)
    assert again.returncode == 1
    assert "it is there already; choose another name" in again.stderr
    assert bundle.read_bytes() == before
    assert not list(Path("/tmp").glob("gears-bundle-*"))


def test_a_bundle_where_none_can_be(gears: Gears) -> None:
    result = gears.run("doctor", "--bundle", "/proc/nothing.tar.gz", check=False)
    assert result.returncode == 1
    assert "gearsctl: /proc/nothing.tar.gz: " in result.stderr
    assert gears.run("doctor", "--bundle", check=False).returncode == 2
