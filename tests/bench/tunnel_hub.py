"""A whole hub in a network of its own (root only): what gearsd, the relay and the tunnel of a hop
cost while nothing happens, beside tmux and ssh; and how soon a service is reached again when the
network comes back, beside autossh."""

from __future__ import annotations

import os
import select
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from home import wait_until
from machine import memory, switches
from report import Goal, goals, table
from tunnel_faults import ASK
from tunnel_ways import support

PROGRAMS = ("gearsd", "gears-relay", "gears-tunnel")
FIXED = ["-N", "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes"]
FIXED += ["-o", "StreamLocalBindUnlink=yes", "-o", "ConnectTimeout=5"]
OUTAGE = 12.0  # seconds: more than autossh's ssh bears
PROBE = 0.05


def start(programs: Path, stack: ExitStack, watched: float) -> Hub | None:
    if os.geteuid() != 0 or not shutil.which("unshare"):
        print("tunnel: without the hub's footprint and recovery, they need root and namespaces")
        return None
    hub = Hub(programs, stack)
    hub.watch(watched)
    return hub


@contextmanager
def _quiet() -> Iterator[None]:
    """For what is started here: unshare complains when its host loses power."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


class Hub:
    """hub1 with a hop to a login node by key, and a service there."""

    def __init__(self, programs: Path, stack: ExitStack) -> None:
        support(programs)
        from conftest import private_gears
        from hub_user import HubUser
        from olcf import Olcf

        self.gears = stack.enter_context(private_gears())
        self.load = programs / "bench_load"
        with _quiet():
            self.olcf = stack.enter_context(Olcf(self.gears, andes_auth="publickey"))
        self.olcf.give_key()
        self.hub: Any = self.olcf.hub1
        self.user = HubUser(self.olcf, self.hub)
        self.others: list[subprocess.Popen[bytes]] = []
        self.login("")

    def login(self, lines: str) -> None:
        (self.gears.home / "etc/gears.conf").write_text(
            f"[cluster:andes]\nservice = load\n{lines}"
            f"[service:load]\nkind = command\ncommand = {self.load} serve unix:{{socket}}\n"
        )
        self.user.run("login", "andes")
        self.user.run("start", "load@andes")
        host = self.user.tunnel()["host"]
        self.node: Any = next(n for n in self.olcf.andes if n.name.startswith(f"{host}."))
        self.front = self.gears.home / "run/andes.sck"
        self.target = self.gears.home / f"run/{host}/load.sck"

    def ssh(self, program: list[str], front: Path, *options: str) -> list[str]:
        words = [*program, *FIXED, *options, f"-L{front}:{self.target}", self.node.name]
        return [*self.hub.prefix, *words]

    def watch(self, seconds: float) -> None:
        """Begin to count, for so long at least; report() tells."""
        self.fronts = {name: self.olcf.folder / f"{name}.sck" for name in ("tmux", "autossh")}
        alive = ("-o", "ServerAliveInterval=30")
        command = " ".join(self.ssh(["ssh"], self.fronts["tmux"], *alive)[len(self.hub.prefix) :])
        self.hub.inside("tmux", "-S", f"{self.olcf.folder}/tmux", "new-session", "-d", command)
        wait_until(self.fronts["tmux"].exists, "ssh in tmux")
        self.groups = {name: self._processes(name) for name in (*PROGRAMS, "tmux", "ssh")}
        time.sleep(3)  # the login's last acts are done
        self.sizes = {name: [memory(pid) for pid in pids] for name, pids in self.groups.items()}
        self.counted = {name: self._switches(name) for name in self.groups}
        self.watched_from = time.monotonic()
        self.least = seconds

    def _processes(self, name: str) -> list[int]:
        return [
            pid
            for pid in self.user.processes(name)
            if Path(f"/proc/{pid}/comm").read_text().strip().partition(":")[0] == name
        ]

    def _switches(self, name: str) -> int:
        return sum(switches(pid, descend=False, forced=False) for pid in self.groups[name])

    def report(self) -> None:
        self._footprint()
        self._recovery()

    def _footprint(self) -> None:
        while (left := self.watched_from + self.least - time.monotonic()) > 0:
            time.sleep(left)
        watched = time.monotonic() - self.watched_from
        rows = [["", "RSS MB", "private dirty MB", f"wake-ups in {watched:.0f} s"]]
        totals = {"gears": [0.0, 0.0, 0.0], "tmux and ssh": [0.0, 0.0, 0.0]}
        for name, sizes in self.sizes.items():
            woken = self._switches(name) - self.counted[name]
            rss = sum(size.rss for size in sizes) / 1024
            dirty = sum(size.private_dirty for size in sizes) / 1024
            rows.append([name, f"{rss:.2f}", f"{dirty:.2f}", str(woken)])
            total = totals["gears" if name in PROGRAMS else "tmux and ssh"]
            for i, value in enumerate((rss, dirty, woken)):
                total[i] += value
        for name, (rss, dirty, woken) in totals.items():
            rows.append([f"together: {name}", f"{rss:.2f}", f"{dirty:.2f}", f"{woken:.0f}"])
        table("Tunnel: a hub with one hop, idle, keepalive 30 s", rows)

    def _recovery(self) -> None:
        self.user.run("logout", "andes")
        self.user.run("daemon", "stop", "--services", "--yes")
        self.login("keepalive = 2s\nkeepalive_count = 3\nconnect_timeout = 5s\n")
        words = ["-M", "0", "-o", "ServerAliveInterval=2", "-o", "ServerAliveCountMax=3"]
        autossh = None
        if shutil.which("autossh"):
            autossh = subprocess.Popen(
                self.ssh(["autossh"], self.fronts["autossh"], *words),
                env={**self.hub.environment, "AUTOSSH_GATETIME": "0"},
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            wait_until(self.fronts["autossh"].exists, "autossh to listen")
        try:
            self._measure(autossh is not None)
        finally:
            if autossh:  # below nsenter, which waits for it
                for pid in self._processes("autossh"):
                    os.kill(pid, 15)
                autossh.wait()

    def _measure(self, beside: bool) -> None:
        fronts = {"gears": self.front}
        fronts |= {"autossh": self.fronts["autossh"]} if beside else {}
        rows, reached = [["served again after the network's return, s", *fronts]], []
        for what, fault, cure in (
            (f"its cable out for {OUTAGE:g} s", self.hub.cut, self.hub.mend),
            ("the same, the connection lost meanwhile", self._cut_for_good, self.hub.mend),
            (f"packets dropped for {OUTAGE:g} s", self.node.drop, self.node.undrop),
        ):
            took = self._outage(fronts, fault, cure)
            rows.append([what, *(f"{took[name]:.2f}" for name in fronts)])
            reached.append(Goal(f"{what}: s", took["gears"], 1))
        table("Tunnel: recovery of key logins (keepalive 2 s × 3)", rows)
        goals("Tunnel, recovery", reached)

    def _cut_for_good(self) -> None:
        self.hub.cut()
        self.node.sshd.disconnect()

    def _outage(
        self, fronts: dict[str, Path], fault: Callable[[], None], cure: Callable[[], None]
    ) -> dict[str, float]:
        for front in fronts.values():
            wait_until(lambda front=front: first_answer(front, 1) is not None, "an answer")
        fault()
        time.sleep(OUTAGE)
        cure()
        begin = time.monotonic()
        took: dict[str, float] = {}

        def ask(name: str, front: Path) -> None:
            answered = first_answer(front, 60)
            took[name] = (answered or float("inf")) - begin

        threads = [threading.Thread(target=ask, args=each) for each in fronts.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return took


def first_answer(front: Path, patience: float) -> float | None:
    """When the first of many clients, one after the other, got its answer; None: nobody did."""
    end = time.monotonic() + patience
    waiting: list[socket.socket] = []
    try:
        while time.monotonic() < end:
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            try:
                client.connect(str(front))
                client.sendall(ASK)
                waiting.append(client)
            except OSError:
                client.close()
            until = time.monotonic() + PROBE
            while (left := until - time.monotonic()) > 0:
                ready, _, _ = select.select(waiting, [], [], left)
                for each in ready:
                    if _answers(each):
                        return time.monotonic()
                    waiting.remove(each)
                    each.close()
        return None
    finally:
        for each in waiting:
            each.close()


def _answers(client: socket.socket) -> bool:
    try:
        return len(client.recv(len(ASK))) == len(ASK)
    except OSError:
        return False
