"""gearsd under a service manager: readiness by sd_notify, services that go on, the user unit."""

from __future__ import annotations

import configparser
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import SOURCE, Gears
from processes import alive, wait_until

UNIT = SOURCE / "contrib/systemd/gearsd.service"


@contextmanager
def notified(gears: Gears, *before: str) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """gearsd in the foreground as a manager starts it, and the socket it notifies."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        path = gears.home / "notify"
        manager.bind(str(path))
        manager.settimeout(20)
        process = subprocess.Popen(
            [*before, gears.bin / "gearsd"],
            env={**gears.environment, "NOTIFY_SOCKET": str(path)},
            stdin=subprocess.DEVNULL,
        )
        try:
            yield process, manager
        finally:
            process.terminate()
            process.wait(60)


def test_a_manager_hears_of_readiness_and_end(gears: Gears) -> None:
    with notified(gears) as (process, manager):
        assert manager.recv(1000) == b"READY=1"
        assert gears.daemon_pid() == process.pid
        gears.run("run", "nap", "--", "sleep", "1000")
        pid = gears.status("nap")["pid"]
        process.send_signal(signal.SIGTERM)
        assert manager.recv(1000) == b"STOPPING=1"
        assert process.wait(60) == 0
    assert alive(pid)
    assert b"NOTIFY_SOCKET=" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert gears.status("nap")["state"] == "ready"


def test_an_upgrade_stays_the_managers_process(gears: Gears) -> None:
    with notified(gears) as (process, manager):
        assert manager.recv(1000) == b"READY=1"
        gears.run("daemon", "upgrade")
        assert manager.recv(1000) == b"READY=1"
        assert gears.daemon_pid() == process.pid


def test_a_second_gearsd_ends_at_once(gears: Gears) -> None:
    first = gears.daemon_pid()
    second = subprocess.run(
        [gears.bin / "gearsd"], env=gears.environment, stdin=subprocess.DEVNULL, timeout=20
    )
    assert second.returncode == 0
    assert gears.daemon_pid() == first


@pytest.mark.skipif(os.geteuid() != 0, reason="hiding the library needs a mount namespace")
def test_without_libsystemd_gearsd_serves(gears: Gears) -> None:
    listing = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    libraries = [line.split()[-1] for line in listing.splitlines() if "libsystemd.so.0" in line]
    hide = "; ".join(f"mount --bind /dev/null {os.path.realpath(path)}" for path in libraries)
    shell = ["unshare", "-m", "sh", "-c", f'{hide or ":"}; exec "$@"', "sh"]
    with notified(gears, *shell) as (process, manager):
        wait_until(lambda: list(gears.home.glob("run/*/gearsd.sck")), "the control socket")
        assert gears.daemon_pid() == process.pid
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(1000)


def test_the_unit_ends_gearsd_only() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    service = unit["Service"]
    assert (service["KillMode"], service["Type"]) == ("process", "notify")
    assert service["ExecStart"] == "%h/gears/bin/gearsd"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not here")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    program = tmp_path / "gears/bin/gearsd"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    result = subprocess.run(
        ["systemd-analyze", "--user", "verify", "--man=no", UNIT],
        env={**os.environ, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, "")
