"""A service that shows when it runs twice at once, and how often it was started."""

from __future__ import annotations

import os
from pathlib import Path

from conftest import Gears
from processes import alive


class Once:
    """Holds a lock while it runs: a second instance notes that it was doubled and ends."""

    def __init__(self, gears: Gears, name: str = "once", keys: str = "") -> None:
        self.gears = gears
        self.name = name
        self.folder = gears.home / f"of-{name}"
        self.folder.mkdir()
        self.script = self.folder / "run.sh"
        self.script.write_text(
            f"cd {self.folder}\n"
            "exec 9>lock\n"
            "flock -n 9 || { echo $$ >>doubled; exit 3; }\n"
            "echo $$ >>started\n"
            "echo up\n"
            "exec sleep 1000\n"
        )
        with (gears.home / "etc/gears.conf").open("a") as conf:
            conf.write(
                f"[service:{name}]\nkind = command\ncommand = sh {self.script}\n"
                f"ready = log:^up$\n{keys}"
            )

    @property
    def argv(self) -> list[str]:
        return ["sh", str(self.script)]

    def starts(self) -> int:
        started = self.folder / "started"
        return len(started.read_text().split()) if started.exists() else 0

    def running(self) -> list[int]:
        """Every process of its tree, whoever its keeper is."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if not entry.name.isdigit() or not alive(int(entry.name)):
                    continue
                cwd = os.readlink(entry / "cwd")
            except OSError:
                continue
            if cwd == str(self.folder):
                found.append(int(entry.name))
        return found

    def check_never_doubled(self) -> None:
        assert not (self.folder / "doubled").exists(), "it ran twice at once"
        assert len(self.running()) <= 1, self.running()
