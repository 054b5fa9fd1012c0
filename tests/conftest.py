"""A private Gears for each test: its own short GEARS_HOME, and nothing left of it afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_client import LabClient
from processes import alive, wait_until

SOURCE = Path(__file__).parents[1]
# Where JupyterLab is: the current one, and one with the jupyter_server of Debian 12.
CURRENT_VENV = os.environ.get("GEARS_TEST_VENV", sys.prefix)
OLD_VENV = os.environ.get("GEARS_TEST_OLD_VENV", "")


class Gears:
    """Runs gearsctl of the build under test (GEARS_BIN) in a home of its own."""

    def __init__(self, home: Path, venv: str = CURRENT_VENV) -> None:
        self.home = home
        self.prefix: list[str] = []  # what leads onto another host
        self.venv = venv
        self.bin = Path(os.environ.get("GEARS_BIN", SOURCE / "build/release/bin"))
        self.workspace = home / "work"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("GEARS_", "JUPYTER"))},
            "HOME": str(home / "user"),
            "GEARS_HOME": str(home),
            "GEARS_SITE_CONFIG": str(home / "no-site.conf"),
            # Sanitized daemons have no terminal to say it on, and give back what they freed.
            "ASAN_OPTIONS": f"log_path={home}/asan:quarantine_size_mb=1",
        }
        self.workspace.mkdir()
        (home / "user").mkdir()
        (home / "etc").mkdir()
        (home / "etc/gears.conf").write_text(
            f"[service:lab]\nkind = jupyter\nenv = {venv}\nworkspace = {self.workspace}\n"
        )

    def run(
        self, *words: str, check: bool = True, input: str = ""
    ) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [*self.prefix, str(self.bin / "gearsctl"), *words],
            env=self.environment,
            input=input,
            capture_output=True,
            text=True,
            timeout=180,
        )
        if check:
            assert result.returncode == 0, f"gearsctl {words}: {result.stdout}{result.stderr}"
        return result

    def status(self, name: str = "lab") -> dict[str, Any]:
        services = json.loads(self.run("status", "--json").stdout)["services"]
        return next(service for service in services if service["name"] == name)

    def names(self) -> list[str]:
        services = json.loads(self.run("status", "--json").stdout)["services"]
        return [service["name"] for service in services]

    def daemon_pid(self) -> int:
        return json.loads(self.run("status", "--json").stdout)["daemon"]["pid"]

    def kill_daemon(self) -> None:
        pid = self.daemon_pid()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not alive(pid), "the end of gearsd")

    def url(self) -> str:
        """The address with its token."""
        return self.run("url", "lab").stdout.strip()

    def client(self) -> LabClient:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.url()).query)
        return LabClient(Path(self.status()["socket"]), query["token"][0])

    def processes(self) -> list[int]:
        """Every process that was given this home."""
        mark = b"GEARS_HOME=" + os.fsencode(self.home) + b"\0"
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def explain(self) -> str:
        """What gearsd and the services wrote, for the report of a failed test."""
        logs = sorted(self.home.glob("log/*/*")) + sorted(self.home.glob("log/*/*/*"))
        files = [path for path in logs if path.is_file()]
        return "\n".join(f"--- {path}\n{path.read_text('utf-8', 'replace')}" for path in files)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first: the others go on beside it."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for value in item.funcargs.values():
            if isinstance(value, Gears):
                report.sections.append(("what Gears wrote", value.explain()))
    return report


@contextlib.contextmanager
def private_gears(venv: str = CURRENT_VENV) -> Iterator[Gears]:
    home = Path(tempfile.mkdtemp(prefix="g", dir="/tmp"))
    gears = Gears(home, venv)
    try:
        yield gears
    finally:
        if gears.processes():
            gears.run("daemon", "stop", "--services", "--yes")
            wait_until(lambda: not gears.processes(), "the end of every process")
        reports = [path.read_text("utf-8", "replace") for path in home.glob("asan.*")]
        shutil.rmtree(home)
        assert not reports, "\n".join(reports)


@pytest.fixture
def gears() -> Iterator[Gears]:
    with private_gears() as gears:
        yield gears
