"""A service that prints without end and measures how long any of its writes was held up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from conftest import Gears
from processes import wait_until

# Prints numbered lines of 1000 bytes, paced to the rate; what it measured is in a file.
PROGRAM = """
import json, os, sys, time
path, pause = sys.argv[1], float(sys.argv[2])
worst, lines, last = 0.0, 0, time.monotonic()
while True:
    begin = time.monotonic()
    os.write(1, b"%010d %s\\n" % (lines, b"x" * 988))
    now = time.monotonic()
    worst, lines = max(worst, now - begin), lines + 1
    if now - last > 0.05:
        last = now
        with open(path + ".new", "w") as out:
            json.dump({"worst": worst, "lines": lines}, out)
        os.rename(path + ".new", path)
    time.sleep(pause)
"""


class Chatter:
    """Runs as service `name`; `pause` is between two lines, in seconds."""

    def __init__(self, gears: Gears, folder: Path, pause: float = 0, name: str = "talk") -> None:
        self.gears = gears
        self.name = name
        self.report = folder / f"{name}.json"
        program = folder / f"{name}.py"
        program.write_text(PROGRAM)
        words = ["python3", str(program), str(self.report), str(pause)]
        gears.run("run", name, "--", *words)
        wait_until(self.report.exists, "its first lines")

    def measured(self) -> dict[str, Any]:
        return json.loads(self.report.read_text())

    def await_lines(self, more: int, timeout: float = 60) -> None:
        """Wait until it has printed so many lines more."""
        goal = self.measured()["lines"] + more
        wait_until(lambda: self.measured()["lines"] >= goal, f"{more} lines more", timeout)
