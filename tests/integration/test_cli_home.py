"""Where Gears cannot run, or may not: homes that are none, and sites that switched it off."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from conftest import Gears


def test_a_site_may_switch_gears_off(gears: Gears) -> None:
    site = Path(gears.environment["GEARS_SITE_CONFIG"])
    site.write_text("[defaults]\ndisabled = not on these nodes; write to help@example.org\n")
    result = gears.run("status", check=False)
    site.unlink()
    assert result.returncode == 5
    assert "Gears is disabled on this site: not on these nodes" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("home", "status", "line"),
    [
        ("relative", 1, 'GEARS_HOME is "relative"; it must be an absolute path'),
        ("/", 1, 'GEARS_HOME is "/"; set it to a folder of its own'),
        ("//", 1, 'GEARS_HOME is "/"'),
        ("/proc/nothing", 5, "cannot make /proc/nothing"),
        ("/etc/passwd", 5, "/etc/passwd must be a folder that belongs to you"),
        (f"/tmp/{'x' * 2000}", 1, "GEARS_HOME is longer than"),
    ],
)
def test_a_home_that_cannot_be(gears: Gears, home: str, status: int, line: str) -> None:
    result = subprocess.run(
        [str(gears.bin / "gearsctl"), "status"],
        env={**gears.environment, "GEARS_HOME": home},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.returncode, result.stdout) == (status, "")
    assert line in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_home_that_is_read_only(gears: Gears) -> None:
    script = 'mount --bind "$GEARS_HOME" "$GEARS_HOME" && mount -o remount,ro,bind "$GEARS_HOME"'
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    words = [*unshare, "sh", "-c", f'{script} || exit 99; exec "$0" start lab']
    result = subprocess.run(
        [*words, str(gears.bin / "gearsctl")],
        env=gears.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if result.returncode == 99 or "unshare" in result.stderr:
        pytest.skip("the right to mount is needed")
    assert result.returncode == 5
    assert "Read-only file system" in result.stderr
    assert result.stderr.count("\n") == 1
