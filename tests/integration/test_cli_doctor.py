"""doctor: one remedy for each thing that is wrong, and a support archive without secrets."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
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
    assert text.endswith("nothing wrong (25 checks)\n")
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


def apart(gears: Gears, script: str) -> dict[str, Any]:
    """doctor's report in a mount namespace that `script` prepares."""
    program = str(gears.bin / "gearsctl")
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", script + '\nexec "$0" doctor --json', program],
        env=gears.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if not result.stdout:
        pytest.skip(f"cannot put other system files in place: {result.stderr}")
    return json.loads(result.stdout)


def logind(text: str, drop_in: str = "") -> str:
    return (
        "mkdir -p $GEARS_HOME/sys/logind.conf.d && mount --bind $GEARS_HOME/sys /etc/systemd\n"
        f"printf '[Login]\\n{text}' >/etc/systemd/logind.conf\n"
        f"printf '[Login]\\n{drop_in}' >/etc/systemd/logind.conf.d/50-test.conf\n"
    )


def about_logout(report: dict[str, Any], kind: str) -> list[str]:
    word = "remedy" if kind == "findings" else "message"
    return [item[word] for item in report[kind] if item["check"] == "logout"]


def test_a_host_that_kills_at_logout(gears: Gears) -> None:
    kills = logind("KillUserProcesses=yes\\nKillExcludeUsers=\\n")
    report = apart(gears, kills)
    assert about_logout(report, "findings") == ["loginctl enable-linger"]
    (message,) = [f["message"] for f in report["findings"]]
    assert "services, kernels and hops are lost then" in message
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    lingers = "mount -t tmpfs none /var/lib/systemd\nmkdir /var/lib/systemd/linger\n"
    lingers += f"touch /var/lib/systemd/linger/{user}\n"
    (remedy,) = about_logout(apart(gears, kills + lingers), "findings")
    assert remedy.startswith("gearsctl daemon stop --services && systemd-run --user --scope ")


@pytest.mark.parametrize(
    "settings",
    [
        ("KillUserProcesses=no\\n", ""),
        ("KillUserProcesses=yes\\nKillExcludeUsers=a USER b\\n", ""),
        ("KillUserProcesses=yes\\nKillExcludeUsers=\\nKillOnlyUsers=USERS\\n", ""),
        ("KillUserProcesses=yes\\nKillExcludeUsers=\\n", "KillUserProcesses=no\\n"),
    ],
)
def test_a_host_that_kills_nothing_of_ours(gears: Gears, settings: tuple[str, str]) -> None:
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    texts = [text.replace("USER ", user + " ").replace("USERS", "others") for text in settings]
    report = apart(gears, logind(*texts))
    assert report["findings"] == []
    (note,) = about_logout(report, "notes")
    assert note.startswith("services, kernels and hops survive a logout")


def idle_files(name: str, text: str) -> str:
    return (
        "mkdir -p $GEARS_HOME/profile.d && mount --bind $GEARS_HOME/profile.d /etc/profile.d\n"
        f"cat >/etc/profile.d/{name} <<'END'\n{text}\nEND\n"
    )


def test_shells_that_end_when_idle(gears: Gears) -> None:
    report = apart(gears, idle_files("tmout.sh", "# TMOUT=5\nreadonly TMOUT=900\nexport TMOUT"))
    (finding,) = report["findings"]
    assert "after 15m here (TMOUT=900, read-only, in /etc/profile.d/tmout.sh)" in finding["message"]
    assert "services, kernels and hops survive that" in finding["message"]
    assert "gearsctl attach" in finding["remedy"]
    off = "TMOUT=900\nTMOUT=0"
    assert apart(gears, idle_files("tmout.sh", off))["findings"] == []
    computed = "MY_TMOUT=900\nTMOUT=$LIMIT\necho TMOUT"
    assert apart(gears, idle_files("tmout.sh", computed))["findings"] == []
    note = about_logout(apart(gears, idle_files("x.csh", "set -r autologout = 30")), "notes")
    assert any("csh would end an idle shell after 30m (autologout=30" in text for text in note)
    passwd = "sed '/^root:/s|[^:]*$|/bin/tcsh|' /etc/passwd >$GEARS_HOME/passwd\n"
    passwd += "mount --bind $GEARS_HOME/passwd /etc/passwd\n"
    (finding,) = apart(gears, passwd + idle_files("x.csh", "set autologout=30"))["findings"]
    assert "(autologout=30 in /etc/profile.d/x.csh)" in finding["message"]
    gears.environment["TMOUT"] = "60"
    (finding,) = examine(gears)["findings"]
    assert "after 1m here (TMOUT=60 in your environment)" in finding["message"]
    del gears.environment["TMOUT"]


def forwarding(gears: Gears, text: str) -> tuple[list[str], list[str]]:
    config = gears.home / "sshd_config"
    config.write_text(text.replace("HOME", str(gears.home)))
    gears.environment["GEARS_SSHD_CONFIG"] = str(config)
    report = examine(gears)
    assert {finding["check"] for finding in report["findings"]} <= {"forwarding"}
    notes = [note["message"] for note in report["notes"] if note["check"] == "forwarding"]
    return [finding["message"] for finding in report["findings"]], notes


@pytest.mark.parametrize(
    "line",
    [
        "AllowStreamLocalForwarding no",
        "AllowStreamLocalForwarding=remote",
        "allowtcpforwarding NO",
        "AllowTcpForwarding remote",
        "DisableForwarding yes",
        "PermitOpen none",
        'PermitOpen "localhost:80"',
    ],
)
def test_an_sshd_that_forwards_nothing(gears: Gears, line: str) -> None:
    found, notes = forwarding(gears, f"# AllowTcpForwarding yes\nPort 22\n\t{line}\n")
    assert len(found) == 1, found
    assert notes == []
    assert "refuses a laptop's forward to run/CLUSTER.sck" in found[0]
    assert "sshd_config:3: " in found[0]


def test_what_sshd_says_first_counts(gears: Gears) -> None:
    (gears.home / "drop").mkdir()
    (gears.home / "drop/10.conf").write_text("AllowTcpForwarding local\nMatch User x\n")
    (gears.home / "drop/20.conf").write_text("Match all\nAllowStreamLocalForwarding all\n")
    good = "Include HOME/drop/*.conf\nAllowTcpForwarding no\nPermitOpen any\nInclude HOME/none*\n"
    assert forwarding(gears, good + "DisableForwarding no\n") == ([], [])
    (gears.home / "drop/05.conf").write_text("DisableForwarding yes\n")
    found, notes = forwarding(gears, good)
    assert [f"{gears.home}/drop/05.conf:1: " in text for text in found] == [True]
    assert notes == []


def test_a_match_block_cannot_be_judged(gears: Gears) -> None:
    block = "Match Group users\nX11Forwarding no\n"
    assert forwarding(gears, block) == ([], [])
    found, (note,) = forwarding(gears, "AllowTcpForwarding no\n" + block + "AllowTcpForwarding yes")
    assert found == []
    assert "sshd_config:4 sets AllowTcpForwarding in a Match block" in note


def test_an_sshd_whose_configuration_cannot_be_read(gears: Gears) -> None:
    (gears.home / "folder.conf").mkdir()
    found, notes = forwarding(gears, "Include HOME/folder.conf\nDisableForwarding yes\n")
    assert found == []
    assert "folder.conf: " in notes[0]
    assert "unless a file that cannot be read says otherwise" in notes[1]
    gears.environment["GEARS_SSHD_CONFIG"] = str(gears.home / "nowhere")
    notes = [n["message"] for n in examine(gears)["notes"] if n["check"] == "forwarding"]
    assert notes == [f"there is no {gears.home}/nowhere here, so whether this host forwards "
                     "cannot be told"]  # fmt: skip
    loop = gears.home / "loop.conf"
    assert forwarding(gears, f"Include {gears.home}/sshd_config\n")[0] == []
    assert not loop.exists()


def this_host(gears: Gears) -> str:
    return json.loads(gears.run("doctor", "--json", check=False).stdout)["host"]


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


def test_sockets_of_hops_that_do_not_fit(gears: Gears) -> None:
    conf = gears.home / "etc/gears.conf"
    room = 107 - len(f"{gears.home}/run/.sck")
    service = "s" * 32
    assert room > 64, "the home of a test is short"
    deep = gears.home / ("d" * (room - 1 - len("andes+") - len(service) + 1))
    (deep / "etc").mkdir(parents=True)
    text = conf.read_text() + "[cluster:andes]\n"
    gears.environment["GEARS_HOME"] = str(deep)
    (deep / "etc/gears.conf").write_text(text)
    assert not [f for f in examine(gears)["findings"] if f["check"] == "hop-paths"]
    (deep / "etc/gears.conf").write_text(text + f"forward = tb\n  {service}\n")
    found = [f for f in examine(gears)["findings"] if f["check"] == "hop-paths"]
    gears.environment["GEARS_HOME"] = str(gears.home)
    assert [f["remedy"] for f in found] == [
        "set GEARS_HOME to a shorter path and run: gearsctl init"
    ]
    assert f"{deep}/run/andes+{service}.sck has 108 bytes" in found[0]["message"]


def record(path: Path, **fields: object) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = [f"{key}={value}\n" for key, value in fields.items()]
    path.write_text(f"gears-record 1\n{''.join(lines)}end {len(lines)}\n")
    path.chmod(0o600)
    return path


def private(*folders: Path) -> None:
    for folder in folders:
        folder.mkdir(mode=0o700, exist_ok=True)


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


DEAD = {"pid": 4194303, "start_time": 1, "nonce": "0" * 32}


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def lease_findings(gears: Gears, *words: str) -> tuple[list[dict[str, Any]], list[str]]:
    report = examine(gears, *words)
    assert {finding["check"] for finding in report["findings"]} <= {"hop-leases"}
    notes = [note["message"] for note in report["notes"] if note["check"] == "hop-leases"]
    return report["findings"], notes


def test_who_has_the_right_to_a_cluster(gears: Gears) -> None:
    host, run = this_host(gears), gears.home / "run"
    private(run, gears.home / "state", gears.home / "state" / host)
    lease = record(run / "andes.lease", host="hub2.olcf", boot_id="b", **DEAD)
    found, notes = lease_findings(gears, "--fix")
    assert found == []
    assert "run/andes.sck is the matter of hub2.olcf" in notes[0]
    assert notes[0].endswith("gearsctl takeover andes")
    started = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19]
    own = {"host": host, "boot_id": boot_id(), "nonce": "1" * 32}
    record(lease, pid=os.getpid(), start_time=started, **own)
    assert lease_findings(gears, "--fix") == ([], [])
    record(lease, pid=os.getpid(), start_time=int(started) + 1, **own)
    wanted = record(gears.home / "state" / host / "hop/andes.rec", cluster="andes", wanted=1)
    found, notes = lease_findings(gears, "--fix")
    assert found == []
    assert "the next one takes it again" in notes[0]
    record(wanted, cluster="andes", wanted=0)
    (finding,), _ = lease_findings(gears)
    assert finding["remedy"] == f"rm {lease}"
    assert lease.exists()
    (finding,), _ = lease_findings(gears, "--fix")
    assert finding["fixed"]
    assert not lease.exists()
    record(lease, pid=os.getpid(), start_time=started, **{**own, "boot_id": "an earlier one"})
    assert lease_findings(gears, "--fix")[0][0]["fixed"]
    lease.write_text("gears-record 1\nhost=hu")
    assert lease_findings(gears, "--fix")[0][0]["fixed"]
    assert not list(run.glob("*.lease"))


def leave_socket(path: Path, kind: int = socket.SOCK_STREAM) -> None:
    with socket.socket(socket.AF_UNIX, kind) as listener:
        listener.bind(str(path))
        listener.listen()


def test_sockets_of_hops_that_nobody_serves(gears: Gears) -> None:
    gears.run("daemon", "start")
    host = this_host(gears)
    run, link = gears.home / "run", gears.home / "run" / host / "link"
    for name in ("t", "f"):
        leave_socket(link / f"{name}-andes.sck", socket.SOCK_SEQPACKET)
    leave_socket(link / "g-andes.sck")
    for name in ("andes", "andes+tb", "frontier", "summit"):
        leave_socket(run / f"{name}.sck")
    (run / "notes.txt").touch()
    started = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19]
    record(
        run / "andes.lease",
        host=host,
        boot_id=boot_id(),
        pid=os.getpid(),
        start_time=started,
        nonce="1" * 32,
    )
    record(run / "frontier.lease", host="hub2.olcf", boot_id="b", **DEAD)
    report = examine(gears)
    dead = [link / "t-andes.sck", link / "f-andes.sck", link / "g-andes.sck"]
    dead += [run / "andes.sck", run / "andes+tb.sck"]
    found = {finding["remedy"] for finding in report["findings"]}
    assert found == {f"rm {path}" for path in dead}
    assert {finding["check"] for finding in report["findings"]} == {"hop-sockets"}
    notes = [n["message"] for n in report["notes"] if n["check"] == "hop-sockets"]
    assert [f"nobody here serves {run}/summit.sck" in note for note in notes] == [True]
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as living:
        dead[0].unlink()
        living.bind(str(dead[0]))
        living.listen()
        assert all(finding["fixed"] for finding in examine(gears, "--fix")["findings"])
        assert [path.exists() for path in dead] == [True, False, False, False, False]
        assert (run / "frontier.sck").exists()
        assert (run / "summit.sck").exists()
    (run / "andes.lease").unlink()


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


def tunnel(**fields: object) -> dict[str, Any]:
    since = int((time.time() - 300) * 1e6)
    return {
        "cluster": "andes",
        "transport": "libssh2",
        "wanted": True,
        "state": "down",
        "since": since,
        "reconnects": 0,
        "connections": 0,
        "bytes_in": 0,
        "bytes_out": 0,
        "human": True,
        "service": "lab",
        "port": 38888,
        **fields,
    }


LOST = "andes.olcf: connection timed out"
HOPS = [
    ({"state": "up"}, None, ""),
    ({"wanted": False}, None, ""),
    ({"wanted": False, "cause": "cancelled"}, None, ""),
    ({"state": "connecting"}, None, ""),
    ({"wanted": False, "held_by": "hub2.olcf"}, None, ""),
    ({"state": "auth-needed", "cause": "auth-needed"}, "gearsctl login andes", "the login"),
    ({"cause": "host-key-changed"}, "ssh-keygen -R", "the server's identity"),
    ({"cause": "network-down", "message": LOST}, "gearsctl login andes", LOST),
    ({"cause": "network-down", "human": False}, "wait: it connects again by itself", "the network"),
    ({"cause": "refused"}, "whether its sshd runs", "the server's port"),
    ({"cause": "no-common-algorithm"}, "transport = openssh", "the SSH handshake"),
    ({"cause": "policy"}, "gearsctl login andes", "the site's limit"),
    ({"state": "degraded"}, "wait: it is kept", "the server does not answer"),
    (
        {"state": "up", "message": "Gears is not installed there; run: sh contrib/quickstart.sh"},
        "in Gears' sources on andes run: sh contrib/quickstart.sh",
        "gearsd there does not answer",
    ),
]


def test_the_layer_of_a_hop_that_fails(gears: Gears) -> None:
    tunnels = [tunnel(**{**fields, "cluster": f"c{i}"}) for i, (fields, _, _) in enumerate(HOPS)]
    status = {"epoch": "e", "seq": 1, "services": [], "tunnels": tunnels}
    answers = {"Hello": {"parameters": OLD}, "Status": {"parameters": status}}
    with other_daemon(gears, answers):
        report = examine(gears)
    hops = [finding for finding in report["findings"] if finding["check"] == "hops"]
    for i, (fields, remedy, words) in enumerate(HOPS):
        found = [f for f in hops if f["message"].startswith(f"the hop to c{i} is ")]
        assert len(found) == (remedy is not None), (fields, found)
        for finding in found:
            assert remedy is not None
            assert remedy.replace("andes", f"c{i}") in finding["remedy"]
            assert words in finding["message"]
            assert f"is {fields.get('state', 'down')} since 5m" in finding["message"]
    notes = [note["message"] for note in report["notes"] if note["check"] == "hops"]
    assert notes == [
        "the hop to c3 is connecting",
        "run/c4.sck is on hub2.olcf; to have it here: gearsctl takeover c4",
    ]


def test_a_cluster_is_no_host(gears: Gears) -> None:
    state = gears.home / "state"
    gears.run("daemon", "start")
    private(state / "@cluster")
    for name in ("andes", "service", "link"):
        record(state / f"@cluster/{name}.rec", cluster=name, host="login1.andes", at=1)
    record(gears.home / "run/andes.lease", host="hub2.olcf", boot_id="b", **DEAD)
    told = gears.run("status").stderr + gears.run("status", "--json").stdout
    told += gears.run("doctor", "--json").stdout + gears.run("url", "lab", check=False).stderr
    assert "@cluster" not in told
    (gears.home / "run/andes.lease").unlink()


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


SECRETS = {
    "log": "https://h/lab?token=PlantedInALog",
    "header": "Authorization: token PlantedInAHeader",
    "cookie": "Set-Cookie: session=PlantedInACookie; path=/",
    "password": "password: PlantedPassword",
    "passcode": "Enter PASSCODE: Planted123456",
}
KEY = """-----BEGIN OPENSSH PRIVATE KEY-----
PlantedKeyMaterialPlantedKeyMaterial
-----END OPENSSH PRIVATE KEY-----"""


def plant_hops(gears: Gears) -> None:
    """Records as hubs write them, and, where none should ever be, secrets."""
    state = gears.home / "state"
    private(state, state / "hub2.olcf", state / "@cluster")
    record(
        state / "hub2.olcf/hop/andes.rec",
        cluster="andes",
        human=1,
        message="Password: PlantedInARecord",
    )
    record(
        state / "hub2.olcf/hop/andes.end",
        text="andes.olcf: the server said: PASSCODE: PlantedInAnEnd",
        cause=6,
    )
    record(state / "@cluster/andes.rec", cluster="andes", host="login1.andes", at=1)
    secrets = state / "hub2.olcf/secret"
    secrets.mkdir(mode=0o700)
    for i in range(100):
        (secrets / f"lab{i}").write_text(f"OtherHostsSecret{i:03}\n")


def bundle_folders() -> set[Path]:
    return set(Path("/tmp").glob("gears-bundle-*"))


def test_the_bundle_holds_no_secret(gears: Gears) -> None:
    conf = gears.home / "etc/gears.conf"
    plant_hops(gears)
    lines = "".join(f"echo '{line}'; " for line in [KEY, *SECRETS.values()])
    lines += "echo key file /u/me/.ssh/id_ed25519; echo OtherHostsSecret099; "
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
    before_it = bundle_folders()
    gears.run("doctor", "--bundle", str(bundle))
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o600
    with tarfile.open(bundle) as archive:
        texts = {
            member.name.removeprefix("./"): archive.extractfile(member).read().decode()  # type: ignore[union-attr]
            for member in archive.getmembers()
            if member.isfile()
        }
    wanted = {"version.json", "status.json", "doctor.json", "events.json", "gears.conf"}
    wanted |= {"hops.txt", "log-talk.txt", "log-lab.txt", "log-gearsd.txt", "config-effective.json"}
    assert wanted <= set(texts)
    whole = "\n".join(texts.values())
    assert token not in whole
    assert "Planted" not in whole
    assert "OtherHostsSecret" not in whole
    assert "key file /u/me/.ssh/id_ed25519" in texts["log-talk.txt"]
    assert "--- state/hub2.olcf/hop/andes.rec\n" in texts["hops.txt"]
    assert "host=login1.andes\n" in texts["hops.txt"]
    assert not [secret for secret in known if secret.strip() in whole]
    assert "say [redacted] aloud" in texts["log-leak.txt"]
    assert str(gears.home) in whole, "paths stay"
    assert json.loads(texts["status.json"])["schema"] == 1
    found = json.loads(texts["doctor.json"])["findings"]
    assert [f for f in found if f["check"] != "short-folders"] == [], "the rest is of this home"
    before = bundle.read_bytes()
    again = gears.run("doctor", "--bundle", str(bundle), check=False)
    assert again.returncode == 1
    assert "it is there already; choose another name" in again.stderr
    assert bundle.read_bytes() == before
    wait_until(lambda: not bundle_folders() - before_it, "the end of its folder")


def test_a_bundle_where_none_can_be(gears: Gears) -> None:
    result = gears.run("doctor", "--bundle", "/proc/nothing.tar.gz", check=False)
    assert result.returncode == 1
    assert "gearsctl: /proc/nothing.tar.gz: " in result.stderr
    assert gears.run("doctor", "--bundle", check=False).returncode == 2
