"""Clocks that jump, descriptors that run out, folders that are wrong, a source tree cleaned."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import SOURCE, Gears, private_gears
from once import Once
from processes import alive, wait_until

FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def clock(gears: Gears) -> Iterator[Path]:
    """gearsd's clock: "+1h" in this file sets it so; the monotonic one goes on."""
    if FAKETIME is None:
        pytest.skip("needs faketime")
    path = gears.home / "clock"
    path.write_text("+0\n")
    environment = {
        **gears.environment,
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(path),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with subprocess.Popen([str(gears.bin / "gearsd")], env=environment) as daemon:
        try:
            wait_until(
                lambda: gears.run("--no-autostart", "status", check=False).returncode == 0, "gearsd"
            )
            yield path
            gears.run("daemon", "stop", "--services", "--yes")
        finally:
            daemon.terminate()  # a failure is not to wait for it


@pytest.mark.parametrize("jump", ["+30d", "-30d"])
def test_a_jump_of_the_clock_fires_no_timer_and_loses_none(
    gears: Gears, clock: Path, jump: str
) -> None:
    dies = gears.home / "dies.sh"
    dies.write_text(f"echo >>{gears.home}/runs; exit 7\n")
    with (gears.home / "etc/gears.conf").open("a") as conf:
        conf.write(f"[service:dies]\nkind = command\ncommand = sh {dies}\nready = notify\n")
    os.kill(gears.daemon_pid(), signal.SIGHUP)
    wait_until(lambda: "dies" in gears.names(), "the new configuration")
    gears.run("run", "calm", "--", "sleep", "1000")
    gears.run("start", "dies", "--no-wait")
    wait_until(lambda: gears.status("dies")["state"] == "backoff", "the first backoff")
    before = (gears.home / "runs").stat().st_mtime
    runs = (gears.home / "runs").read_text().count("\n")
    clock.write_text(f"{jump}\n")
    wait_until(lambda: (gears.home / "runs").read_text().count("\n") == runs + 1, "the next")
    after = (gears.home / "runs").stat().st_mtime
    assert 0.5 < after - before < 60, "the backoff is one second, whatever the clock does"
    gears.run("stop", "dies")
    calm = gears.status("calm")
    assert calm["state"] == "ready"
    assert (calm["restarts"], calm["exit"]) == (0, None)
    # A table shows no negative and no absurd age.
    row = next(r for r in gears.run("status").stdout.splitlines() if r.startswith("calm"))
    assert "-" not in row.split("\t")[3]
    gears.run("run", "later", "--", "sleep", "1000")
    since = datetime.datetime.fromisoformat(gears.status("later")["since"].replace("Z", "+00:00"))
    ahead = (since - datetime.datetime.now(datetime.timezone.utc)).days
    assert ahead in ((29, 30) if jump[0] == "+" else (-30, -31))


def test_a_clock_set_back_keeps_the_order_of_logs(gears: Gears) -> None:
    """A segment of a time to come is there already: what is said now comes after it."""
    host = json.loads(gears.run("status", "--json").stdout)["host"]
    folder = gears.home / "log" / host / "talk"
    folder.mkdir(mode=0o700)
    stamp = int((time.time() + 30 * 86400) * 1e6)
    (folder / f"{stamp:016d}.log").write_text(f"{stamp / 1e6:.6f} o before the jump\n")
    gears.run("run", "talk", "--", "sh", "-c", "echo after the jump; exec sleep 1000")
    wait_until(lambda: "after" in gears.run("logs", "talk").stdout, "the line")
    lines = gears.run("logs", "talk").stdout.splitlines()
    assert lines == ["before the jump", "after the jump"]


def test_a_gearsd_out_of_descriptors_recovers(gears: Gears) -> None:
    once = Once(gears, keys="restart = always\n")
    gears.run("start", "once")
    daemon = gears.daemon_pid()
    used = len(list(Path(f"/proc/{daemon}/fd").iterdir()))
    enough = resource.prlimit(daemon, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon, resource.RLIMIT_NOFILE, (used + 8, enough[1]))
    (path,) = gears.home.glob("run/*/gearsd.sck")
    clients = []
    for _ in range(40):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(5)
        with contextlib.suppress(OSError):
            client.connect(str(path))
        clients.append(client)
    # A service that dies now cannot be started again yet; it is tried again, not given up.
    os.kill(once.running()[0], signal.SIGKILL)
    before = cpu_seconds(daemon)
    time.sleep(2)
    assert cpu_seconds(daemon) - before < 0.5, "gearsd spins"
    assert alive(daemon)
    for client in clients:
        client.close()
    resource.prlimit(daemon, resource.RLIMIT_NOFILE, enough)
    wait_until(lambda: gears.run("status", check=False).returncode == 0, "an answer")
    assert gears.daemon_pid() == daemon
    wait_until(lambda: gears.status("once")["state"] == "ready", "the service")
    gears.run("run", "new", "--", "sleep", "1000")
    once.check_never_doubled()


@pytest.mark.parametrize("folder", ["run", "state", "log", "run/{host}", "state/{host}/secret"])
def test_a_folder_open_to_others_is_refused(gears: Gears, folder: str) -> None:
    host = json.loads(gears.run("status", "--json").stdout)["host"]
    gears.run("daemon", "stop")
    path = gears.home / folder.format(host=host)
    path.chmod(0o750)
    refused = gears.run("status", check=False)
    assert refused.returncode == 5
    assert f"run: chmod 700 {path}" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    path.chmod(0o700)
    assert gears.run("status").returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("folder", [".", "run", "state", "log"])
def test_a_folder_of_somebody_else_is_refused(gears: Gears, folder: str) -> None:
    gears.run("status")
    gears.run("daemon", "stop")
    path = gears.home / folder
    os.chown(path, 65534, 65534)
    refused = gears.run("status", check=False)
    assert refused.returncode == 5
    assert str(path) in refused.stderr
    assert "belong" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    os.chown(path, 0, 0)
    assert gears.run("status").returncode == 0


def test_a_wrong_configuration_is_not_taken_at_hup(gears: Gears) -> None:
    once = Once(gears)
    conf = gears.home / "etc/gears.conf"
    good = conf.read_text()
    gears.run("start", "once")
    pid = gears.status("once")["pid"]
    conf.write_text(good + "[service:new]\nkind = command\ncomand = true\n")
    os.kill(gears.daemon_pid(), signal.SIGHUP)
    said = wait_until(
        lambda: [
            line for line in gears.run("events").stdout.splitlines() if "old configuration" in line
        ],
        "the word about it",
    )
    assert f"{conf}:" in said[0]
    assert "comand" in said[0]
    assert "new" not in gears.names()
    assert gears.status("once")["pid"] == pid
    conf.write_text(good + "[service:new]\nkind = command\ncommand = true\n")
    os.kill(gears.daemon_pid(), signal.SIGHUP)
    wait_until(lambda: "new" in gears.names(), "the new configuration")
    assert gears.status("once")["pid"] == pid
    assert once.starts() == 1


def test_the_source_tree_may_be_cleaned_under_a_running_service(gears: Gears) -> None:
    """GEARS_HOME is the checkout: git clean takes nothing that Gears needs."""
    home = gears.home
    shutil.copy(SOURCE / ".gitignore", home / ".gitignore")
    (home / "README.md").write_text("a source tree\n")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", "-C", str(home)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "README.md", ".gitignore"], check=True)
    subprocess.run([*git, "commit", "-qm", "all"], check=True)
    gears.run("run", "web", "--", "python3", "-m", "http.server", "--bind", "127.0.0.1", "{port}")
    before = gears.status("web")
    (home / "rubbish").write_text("x")
    subprocess.run([*git, "clean", "-q", "-f", "-d"], check=True)
    assert not (home / "rubbish").exists()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(before["socket"])
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(64).startswith(b"HTTP/1.0 200")
    gears.kill_daemon()
    wait_until(lambda: gears.status("web")["state"] == "ready", "the adoption")
    assert gears.status("web")["pid"] == before["pid"]
    gears.run("stop", "web")


def test_a_private_home_each() -> None:
    """Two homes of one user on one host know nothing of each other."""
    with private_gears() as one, private_gears() as two:
        one.run("run", "same", "--", "sleep", "1000")
        two.run("run", "same", "--", "sleep", "1000")
        pid = two.status("same")["pid"]
        one.run("daemon", "stop", "--services", "--yes")
        assert alive(pid)
