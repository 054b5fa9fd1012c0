"""Two hosts with one home, reboots, and process ids that were used before."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Gears
from hosts import Host, needs_hosts
from once import Once
from processes import alive, parent, wait_until

pytestmark = needs_hosts


@pytest.fixture
def alpha(gears: Gears) -> Iterator[Host]:
    with Host(gears, "alpha.site") as host:
        yield host


@pytest.fixture
def beta(gears: Gears) -> Iterator[Host]:
    with Host(gears, "beta.site") as host:
        yield host


def daemon(host: Host) -> dict[str, Any]:
    reply = json.loads(host.run("status", "--json").stdout)
    return {"host": reply["host"], **reply["daemon"]}


def processes_of(host: Host) -> list[int]:
    """Outer ids of what runs on the host, but for its init."""
    space = os.readlink(f"/proc/{host.init}/ns/pid")
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "ns/pid") == space:
                found.append(int(entry.name))
        except OSError:
            continue
    return sorted(set(found) - {host.init})


def test_two_hosts_never_touch_each_other(gears: Gears, alpha: Host, beta: Host) -> None:
    once = Once(gears)
    once.script.write_text("echo up; exec sleep 1000")  # one of each host may run
    alpha.run("start", "once")
    beta.run("start", "once")
    assert (daemon(alpha)["host"], daemon(beta)["host"]) == ("alpha.site", "beta.site")
    on_beta = processes_of(beta)
    before = beta.status("once")
    # Stop, start, kill -9 and the end of everything on alpha: nothing of it reaches beta.
    alpha.run("stop", "once")
    alpha.run("start", "once")
    os.kill(next(p for p in processes_of(alpha) if comm(p) == "gearsd"), signal.SIGKILL)
    wait_until(lambda: alpha.status("once")["state"] == "ready", "the adoption on alpha")
    alpha.run("daemon", "stop", "--services", "--yes")
    wait_until(lambda: not processes_of(alpha), "the end of alpha's processes")
    alpha.run("status")
    assert processes_of(beta) == on_beta
    after = beta.status("once")
    assert {k: after[k] for k in ("pid", "state", "since", "restarts")} == {
        k: before[k] for k in ("pid", "state", "since", "restarts")
    }
    assert {path.name for path in (gears.home / "run").iterdir()} == {"alpha.site", "beta.site"}


def comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_the_client_says_which_host_holds_what(gears: Gears, alpha: Host, beta: Host) -> None:
    Once(gears)
    alpha.run("start", "once")
    alpha.run("run", "there", "--", "sleep", "1000")
    said = beta.run("status", "once", check=False).stderr
    program = gears.bin / "gearsctl"  # another host's PATH need not have it
    assert f"once is held by alpha.site; run: ssh alpha.site {program} status once" in said
    said = beta.run("status").stderr.splitlines()
    assert len([line for line in said if "held by alpha.site" in line]) == 1
    elsewhere = json.loads(beta.run("status", "--json").stdout)["elsewhere"]
    assert sorted(item["name"] for item in elsewhere) == ["once", "there"]
    assert {item["host"] for item in elsewhere} == {"alpha.site"}
    # Not known here at all: said where it is, for any command.
    for words in (["status", "there"], ["stop", "there"], ["logs", "there"]):
        unknown = beta.run(*words, check=False)
        assert unknown.returncode == 4
        assert "there is held by alpha.site" in unknown.stderr
    # Nothing is said on the host itself, nor of what has ended there.
    assert "held by" not in alpha.run("status").stderr
    alpha.run("stop", "once")
    alpha.run("signal", "there", "KILL")
    wait_until(lambda: alpha.status("there")["state"] == "failed", "the end")
    assert "held by" not in beta.run("status").stderr


def test_a_start_says_that_another_host_holds_it_too(gears: Gears, alpha: Host, beta: Host) -> None:
    once = Once(gears)
    once.script.write_text("echo up; exec sleep 1000")
    alpha.run("start", "once")
    started = beta.run("start", "once")
    assert "once is held by alpha.site" in started.stderr
    assert beta.status("once")["state"] == "ready"
    assert alpha.status("once")["state"] == "ready"


def test_what_a_crashed_host_held_is_never_presumed_dead(
    gears: Gears, alpha: Host, beta: Host
) -> None:
    Once(gears)
    alpha.run("start", "once")
    alpha.crash()
    assert "once is held by alpha.site" in beta.run("status", check=False).stderr
    assert (gears.home / "run/alpha.site/gearsd.lease").exists()
    alpha.boot()


def test_a_reboot_is_reported_truthfully(gears: Gears, alpha: Host) -> None:
    once = Once(gears)
    with (gears.home / "etc/gears.conf").open("a") as conf:
        conf.write("[service:always]\nkind = command\ncommand = sleep 1000\nready = started\n")
    alpha.run("start", "once")
    alpha.run("enable", "always")
    alpha.run("start", "always")
    alpha.run("run", "ended", "--", "sh", "-c", "exit 7", check=False)
    wait_until(lambda: alpha.status("ended")["state"] == "failed", "its end")
    alpha.run("run", "stopped", "--", "sleep", "1000")
    alpha.run("stop", "stopped")
    alpha.reboot()
    alpha.run("status")
    wait_until(lambda: alpha.status("always")["state"] == "ready", "what is enabled")
    lost = alpha.status("once")
    assert (lost["state"], lost["wanted"]) == ("stopped", "stop")
    assert lost["exit"]["unknown"] is True
    assert lost["exit"]["note"].startswith("host rebooted ")
    assert "host rebooted" in alpha.run("status", "once", check=False).stdout
    assert once.starts() == 1
    # What had ended before tells its own end.
    assert alpha.status("ended")["exit"]["code"] == 7
    assert "note" not in alpha.status("ended")["exit"]
    assert alpha.status("stopped")["exit"]["signal"] == "TERM"
    assert alpha.status("stopped")["state"] == "stopped"
    # The next gearsd of the same boot says the same, until it is started again.
    os.kill(next(p for p in processes_of(alpha) if comm(p) == "gearsd"), signal.SIGKILL)
    assert alpha.status("once")["exit"]["note"] == lost["exit"]["note"]
    alpha.run("start", "once")
    assert once.starts() == 2


def test_the_kernels_that_a_reboot_took_are_named(gears: Gears, alpha: Host) -> None:
    """A record as a lab leaves it: its kernels.txt lists what was alive."""
    kernels = gears.home / "kernels.txt"
    kernels.write_text("analysis.ipynb (python3, busy)\n")
    alpha.run("status")
    record = gears.home / "state/alpha.site/service/lab.rec"
    fields = [
        "service=lab",
        "boot_id=00000000-0000-0000-0000-000000000000",
        "wanted=1",
        "nonce=0123456789abcdef0123456789abcdef",
        f"launch.kernels={kernels}",
    ]
    record.write_text("\n".join(["gears-record 1", *fields, f"end {len(fields)}", ""]))
    os.kill(next(p for p in processes_of(alpha) if comm(p) == "gearsd"), signal.SIGKILL)
    lab = alpha.status("lab")
    assert lab["state"] == "stopped"
    assert lab["exit"]["note"].endswith("kernels lost")
    assert lab["exit"]["lost"] == "analysis.ipynb (python3, busy)"


def test_a_reused_pid_is_never_signalled(gears: Gears, alpha: Host) -> None:
    """gearsd, keeper and service die unseen; strangers get their process ids."""
    once = Once(gears)
    alpha.run("start", "once")
    pid = alpha.status("once")["pid"]
    outer = {comm(p): p for p in processes_of(alpha)}
    inner = {name: inside_pid(p) for name, p in outer.items()}
    assert inner["sleep"] == pid
    for name in ("gearsd", "gears-keeper", "sleep", "gears-relay"):
        os.kill(outer[name], signal.SIGKILL)
    wait_until(lambda: not processes_of(alpha), "the end of all")
    strangers = {name: take_pid(alpha, number) for name, number in inner.items()}
    try:
        # The lease and the records name these ids; the strangers are let be.
        wait_until(lambda: alpha.status("once")["exit"], "the report")
        assert alpha.status("once")["exit"]["unknown"] is True
        wait_until(lambda: alpha.status("once")["state"] == "ready", "the restart")
        assert once.starts() == 2
        alpha.run("stop", "once")
        assert all(stranger.poll() is None for stranger in strangers.values())
    finally:
        for stranger in strangers.values():
            stranger.kill()
            stranger.wait()


def inside_pid(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("NSpid:")).split()[-1])


def take_pid(host: Host, number: int) -> subprocess.Popen[bytes]:
    """A process of the host that has this id."""
    script = f"echo {number - 1} >/proc/sys/kernel/ns_last_pid; sh -c 'echo $$; exec sleep 1000'"
    process = subprocess.Popen([*host.prefix, "sh", "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert int(process.stdout.readline()) == number
    return process


def test_a_lease_that_names_a_living_stranger_is_replaced(gears: Gears) -> None:
    """A lease whose pid is another process now (its start time differs) keeps nobody out."""
    gears.run("status")
    gears.kill_daemon()
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        (lease,) = gears.home.glob("run/*/gearsd.lease")
        lines = lease.read_text().splitlines()
        lines = [f"pid={stranger.pid}" if line.startswith("pid=") else line for line in lines]
        lease.write_text("\n".join(lines) + "\n")
        assert gears.run("status").returncode == 0
        assert alive(stranger.pid)
        assert parent(stranger.pid) == os.getpid()
        stranger.kill()
