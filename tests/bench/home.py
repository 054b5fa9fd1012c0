"""A private Gears for the bench, and nothing left of it afterwards."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def wait_until(check: Any, what: str, seconds: float = 30) -> Any:
    end = time.monotonic() + seconds
    while not (value := check()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.01)
    return value


class Gears:
    def __init__(self, programs: Path, config: str) -> None:
        self.programs = programs
        self.home = Path(tempfile.mkdtemp(prefix="gb", dir="/tmp"))
        (self.home / "etc").mkdir()
        (self.home / "etc/gears.conf").write_text(config)
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("GEARS_", "JUPYTER"))},
            "GEARS_HOME": str(self.home),
            "GEARS_SITE_CONFIG": str(self.home / "no-site.conf"),
        }

    def __enter__(self) -> Gears:
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(
            self.command("daemon", "stop", "--services", "--yes"),
            env=self.environment,
            capture_output=True,
            timeout=120,
        )
        wait_until(lambda: not self.processes(), "the end of every process of the bench", 120)
        shutil.rmtree(self.home)

    def command(self, *words: str) -> list[str]:
        return [str(self.programs / "gearsctl"), *words]

    def run(self, *words: str) -> str:
        result = subprocess.run(
            self.command(*words),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if result.returncode:
            raise RuntimeError(f"gearsctl {' '.join(words)}: {result.stdout}{result.stderr}")
        return result.stdout

    def status(self) -> dict[str, Any]:
        return json.loads(self.run("status", "--json"))

    def services(self) -> dict[str, dict[str, Any]]:
        return {service["name"]: service for service in self.status()["services"]}

    def daemon(self) -> int:
        return self.status()["daemon"]["pid"]

    def all_ready(self) -> bool:
        """Those that are wanted; a lab stands in every configuration."""
        wanted = [s for s in self.status()["services"] if s["wanted"] == "start"]
        return bool(wanted) and all(s["state"] == "ready" and s["health"]["ok"] for s in wanted)

    def processes(self, name: str = "") -> list[int]:
        """Those that were given this home, except zombies; of one program when named."""
        mark = b"GEARS_HOME=" + os.fsencode(self.home) + b"\0"
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if not entry.name.isdigit() or mark not in (entry / "environ").read_bytes():
                    continue
                if not name or (entry / "comm").read_text().strip() == name:
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def stream(self, method: str) -> Iterator[dict[str, Any]]:
        """Replies of a method called with more, as they come."""
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(next((self.home / "run").glob("*/gearsd.sck"))))
            request = {"method": f"org.gears.Manager.{method}", "parameters": {}, "more": True}
            link.sendall(json.dumps(request).encode() + b"\0")
            buffer = b""
            while piece := link.recv(1 << 20):
                buffer += piece
                *whole, buffer = buffer.split(b"\0")
                for message in whole:
                    yield json.loads(message)["parameters"]
