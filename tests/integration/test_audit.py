"""What the system's log is told: starts, stops and the like, and never a secret."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator

import pytest
from conftest import Gears
from processes import wait_until

# /dev of its own, in which log is the test's socket.
PRIVATE_DEV = """
set -e
mount --make-rprivate /
mount -t tmpfs none "$1/dev"
for name in null zero full random urandom tty; do
    : >"$1/dev/$name"
    mount --bind "/dev/$name" "$1/dev/$name"
done
: >"$1/dev/log"
mount --bind "$1/syslog" "$1/dev/log"
mount --rbind "$1/dev" /dev
shift
exec "$@"
"""


@contextlib.contextmanager
def private_syslog(gears: Gears) -> Iterator[socket.socket]:
    """A gearsd with a /dev/log of its own, and who reads that."""
    (gears.home / "dev").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(gears.home / "syslog"))
        gears.prefix = ["unshare", "-m", "sh", "-c", PRIVATE_DEV, "sh", str(gears.home)]
        gears.run("daemon", "start")
        gears.prefix = []
        yield log


def read_all(log: socket.socket) -> list[str]:
    lines = []
    log.setblocking(False)
    while True:
        try:
            lines.append(log.recv(4096).decode())
        except BlockingIOError:
            return lines


@pytest.mark.skipif(os.geteuid() != 0, reason="a /dev of its own needs a mount namespace")
def test_acts_are_told_and_secrets_are_not(gears: Gears) -> None:
    with private_syslog(gears) as log:
        gears.run("run", "nap", "--", "sh", "-c", "exec sleep 1000", "hunter2")
        gears.run("stop", "nap")
        gears.run("start", "lab")
        token = gears.url().split("token=")[1]
        gears.run("daemon", "stop", "--services", "--yes")
        lines = read_all(log)
    texts = [line.split("]: ", 1)[1] for line in lines]
    assert texts[0].startswith("gearsd started build=")
    for told in (
        "run service=nap",
        "stop service=nap",
        "start service=lab",
        "shutdown services=1",
    ):
        assert told in texts
    assert all("gearsd[" in line for line in lines)
    assert not any(token in line or "hunter2" in line for line in lines)


@pytest.mark.skipif(os.geteuid() != 0, reason="a /dev of its own needs a mount namespace")
def test_a_syslog_that_stands_still_holds_up_nobody(gears: Gears) -> None:
    """Its queue is full and nobody reads: acts go on, and are told when somebody does."""
    with private_syslog(gears) as log:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.connect(str(gears.home / "syslog"))
            other.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    other.send(b"other")
        begin = time.monotonic()
        gears.run("enable", "lab")
        gears.run("disable", "lab")
        assert time.monotonic() - begin < 10
        told = ""

        def is_told() -> bool:
            nonlocal told
            told += "".join(read_all(log))
            return "disable service=lab" in told

        wait_until(is_told, "the word about it")
        assert "enable service=lab" in told
