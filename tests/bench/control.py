"""The control plane: commands beside those of other supervisors, memory, wake-ups, scale."""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from home import Gears, wait_until
from machine import memory, switches
from report import Goal, goals, ratio, table

SERVICES = 20
IDLE = "sleep infinity"


def sleepers(count: int) -> str:
    return "".join(
        f"[service:s{i:04}]\nkind = command\nenabled = yes\ncommand = {IDLE}\n"
        for i in range(count)
    )


@contextmanager
def gears_with(programs: Path, count: int) -> Iterator[Gears]:
    with Gears(programs, sleepers(count)) as gears:
        gears.run("daemon", "start")
        wait_until(gears.all_ready, f"{count} services", 120)
        yield gears


@contextmanager
def supervisor(folder: Path) -> Iterator[tuple[list[str], int]]:
    config, sock = folder / "supervisor.conf", folder / "supervisor.sck"
    config.write_text(
        f"[unix_http_server]\nfile={sock}\n[supervisord]\nnodaemon=true\nlogfile=/dev/null\n"
        f"logfile_maxbytes=0\npidfile={folder}/supervisor.pid\nchildlogdir={folder}\n"
        "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = "
        "supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[supervisorctl]\nserverurl=unix://{sock}\n"
        + "".join(f"[program:s{i}]\ncommand={IDLE}\nstartsecs=0\n" for i in range(SERVICES))
    )
    daemon = subprocess.Popen(
        ["supervisord", "-n", "-c", str(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    status = ["supervisorctl", "-c", str(config), "status"]
    try:
        wait_until(lambda: not subprocess.run(status, capture_output=True).returncode, "supervisor")
        yield status, daemon.pid
    finally:
        daemon.terminate()
        daemon.wait()


@contextmanager
def tmux(folder: Path) -> Iterator[tuple[list[str], int]]:
    words = ["tmux", "-S", str(folder / "tmux.sck"), "-f", "/dev/null"]
    plain = {**os.environ, "SHELL": "/bin/sh"}
    ask = [*words, "display-message", "-p", "#{pid}"]
    try:
        for i in range(SERVICES):
            make = [*words, "new-session", "-d", "-s", f"s{i}", IDLE]
            subprocess.run(make, check=True, env=plain)
        pid = int(subprocess.run(ask, check=True, capture_output=True, text=True).stdout)
        yield [*words, "ls"], pid
    finally:
        subprocess.run([*words, "kill-server"], check=False)


def time_commands(
    programs: Path, gears: Gears, commands: dict[str, list[str]], rounds: int
) -> dict[str, list[float]]:
    """Milliseconds of wall time, one median a round."""
    found: dict[str, list[float]] = defaultdict(list)
    commands = {name: [shutil.which(c[0]) or c[0], *c[1:]] for name, c in commands.items()}
    for _ in range(rounds):
        for name, command in commands.items():
            count = "3" if name.startswith("supervisorctl") else "30"
            result = subprocess.run(
                [str(programs / "bench_spawn"), count, *command],
                env=gears.environment,
                check=True,
                capture_output=True,
                text=True,
            )
            found[name].append(float(result.stdout) / 1000)
    return found


def report_commands(programs: Path, gears: Gears, rounds: int) -> None:
    own = "gearsctl status"
    commands = {"an empty C program": [str(programs / "bench_empty")]}
    daemons: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="gc", dir="/tmp") as name:
        folder = Path(name)
        with _peers(folder, commands, daemons):
            commands[own] = gears.command("status")
            found = time_commands(programs, gears, commands, rounds)
            daemons["gearsd"] = gears.daemon()
            sizes = {daemon: memory(pid) for daemon, pid in daemons.items()}
    rows = [["", "ms", "× gearsctl"]]
    for name, values in found.items():
        rows.append([name, f"{statistics.median(values):.2f}", f"{ratio(values, found[own]):.2f}"])
    table(f"Control plane: wall time of a command, {SERVICES} services, programs, sessions", rows)
    rows = [["", "RSS MB", "private dirty MB", "PSS MB"]]
    keepers = [memory(pid) for pid in gears.processes("gears-keeper")]
    sizes["gears-keeper (largest)"] = max(keepers)
    for name, size in sizes.items():
        rows.append([name, *(f"{kilobytes / 1024:.2f}" for kilobytes in size)])
    table(f"Control plane: memory with {SERVICES} services, programs, sessions", rows)
    reached = [Goal("gearsctl status, ms (moonshot)", statistics.median(found[own]), 1)]
    if "tmux ls" in found:
        reached.append(Goal("gearsctl status, of tmux ls", ratio(found[own], found["tmux ls"]), 1))
    daemon, keeper = sizes["gearsd"], max(keepers)
    reached += [
        Goal("gearsd RSS, MB", daemon.rss / 1024, 4),
        Goal("gearsd private dirty, MB", daemon.private_dirty / 1024, 1),
        Goal("keeper RSS, MB", keeper.rss / 1024, 0.7),
        Goal("keeper private dirty, MB", keeper.private_dirty / 1024, 0.05),
    ]
    goals("Control plane, commands and memory", reached)


@contextmanager
def _peers(folder: Path, commands: dict[str, list[str]], daemons: dict[str, int]) -> Iterator[None]:
    """Those that are installed; adds to `commands` and `daemons`."""
    with (
        _optional("supervisord", supervisor, folder) as supervised,
        _optional("tmux", tmux, folder) as sessions,
    ):
        if shutil.which("systemctl"):
            commands["systemctl --version"] = ["systemctl", "--version"]
        if supervised:
            commands["supervisorctl status"], daemons["supervisord"] = supervised
        if sessions:
            commands["tmux ls"], daemons["tmux"] = sessions
        yield


@contextmanager
def _optional(program: str, start, folder: Path) -> Iterator[tuple[list[str], int] | None]:
    if not shutil.which(program):
        yield None
        return
    with start(folder) as found:
        yield found


def report_idle(gears: Gears, seconds: float) -> None:
    names = ("gearsd", "gears-relay", "gears-keeper")
    pids = {
        "gearsd": [gears.daemon()],
        "gears-relay": gears.processes("gears-relay"),
        "gears-keeper": gears.processes("gears-keeper"),
    }
    time.sleep(2)  # until what the questions above stirred up has settled
    before = {pid: own_switches(pid) for name in names for pid in pids[name]}
    time.sleep(seconds)
    rows, reached = [["", "processes", "context switches"]], []
    for name in names:
        woken = sum(own_switches(pid) - before[pid] for pid in pids[name])
        rows.append([name, str(len(pids[name])), str(woken)])
        reached.append(Goal(f"{name}: wake-ups in {seconds:g} s", woken, 0))
    table("Control plane: nothing happens", rows)
    goals("Control plane, idle", reached)


def own_switches(pid: int) -> int:
    return switches(pid, descend=False)


def notice_death(gears: Gears) -> float:
    """Milliseconds from kill -9 to the message that a client who watches gets."""
    replies = gears.stream("Status")
    victim = next(s for s in next(replies)["services"] if s["health"]["ok"])
    start = time.perf_counter()
    os.kill(victim["pid"], signal.SIGKILL)
    for reply in replies:
        told = [s for s in reply["services"] if s["name"] == victim["name"]]
        if any(s["state"] != "ready" or not s["health"]["ok"] for s in told):
            return (time.perf_counter() - start) * 1000
    raise RuntimeError("gearsd closed the stream of Status")


def adopt(gears: Gears) -> float:
    """Milliseconds from the start of a gearsctl that finds gearsd killed to its table of all."""
    before = {name: service["pid"] for name, service in gears.services().items() if service["pid"]}
    pid = gears.daemon()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pid not in gears.processes(), "the end of gearsd")
    start = time.perf_counter()
    rows = gears.run("status").splitlines()
    took = (time.perf_counter() - start) * 1000
    after = {row.split("\t")[0]: row.split("\t") for row in rows}
    for name, pid in before.items():
        if after[name][1] != "ready" or int(after[name][4]) != pid:
            raise RuntimeError(f"{name} was not adopted: {after[name]}")
    return took


def report_scale(programs: Path, rounds: int) -> None:
    with gears_with(programs, 100) as gears:
        noticed = [notice_death(gears) for _ in range(rounds)]
        wait_until(gears.all_ready, "the killed services")
        adopted = [adopt(gears) for _ in range(rounds)]
    start = time.perf_counter()
    with gears_with(programs, 1000) as gears:
        started = time.perf_counter() - start
        words = [str(programs / "bench_spawn"), "5", *gears.command("status")]
        asked = [
            float(subprocess.check_output(words, env=gears.environment)) / 1000
            for _ in range(rounds)
        ]
        size = memory(gears.daemon())
    middle = statistics.median
    rows = [
        ["", "value"],
        ["a dead service is noticed, 100 services, ms", f"{middle(noticed):.1f}"],
        ["adoption after kill -9 of gearsd, 100 services, ms", f"{middle(adopted):.1f}"],
        ["1000 services started and ready, s", f"{started:.1f}"],
        ["gearsctl status with 1000 services, ms", f"{middle(asked):.1f}"],
        ["gearsd RSS with 1000 services, MB", f"{size.rss / 1024:.2f}"],
        ["gearsd private dirty with 1000 services, MB", f"{size.private_dirty / 1024:.2f}"],
    ]
    table("Control plane: many services", rows)
    reached = [
        Goal("adoption of 100 services, gearsctl and gearsd started, ms", middle(adopted), 100),
        Goal("status of 1000 services, ms", middle(asked), 20),
    ]
    goals("Control plane, many services", reached)


def run(programs: Path, quick: bool) -> None:
    with gears_with(programs, SERVICES) as gears:
        report_idle(gears, 3 if quick else 10)
        report_commands(programs, gears, 3 if quick else 10)
    report_scale(programs, 3 if quick else 7)
