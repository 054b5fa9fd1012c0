"""What happens when the server dies or falls silent: each way has a connection of its own to the
sshd on the loopback, and what serves it there is killed, or stopped and let go on."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import statistics
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from home import wait_until
from report import Goal, goals, table
from tunnel_ways import Way

if TYPE_CHECKING:
    from tunnel import Rig

Made = TypeVar("Made", bound=Way)
ALIVE = ["-o", "ServerAliveInterval=2", "-o", "ServerAliveCountMax=3"]
ASK = struct.pack("=QIc51x", 0, 0, b"i")  # a load_request that is answered with itself
DEATHS = 5


def report(rig: Rig, frozen: float) -> None:
    rows, reached = [["", "gears", "ssh"]], []
    died = _dead(rig)
    rows.append(["a dead sshd is seen after, ms", *(f"{value * 1000:.0f}" for value in died)])
    reached.append(Goal("a dead sshd is seen, s", died[0], 0.1))
    more_rows, more_goals = _silent(rig, frozen)
    table("Tunnel: servers that die or fall silent (2 s × 3)", rows + more_rows)
    goals("Tunnel, faults", reached + more_goals)


def _serving(rig: Rig, make: Callable[[], Made]) -> tuple[Made, list[int]]:
    """A fresh way, and the processes of sshd that serve it."""
    before = rig.server.serving()
    way = make()
    return way, [pid for pid in rig.server.serving() if pid not in before]


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # what only logged in, and has gone since
            os.kill(pid, number)


def _dead(rig: Rig) -> tuple[float, float]:
    """Seconds until gears-tunnel says that it is down, and until ssh ends."""
    own, other = [], []
    for _ in range(DEATHS):
        way, pids = _serving(rig, lambda: rig.gears("gears"))
        begin = time.monotonic()
        _signal(pids, signal.SIGKILL)
        way.tunnel.wait_state("DOWN")
        own.append(time.monotonic() - begin)
        way.tunnel.wait_end()
        way.close()
        ssh, pids = _serving(rig, lambda: rig.ssh("ssh"))
        begin = time.monotonic()
        _signal(pids, signal.SIGKILL)
        ssh.process.wait()
        other.append(time.monotonic() - begin)
    return statistics.median(own), statistics.median(other)


class Open:
    """A client's connection that stays open."""

    def __init__(self, way: Way) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(str(way.fronts[0]))
        assert self.answers()

    def answers(self) -> bool:
        try:
            self.socket.sendall(ASK)
            return bool(self.socket.recv(len(ASK), socket.MSG_WAITALL))
        except OSError:
            return False


def _silent(rig: Rig, frozen: float) -> tuple[list[list[str]], list[Goal]]:
    quick = {"KEEPALIVE_MS": 2000, "KEEPALIVE_COUNT": 3}
    gears, pids = _serving(rig, lambda: rig.gears("gears", **quick))
    ssh, again = _serving(rig, lambda: rig.ssh("ssh", options=ALIVE))
    pids += again
    clients = [Open(gears), Open(ssh)]
    begin = time.monotonic()
    _signal(pids, signal.SIGSTOP)
    try:
        gears.tunnel.wait_state("DEGRADED")
        noticed = time.monotonic() - begin
        wait_until(lambda: ssh.process.poll() is not None, "ssh to give up")
        ended = time.monotonic() - begin
        while (left := begin + frozen - time.monotonic()) > 0:
            time.sleep(left)
    finally:
        _signal(pids, signal.SIGCONT)
    thawed = time.monotonic()
    gears.tunnel.wait_state("UP")
    up = time.monotonic() - thawed
    kept = [client.answers() for client in clients]
    gears.close()
    ssh.close()
    words = ["serves on" if each else "is lost" for each in kept]
    rows = [
        ["a silent server is noticed after, s", f"{noticed:.2f}", f"{ended:.2f}, and ends"],
        [f"after {frozen:g} s of silence the connection", *words],
        ["and is up again after, ms", f"{up * 1000:.0f}", ""],
    ]
    reached = [
        Goal("a silent server is degraded, s", noticed, 6),
        Goal(f"the session serves on after {frozen:g} s", kept[0], 1, least=True),
    ]
    return rows, reached
