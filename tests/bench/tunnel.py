"""An SSH hop: gears-tunnel beside ssh -L, over one sshd, with and without a long way to it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import product, repeat
from pathlib import Path

import tunnel_faults
import tunnel_hub
from home import wait_until
from machine import cpu_seconds, pin, tree_memory
from report import Goal, Samples, goals, ratio, table
from tunnel_ways import SSHD, Delay, GearsWay, Server, SshWay, Way, support

MB = 1_000_000
GEARS, OPENSSH = "gears", "gears, openssh"
SAME, TWIN, SHIPPED = "ssh, same cipher", "ssh, same cipher and MAC", "ssh, as shipped"
ROUND_TRIPS = (0, 30, 50)  # ms
HELD = 200


@dataclass
class Amounts:
    rounds: int = 5
    bulk: dict[int, int] = field(default_factory=lambda: {0: 160 * MB, 30: 48 * MB, 50: 40 * MB})
    messages: dict[int, int] = field(default_factory=lambda: {0: 2_000, 30: 100})
    connections: int = 300
    frozen: float = 20  # seconds
    watched: float = 60


QUICK = Amounts(2, {0: 64 * MB, 30: 32 * MB, 50: 32 * MB}, {0: 500, 30: 40}, 100, 8, 10)


class Flood:
    """Says all it can to whoever connects."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(10)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._say, args=(client,), daemon=True).start()

    def _say(self, client: socket.socket) -> None:
        with client:
            try:
                while True:
                    client.sendall(bytes(65536))
            except OSError:
                return

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class Rig:
    """Every way to the server at every distance, up at once: an idle one costs nothing. The
    clients have one core, what runs on the server's side another, as two hosts would."""

    def __init__(self, programs: Path, stack: ExitStack, transports: Sequence[str]) -> None:
        cores = sorted(os.sched_getaffinity(0))
        self.near, self.far = cores[-1], cores[0]
        self.load = programs / "bench_load"
        self.folder = Path(tempfile.mkdtemp(prefix="gt", dir="/tmp"))
        stack.callback(shutil.rmtree, self.folder)
        self.link = support(programs)
        self.server = Server(self.folder, self.far)
        stack.callback(self.server.close)
        self.flood = Flood(self.folder / "flood")
        stack.callback(self.flood.close)
        self.stack = stack
        self.ways: dict[int, list[Way]] = {}
        self.transports = transports
        for distance in ROUND_TRIPS:
            port = 0
            if distance:
                delay = Delay(programs, distance, self.server.port)
                stack.callback(delay.close)
                port = delay.port
            self.ways[distance] = self._make(stack, distance, port)

    def _place(self, port: int) -> tuple[Server, Path, list[Path], int, int]:
        """A folder for one way, and in it what it leads to: a server of its own, which serves one
        client at a time, and one that says all it can to everybody."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        target = folder / "target"
        serve = [str(self.load), "serve", f"unix:{target}"]
        process = subprocess.Popen(serve, preexec_fn=lambda: pin(self.far))
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        wait_until(target.exists, "the load's server to listen")
        return self.server, folder / "way", [target, self.flood.path], self.near, port

    def gears(self, name: str, port: int = 0, **settings: str | int) -> GearsWay:
        return GearsWay(name, self.link, *self._place(port), **settings)

    def ssh(
        self,
        name: str,
        port: int = 0,
        options: Sequence[str] = (),
        program: Sequence[str] = ("ssh",),
    ) -> SshWay:
        return SshWay(name, *self._place(port), options, program)

    def _make(self, stack: ExitStack, distance: int, port: int) -> list[Way]:
        ways: list[Way] = []
        for transport in self.transports:
            name = GEARS if transport == "libssh2" else OPENSSH
            try:
                ways.append(self.gears(name, port, TRANSPORT=transport))
            except (self.link.TunnelError, AssertionError, EOFError) as error:
                if name == GEARS:
                    raise  # all else is compared with it
                if distance == ROUND_TRIPS[0]:
                    print(f"tunnel: goes on without transport = {transport}: {error}")
                continue
            stack.callback(ways[-1].close)
        cipher, mac = ways[0].agreed
        for name, options in (
            (SAME, ["-c", cipher]),
            (TWIN, ["-c", cipher, "-m", mac]),
            (SHIPPED, []),
        ):
            if name == TWIN and "implicit" in mac:
                continue
            ways.append(self.ssh(name, port, options))
            stack.callback(ways[-1].close)
        return ways

    def fresh(self) -> list[GearsWay | SshWay]:
        """One of each kind, without a past."""
        names = [way.name for way in self.ways[0]]
        own = [self.gears(OPENSSH, TRANSPORT="openssh")] if OPENSSH in names else []
        return [self.gears(GEARS), *own, self.ssh(SAME, options=["-c", self.ways[0][0].agreed[0]])]

    def client(self, way: Way, what: str, amount: int) -> dict[str, float]:
        words = [str(self.load), what, way.address(), str(amount)]
        result = subprocess.run(
            words, capture_output=True, text=True, timeout=120, preexec_fn=lambda: pin(self.near)
        )
        if result.returncode:
            raise RuntimeError(f"{way.name}: {' '.join(words)}: {result.stderr}")
        return json.loads(result.stdout)


def names(samples: Samples) -> list[str]:
    return [name for name in (OPENSSH, SAME, TWIN, SHIPPED) if name in samples]


def report_bulk(rig: Rig, amounts: Amounts) -> None:
    speed: Samples = defaultdict(lambda: defaultdict(list))
    cost: Samples = defaultdict(lambda: defaultdict(list))
    cells = [f"{way} {distance} ms" for distance in ROUND_TRIPS for way in ("get", "put")]
    for _ in range(amounts.rounds):
        for cell in cells:
            distance, what = int(cell.split()[1]), "down" if cell.startswith("get") else "up"
            size = amounts.bulk[distance]
            for way in rig.ways[distance]:
                before = cpu_seconds(way.pid)
                answer = rig.client(way, what, size)
                speed[way.name][cell].append(size / MB / answer["seconds"])
                cost[way.name][cell].append((cpu_seconds(way.pid) - before) / size * 1e9)
    rows = [["MB/s (client CPU-s/GB)", *cells]]
    for name in speed:
        row = [name]
        for cell in cells:
            value, used = (statistics.median(samples[name][cell]) for samples in (speed, cost))
            row.append(f"{value:.0f} ({used:.1f})")
        rows.append(row)
    for other in names(speed):
        ratios = [ratio(speed[GEARS][cell], speed[other][cell]) for cell in cells]
        rows.append([f"gears : {other}", *(f"{value:.2f}" for value in ratios)])
    agreed = {way.name: " ".join(way.agreed) for way in rig.ways[0]}
    table("Tunnel: bulk, one stream, by round trip; hub and server have a core each", rows)
    print("  " + "; ".join(f"{name}: {what}" for name, what in agreed.items()))
    least = {0: (0.9, 0.9), 30: (2, 1), 50: (2, 1)}
    reached = []
    for cell, other in product(cells, (SAME, TWIN)):
        distance, upward = int(cell.split()[1]), cell.startswith("put")
        if other in speed and (other == SAME or not distance):
            value = ratio(speed[GEARS][cell], speed[other][cell])
            limit = least[distance][upward]
            reached.append(Goal(f"{cell}: of {other}", value, limit, least=True))
    for cell in cells[:2]:
        value = ratio(cost[GEARS][cell], cost[SAME][cell])
        print(f"  {cell}: client CPU a GB, of {SAME}: {value:.2f}")
    goals("Tunnel, bulk", reached)


def measure_small(rig: Rig, amounts: Amounts, cells: Sequence[tuple[str, int]]) -> Samples:
    found: Samples = defaultdict(lambda: defaultdict(list))
    for _, (what, distance) in product(range(amounts.rounds), cells):
        ways, count = rig.ways[distance], amounts.messages[distance]
        # Far away all do nothing but wait, and may do so side by side.
        with ThreadPoolExecutor(len(ways) if distance else 1) as pool:
            answers = list(pool.map(rig.client, ways, repeat(what), repeat(count)))
        for way, answer in zip(ways, answers):
            for quantile in ("p50", "p99"):
                found[way.name][f"{what} {distance} {quantile}"].append(answer[f"{quantile}_us"])
    return found


def report_small(rig: Rig, amounts: Amounts) -> None:
    cells = [(what, distance) for distance in amounts.messages for what in ("echo", "echo1k")]
    found = measure_small(rig, amounts, cells)
    label = {"echo": "64 B", "echo1k": "1 KB"}
    rows = [["p50 / p99, ms", *(f"{label[what]}, {distance} ms" for what, distance in cells)]]
    for name, values in found.items():
        row = [name]
        for what, distance in cells:
            each = [statistics.median(values[f"{what} {distance} {q}"]) for q in ("p50", "p99")]
            row.append(" / ".join(f"{value / 1000:.3f}" for value in each))
        rows.append(row)
    table("Tunnel: ping-pong", rows)
    reached = []
    for what, name in label.items():  # far away half of it would be less than the way itself
        key = f"{what} 0 p99"
        value = ratio(found[GEARS][key], found[SAME][key])
        reached.append(Goal(f"{name}, 0 ms: p99 of {SAME}", value, 0.5))
    goals("Tunnel, small", reached)


def report_stalled(rig: Rig, amounts: Amounts) -> None:
    """A client that reads nothing, of a server of its own, beside one that reads all it can."""
    change: dict[str, list[float]] = defaultdict(list)
    for _ in range(amounts.rounds):
        for way in rig.ways[0]:
            size = amounts.bulk[0]
            free = rig.client(way, "down", size)["seconds"]
            with socket.socket(socket.AF_UNIX) as stalled:
                stalled.connect(str(way.fronts[1]))
                stalled.recv(1, socket.MSG_PEEK)
                settle(way)
                held = rig.client(way, "down", size)["seconds"]
            again = rig.client(way, "down", size)["seconds"]
            change[way.name].append((free + again) / 2 / held - 1)
    rows = [["another channel's throughput, change", "median"]]
    rows += [[name, f"{statistics.median(each):+.1%}"] for name, each in change.items()]
    table("Tunnel: beside a stalled reader", rows)
    loss = -statistics.median(change[GEARS])
    goals("Tunnel, stalled reader", [Goal("throughput lost, %", max(0.0, loss * 100), 5)])


def settle(way: Way) -> None:
    """Until what was on its way to the stalled reader is where it will stay."""

    def rests() -> bool:
        before = cpu_seconds(way.pid)
        time.sleep(0.05)
        return cpu_seconds(way.pid) - before < 0.001

    wait_until(rests, f"{way.name} to rest")


def hold(rig: Rig, way: Way) -> tuple[float, float]:
    """MB of RSS and of private dirty memory that the channels add."""
    before = tree_memory(way.pid)
    words = [str(rig.load), "idle", way.address(), str(HELD)]
    holder = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin and holder.stdout
    if not holder.stdout.readline():
        raise RuntimeError(f"{way.name}: {HELD} channels could not be opened")
    after = tree_memory(way.pid)
    holder.communicate()
    return (after.rss - before.rss) / 1024, (after.private_dirty - before.private_dirty) / 1024


def report_channels(rig: Rig, amounts: Amounts) -> None:
    grown: dict[str, tuple[float, float]] = {}
    for way in rig.fresh():
        grown[way.name] = hold(rig, way)
        way.close()
    rate: Samples = defaultdict(lambda: defaultdict(list))
    for _, distance in product(range(amounts.rounds), amounts.messages):
        count = amounts.connections // (20 if distance else 1)
        for way in rig.ways[distance]:
            took = rig.client(way, "once", count)["seconds"]
            rate[way.name][f"{distance} ms"].append(count / took)
    rows = [["", f"{HELD} channels: MB of RSS / dirty", "connections/s", "at 30 ms"]]
    for name, rates in rate.items():
        size = " / ".join(f"{value:.2f}" for value in grown.get(name, ()))
        rows.append([name, size, *(f"{statistics.median(each):.0f}" for each in rates.values())])
    table("Tunnel: channels; connect + request + close, one after the other", rows)
    goals("Tunnel, channels", [Goal(f"RSS of {HELD} channels, MB", grown[GEARS][0], 12)])


def run(programs: Path, quick: bool, frozen: float, transports: Sequence[str]) -> None:
    if not Path(SSHD).exists() or not find_spec("pytest"):
        print("tunnel: left out, it needs openssh-server and (for the tests' tools) pytest")
        return
    amounts = QUICK if quick else Amounts()
    amounts.frozen = frozen or amounts.frozen
    with ExitStack() as stack:
        hub = tunnel_hub.start(programs, stack, amounts.watched)
        rig = Rig(programs, stack, transports)
        report_bulk(rig, amounts)
        report_small(rig, amounts)
        report_stalled(rig, amounts)
        report_channels(rig, amounts)
        tunnel_faults.report(rig, amounts.frozen)
        if hub:
            hub.report()
