"""What doctor says: the report of a run, here or among other system files."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from conftest import Gears


def examine(gears: Gears, *words: str) -> dict[str, Any]:
    result = gears.run("doctor", "--json", *words, check=False)
    report = json.loads(result.stdout)
    open_findings = [finding for finding in report["findings"] if not finding["fixed"]]
    assert result.returncode == (1 if open_findings else 0), result.stdout
    assert report["schema"] == 1
    for finding in report["findings"]:
        assert finding["check"] in report["checks"]
        assert finding["message"] and finding["remedy"]
        assert "\n" not in finding["message"] + finding["remedy"]
    # /tmp is everybody's: what a run beside this one leaves there is not this test's matter.
    report["findings"] = [f for f in report["findings"] if f["check"] != "short-folders"]
    return report


def only(report: dict[str, Any], check: str) -> dict[str, Any]:
    found = report["findings"]
    assert [finding["check"] for finding in found] == [check], report
    return found[0]


def this_host(gears: Gears) -> str:
    return json.loads(gears.run("doctor", "--json", check=False).stdout)["host"]


def apart(gears: Gears, script: str) -> dict[str, Any]:
    """doctor's report in a mount namespace that `script` prepares."""
    program = str(gears.bin / "gearsctl")
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", script + '\nexec "$0" doctor --json', program],
        env=gears.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if not result.stdout:
        pytest.skip(f"cannot put other system files in place: {result.stderr}")
    return json.loads(result.stdout)
