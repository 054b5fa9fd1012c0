"""doctor: what this host does to what runs on it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from conftest import Gears
from doctor_report import apart, examine

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
