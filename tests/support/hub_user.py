"""Somebody who works on a hub: gearsctl there, at a terminal or not, and what it leads to."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab_client import LabClient
from network import Node
from olcf import Olcf
from processes import wait_until
from terminal import Terminal


class HubUser:
    """A context manager: whatever runs on the hub and the cluster is ended with it."""

    def __init__(self, olcf: Olcf, hub: Node, cluster: str = "andes") -> None:
        self.olcf = olcf
        self.hub = hub
        self.cluster = cluster

    def __enter__(self) -> HubUser:
        return self

    def __exit__(self, *_: object) -> None:
        """The hosts lose power with the network that holds them: nothing to end one by one."""

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """gearsctl without a terminal."""
        return self.hub.run(*words, check=check)

    def at(self, *words: str) -> Terminal:
        """gearsctl at a terminal.

        ^C is for gearsctl alone: the terminal hangs up when nsenter, which leads its session, ends.
        """
        command = ["env", "--ignore-signal=INT", *self.hub.prefix, "env", "--default-signal=INT"]
        command += [str(self.hub.bin / "gearsctl"), *words]
        return Terminal(command, self.hub.environment)

    def login(self, *words: str, code: str = "") -> str:
        """Log in with one PASSCODE; what the terminal showed."""
        with self.at("login", self.cluster, *words) as terminal:
            terminal.expect("Enter PASSCODE: ")
            terminal.type(f"{code or self.olcf.fresh_code()}\n")
            assert terminal.wait() == 0, terminal.output
            return terminal.output

    def status(self) -> dict[str, Any]:
        return json.loads(self.run("status", "--json").stdout)

    def tunnel(self) -> dict[str, Any]:
        """What status says of the hop."""
        tunnels = self.status()["tunnels"]
        return next((t for t in tunnels if t["cluster"] == self.cluster), {"state": None})

    def await_tunnel(self, state: str, timeout: float = 60) -> dict[str, Any]:
        return wait_until(
            lambda: (t := self.tunnel())["state"] == state and t, f"the hop to be {state}", timeout
        )

    def events(self) -> list[dict[str, Any]]:
        """What gearsd here tells of."""
        return [json.loads(line) for line in self.run("events", "--json").stdout.splitlines()]

    @contextlib.contextmanager
    def degrades(self) -> Iterator[None]:
        """What is done within makes the hop silent. Seen by its event: a hop of keys may be so for
        a second only."""
        newest = self.events()[-1]

        def told() -> bool:
            return any(
                event["event"] == "degraded" and event["message"].startswith(f"{self.cluster}: ")
                for event in self.events()
                if (event["epoch"], event["seq"] > newest["seq"]) == (newest["epoch"], True)
            )

        yield
        wait_until(told, "that the hop is silent")

    def far_service(self, name: str = "lab") -> dict[str, Any]:
        """Its row in status, which gives a cluster one second to answer."""

        def row() -> dict[str, Any] | None:
            found = [s for s in self.status()["services"] if s["name"] == name]
            return next((s for s in found if s["cluster"] == self.cluster), None)

        return wait_until(row, f"{name}@{self.cluster} in status")

    def lab(self) -> LabClient:
        """The lab as the laptop's forward reaches it."""
        url = self.run("url", f"lab@{self.cluster}").stdout.strip()
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)
        return LabClient(self.olcf.gears.home / f"run/{self.cluster}.sck", query["token"][0])

    def processes(self, program: str) -> Iterator[int]:
        """Those of the hub that run this program: their numbers on this machine."""
        for pid in self.hub.all_processes():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/comm").read_text().strip()
                if re.fullmatch(f"{program[:15]}.*", words):
                    yield pid

    def tunnel_processes(self) -> list[int]:
        return list(self.processes("gears-tunnel"))

    def kill(self, pid: int, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # its parent may have ended it
            os.kill(pid, number)

    def kill_daemon(self) -> None:
        pids = list(self.processes("gearsd"))
        assert len(pids) == 1, pids
        os.kill(pids[0], 9)
        wait_until(lambda: not list(self.processes("gearsd")), "the end of gearsd")
