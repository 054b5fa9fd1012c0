"""From nothing to a JupyterLab that answers: through gearsctl start, and bare."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from home import Gears
from report import Goal, goals, table


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=5)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(5)
        self.sock.connect(self.path)


def answers(path: str) -> bool:
    try:
        connection = UnixConnection(path)
        connection.request("GET", "/api")
        return connection.getresponse().status == 200
    except OSError:
        return False


def time_bare(python: Path, folder: Path, environment: dict[str, str]) -> float:
    """Seconds until GET /api is answered: what gearsd takes for ready."""
    path = folder / "bare.sck"
    words = [str(python), "-m", "jupyterlab", "--no-browser", "--allow-root"]
    words += [f"--ServerApp.sock={path}", f"--ServerApp.root_dir={folder}"]
    start = time.perf_counter()
    lab = subprocess.Popen(
        words,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not answers(str(path)):
            if lab.poll() is not None:
                raise RuntimeError("the bare JupyterLab ended at once")
            time.sleep(0.002)
        return time.perf_counter() - start
    finally:
        os.killpg(lab.pid, signal.SIGKILL)
        lab.wait()
        path.unlink(missing_ok=True)


def time_gears(gears: Gears) -> float:
    start = time.perf_counter()
    gears.run("start", "lab")
    took = time.perf_counter() - start
    gears.run("stop", "lab")
    return took


def run(programs: Path, quick: bool, venv: Path | None) -> None:
    if not venv or not all(
        os.access(venv / "bin" / name, os.X_OK) for name in ("python", "jupyter-lab")
    ):
        print("\nStart of JupyterLab: left out, no environment with JupyterLab that may be used")
        return
    bare, own = [], []
    with tempfile.TemporaryDirectory(prefix="gj", dir="/tmp") as name:
        folder = Path(name)
        config = f"[service:lab]\nkind = jupyter\nenv = {venv}\nworkspace = {folder}\n"
        with Gears(programs, config) as gears:
            gears.environment["HOME"] = name
            gears.run("daemon", "start")
            python = venv / "bin/python"
            for number in range(-1, 3 if quick else 12):  # the first of each only warms the caches
                one = time_bare(python, folder, gears.environment)
                other = time_gears(gears)
                if number >= 0:
                    bare.append(one)
                    own.append(other)
    rows = [["ready after, ms", "median", "least"]]
    for label, times in (("jupyter lab, bare", bare), ("gearsctl start lab", own)):
        rows.append([label, *(f"{pick(times) * 1000:.0f}" for pick in (statistics.median, min))])
    table("Start of JupyterLab", rows)
    # The work is the same every time: what the least disturbed runs differ by is the overhead.
    more = (min(own) - min(bare)) * 1000
    goals("Start of JupyterLab", [Goal("start-to-ready over a bare jupyter lab, ms", more, 50)])
