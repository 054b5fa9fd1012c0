"""The data plane: gears-relay, driven through gearsd, beside other relays."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import peers
from home import Gears, wait_until
from machine import HELD_MOST, cpu_seconds, descriptor_pairs, favour, memory, switches, tree_memory
from peers import Relay
from report import Goal, Samples, goals, ratio, table

GB = 1_000_000_000
CELLS = tuple((path, way) for path in peers.PATHS for way in ("down", "up"))
TUNED, GEARS, DIRECT = "haproxy tuned", "gears-relay", "direct"


@dataclass
class Amounts:
    rounds: int = 7
    bulk: int = GB
    messages: int = 20_000
    connections: int = 2_000
    idle: int = HELD_MOST
    idle_seconds: float = 4


QUICK = Amounts(3, GB // 4, 5_000, 500, 2_000, 1)


@dataclass
class Bench:
    load: Path
    amounts: Amounts
    core: int
    servers: dict[str, int]
    disturbed: list[float] = field(default_factory=list)
    relays: list[Relay] = field(default_factory=list)

    def client(self, what: str, address: str, amount: int) -> dict[str, float]:
        words = [str(self.load), what, address, str(amount)]
        result = subprocess.run(
            words,
            capture_output=True,
            text=True,
            timeout=120,
            preexec_fn=lambda: favour(self.core),
        )
        if result.returncode:
            raise RuntimeError(f"{' '.join(words)}: {result.stderr}")
        return json.loads(result.stdout)

    def timed(self, relay: Relay, what: str, path: str, amount: int) -> tuple[float, float]:
        """CPU seconds of client, relay and server together, and of the relay alone. All three
        share a core, so the first is what the transfer took, had nobody else used that core."""
        server = self.servers[path]
        before, before_server = relay_seconds(relay), cpu_seconds(server)
        answer = self.client(what, relay.fronts[path], amount)
        own = settled_seconds(relay) - before
        total = own + cpu_seconds(server) - before_server + answer["cpu"]
        self.disturbed.append(answer["seconds"] / total - 1)
        return total, own


def relay_seconds(relay: Relay) -> float:
    return sum(cpu_seconds(pid) for pid in relay.pids)


def settled_seconds(relay: Relay) -> float:
    """Once the relay has done what the client's leaving asked of it."""
    last = relay_seconds(relay)
    while True:
        time.sleep(0.01)
        now = relay_seconds(relay)
        if now == last:
            return now
        last = now


def measure_bulk(bench: Bench) -> tuple[Samples, Samples]:
    speed: Samples = defaultdict(lambda: defaultdict(list))
    cost: Samples = defaultdict(lambda: defaultdict(list))
    size = bench.amounts.bulk
    for _ in range(bench.amounts.rounds):
        for path, way in CELLS:
            for relay in bench.relays:
                took, cpu = bench.timed(relay, way, path, size)
                speed[relay.name][f"{path} {way}"].append(size / GB / took)
                cost[relay.name][f"{path} {way}"].append(cpu / (size / GB))
    return speed, cost


def report_bulk(bench: Bench) -> None:
    speed, cost = measure_bulk(bench)
    cells = [f"{path} {way}" for path, way in CELLS]
    rows = [["GB/s / relay CPU-s/GB", *cells]]
    for name in speed:
        row = [name]
        for cell in cells:
            value = f"{statistics.median(speed[name][cell]):.2f}"
            used = statistics.median(cost[name][cell])
            row.append(value if name == DIRECT else f"{value} / {used:.3f}")
        rows.append(row)
    for other in (DIRECT, TUNED):
        if other in speed:
            ratios = [ratio(speed[GEARS][cell], speed[other][cell]) for cell in cells]
            rows.append([f"gears-relay : {other}", *(f"{value:.2f}" for value in ratios)])
    table("Relay: bulk, 64 KB writes, client, relay and server on one core", rows)
    others = statistics.median(bench.disturbed)
    print(f"  (a transfer took {others:.0%} longer by the clock than the core worked for it)")
    least = {"uu down": 0.75, "uu up": 0.75, "ut down": 0.90, "ut up": 0.95}
    reached = [
        Goal(f"{c}: of direct", ratio(speed[GEARS][c], speed[DIRECT][c]), least[c], least=True)
        for c in cells
    ]
    if TUNED in speed:
        for cell in cells[:2]:
            value = ratio(speed[GEARS][cell], speed[TUNED][cell])
            reached.append(Goal(f"{cell}: of haproxy tuned", value, 1.0, least=True))
        for cell in cells:
            value = ratio(cost[GEARS][cell], cost[TUNED][cell])
            reached.append(Goal(f"{cell}: relay CPU a GB, of haproxy tuned", value, 1.0))
    goals("Relay, bulk", reached)


def report_small(bench: Bench) -> None:
    found: Samples = defaultdict(lambda: defaultdict(list))
    amounts = bench.amounts
    for _ in range(amounts.rounds):
        for relay in bench.relays:
            answer = bench.client("echo", relay.fronts["uu"], amounts.messages)
            found[relay.name]["p50"].append(answer["p50_us"])
            found[relay.name]["p99"].append(answer["p99_us"])
        for relay in bench.relays:
            took, cpu = bench.timed(relay, "once", "uu", amounts.connections)
            found[relay.name]["rate"].append(amounts.connections / took)
            found[relay.name]["cost"].append(cpu / amounts.connections * 1e6)
    rows = [["Unix → Unix", "p50 µs", "p99 µs", "conn/s", "relay µs/conn"]]
    for name, values in found.items():
        p50, p99, rate, cost = (statistics.median(values[key]) for key in values)
        rows.append(
            [
                name,
                f"{p50:.1f}",
                f"{p99:.1f}",
                f"{rate:.0f}",
                "" if name == DIRECT else f"{cost:.0f}",
            ]
        )
    table("Relay: 64-byte ping-pong; connect + request + close; one core", rows)
    own, direct = found[GEARS], found[DIRECT]
    goals(
        "Relay, small",
        [
            Goal("added p50, µs", ratio(own["p50"], direct["p50"], lambda a, b: a - b), 13),
            Goal("added p99, µs", ratio(own["p99"], direct["p99"], lambda a, b: a - b), 20),
            Goal("relay CPU a connection, µs", statistics.median(own["cost"]), 40),
        ],
    )


@dataclass
class Idle:
    count: int
    rss: float  # bytes a connection
    dirty: float
    wakeups: int


def hold_idle(bench: Bench, relay: Relay) -> Idle:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    count = min(bench.amounts.idle, relay.idle_limit, descriptor_pairs())
    before = [tree_memory(pid) for pid in relay.pids]
    holder = subprocess.Popen(
        [str(bench.load), "idle", relay.fronts["uu"], str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)),
    )
    assert holder.stdin and holder.stdout
    if not holder.stdout.readline():
        raise RuntimeError(f"{relay.name}: the {count} idle connections could not be made")
    settled_seconds(relay)
    time.sleep(0.5)
    woken = sum(switches(pid) for pid in relay.pids)
    time.sleep(bench.amounts.idle_seconds)
    woken = sum(switches(pid) for pid in relay.pids) - woken
    after = [tree_memory(pid) for pid in relay.pids]
    holder.stdin.close()
    holder.wait()
    settled_seconds(relay)

    def growth(column: int) -> float:
        return sum(b[column] - a[column] for a, b in zip(before, after)) * 1024 / count

    return Idle(count, growth(0), growth(1), woken)


def megabytes(relay: Relay) -> tuple[float, float]:
    """RSS and private dirty memory of a relay's process; socat has one for each front."""
    size = memory(relay.pids[0])
    return size.rss / 1024, size.private_dirty / 1024


def report_idle(bench: Bench, fresh: dict[str, tuple[float, float]]) -> None:
    rows = [
        [
            "",
            "connections",
            "RSS B each",
            "dirty B each",
            "wake-ups",
            "fresh: RSS / dirty MB",
            "after the load",
        ]
    ]
    for relay in bench.relays:
        if relay.name == DIRECT:
            continue
        worked = megabytes(relay)
        idle = hold_idle(bench, relay)
        rss, dirty = fresh[relay.name]
        rows.append(
            f"{relay.name}|{idle.count}|{idle.rss:.0f}|{idle.dirty:.0f}|{idle.wakeups}"
            f"|{rss:.2f} / {dirty:.2f}|{worked[0]:.2f} / {worked[1]:.2f}".split("|")
        )
        if relay.name == GEARS:
            reached = [
                Goal(f"bytes an idle connection ({idle.count})", max(idle.rss, idle.dirty), 400),
                Goal(f"wake-ups with {idle.count} idle connections", idle.wakeups, 0),
                Goal("RSS, MB", rss, 2),
                Goal("private dirty, MB", dirty, 0.2),
            ]
    table(
        f"Relay: idle connections, watched for {bench.amounts.idle_seconds:g} s; private memory",
        rows,
    )
    goals("Relay, idle", reached)


def server_port(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return next(word.decode() for word in words if word.startswith(b"tcp:"))


def run(programs: Path, quick: bool) -> None:
    load = programs / "bench_load"
    config = "".join(
        f"[service:{path}]\nkind = command\nrestart = no\ncommand = {load} serve {address}\n"
        for path, address in (("uu", "unix:{socket}"), ("ut", "tcp:{port}"))
    )
    core = max(os.sched_getaffinity(0))
    with (
        tempfile.TemporaryDirectory(prefix="gp", dir="/tmp") as folder,
        Gears(programs, config) as gears,
    ):
        gears.run("start", "uu")
        gears.run("start", "ut")
        services = gears.services()
        own = Path(services["uu"]["socket"]).parent / "own/uu.sck"
        servers = {path: services[path]["pid"] for path in peers.PATHS}
        bench = Bench(load, QUICK if quick else Amounts(), core, servers)
        targets = {"uu": f"unix:{own}", "ut": server_port(services["ut"]["pid"])}
        direct = Relay(DIRECT)
        direct.fronts = targets
        bench.relays = [direct]
        try:
            for peer in peers.start_all(Path(folder), targets, core):
                bench.relays.append(peer)
            bench.relays.append(wait_until(lambda: peers.gears_relay(gears), "gears-relay"))
            for pid in (*servers.values(), *bench.relays[-1].pids):
                favour(core, pid)
            fresh = {relay.name: megabytes(relay) for relay in bench.relays[1:]}
            report_bulk(bench)
            report_small(bench)
            report_idle(bench, fresh)
        finally:
            for relay in bench.relays:
                relay.stop()
