"""The relays that Gears is measured beside. Each listens on two Unix sockets, one in front of the
server's Unix socket and one in front of its loopback port."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from home import Gears, wait_until
from machine import children, descriptor_pairs, favour

PATHS = ("uu", "ut")  # Unix → Unix, Unix → loopback TCP
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


class Relay:
    """`fronts[path]` and the pids whose time and memory count."""

    def __init__(self, name: str, idle_limit: int = 1 << 20) -> None:
        self.name, self.idle_limit = name, idle_limit
        self.fronts: dict[str, str] = {}
        self.pids: list[int] = []
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, arguments: Sequence[str], core: int, log: Path) -> None:
        with log.open("ab") as out:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                preexec_fn=lambda: favour(core),
            )
        self._processes.append(process)
        self.pids.append(process.pid)

    def await_fronts(self, log: Path) -> None:
        paths = [Path(front.removeprefix("unix:")) for front in self.fronts.values()]
        try:
            wait_until(lambda: all(path.exists() for path in paths), f"{self.name} to listen", 10)
        except TimeoutError as error:
            self.stop()
            raise RuntimeError(f"{error}; its log: {log.read_text()}") from None

    def stop(self) -> None:
        for process in self._processes:
            if process.poll() is not None:
                continue
            for pid in reversed(children(process.pid)):
                os.kill(pid, signal.SIGKILL)
            process.wait()


def _fronts(folder: Path, name: str) -> dict[str, str]:
    return {path: f"unix:{folder}/{name}-{path}.sck" for path in PATHS}


def start_socat(folder: Path, targets: dict[str, str], core: int) -> Relay:
    relay = Relay("socat", idle_limit=200)  # a process each
    relay.fronts = _fronts(folder, "socat")
    log = folder / "socat.log"
    for path, front in relay.fronts.items():
        kind, _, where = targets[path].partition(":")
        to = f"UNIX-CONNECT:{where}" if kind == "unix" else f"TCP4:127.0.0.1:{where},nodelay"
        listen = f"UNIX-LISTEN:{front.removeprefix('unix:')},fork,backlog=1024"
        relay.start(["socat", "-b", "65536", listen, to], core, log)
    relay.await_fronts(log)
    return relay


def start_haproxy(folder: Path, targets: dict[str, str], core: int, *, tuned: bool) -> Relay:
    name = "haproxy tuned" if tuned else "haproxy"
    relay = Relay(name)
    stem = name.replace(" ", "-")
    relay.fronts = _fronts(folder, stem)
    most = f"  maxconn {descriptor_pairs() + 50}"
    lines = ["global", most]
    lines += ["  maxpipes 64", "  tune.pipesize 1048576"] if tuned else []
    lines += ["defaults", "  mode tcp", most, "  timeout connect 10s"]
    lines += ["  timeout client 1h", "  timeout server 1h"]
    lines += ["  option splice-request", "  option splice-response"] if tuned else []
    for path, front in relay.fronts.items():
        kind, _, where = targets[path].partition(":")
        to = f"unix@{where}" if kind == "unix" else f"127.0.0.1:{where}"
        lines += [f"listen {path}", f"  bind unix@{front.removeprefix('unix:')} backlog 1024"]
        lines += [f"  server s {to}"]
    config, log = folder / f"{stem}.cfg", folder / f"{stem}.log"
    config.write_text("\n".join(lines) + "\n")
    relay.start(["haproxy", "-db", "-f", str(config)], core, log)
    relay.await_fronts(log)
    return relay


def start_nginx(folder: Path, targets: dict[str, str], core: int) -> Relay:
    relay = Relay("nginx 64k")
    relay.fronts = _fronts(folder, "nginx")
    servers = ""
    for path, front in relay.fronts.items():
        kind, _, where = targets[path].partition(":")
        to = f"unix:{where}" if kind == "unix" else f"127.0.0.1:{where}"
        servers += f"server {{ listen {front} backlog=1024; proxy_pass {to}; }}\n"
    pairs = descriptor_pairs() + 50
    config, log = folder / "nginx.conf", folder / "nginx.log"
    config.write_text(
        f"load_module {STREAM_MODULE};\ndaemon off; master_process off;\n"
        f"pid {folder}/nginx.pid; error_log {log};\nworker_rlimit_nofile {2 * pairs};\n"
        f"events {{ worker_connections {2 * pairs}; }}\n"
        f"stream {{ proxy_buffer_size 64k; proxy_timeout 1h;\n{servers}}}\n"
    )
    relay.start(["nginx", "-c", str(config), "-e", str(log)], core, log)
    relay.await_fronts(log)
    return relay


def gears_relay(gears: Gears) -> Relay:
    """The real one, started by gearsd for the services uu and ut."""
    relay = Relay("gears-relay")
    services = gears.services()
    relay.fronts = {path: f"unix:{services[path]['socket']}" for path in PATHS}
    relay.pids = gears.processes("gears-relay")
    return relay


def start_all(folder: Path, targets: dict[str, str], core: int) -> Iterator[Relay]:
    """Every peer that is installed, each as it is up."""
    if shutil.which("socat"):
        yield start_socat(folder, targets, core)
    if shutil.which("haproxy"):
        yield start_haproxy(folder, targets, core, tuned=False)
        yield start_haproxy(folder, targets, core, tuned=True)
    if shutil.which("nginx") and STREAM_MODULE.exists():
        yield start_nginx(folder, targets, core)
