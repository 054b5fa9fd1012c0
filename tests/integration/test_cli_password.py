"""Passwords from standard input: whole, or not at all."""

from __future__ import annotations

import subprocess

import pytest
from conftest import Gears


@pytest.mark.parametrize("length", [256, 257, 400])
def test_a_password_is_not_cut(gears: Gears, length: int) -> None:
    result = gears.run("password", "--stdin", check=False, input="x" * length + "\n")
    settings = gears.home / "user/.jupyter/jupyter_server_config.json"
    if length <= 256:
        assert result.returncode == 0, result.stderr
    else:
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr == (
            "gearsctl: a password has at most 256 bytes; nothing was changed\n"
        )
        assert not settings.exists()


def test_a_password_that_cannot_be_read(gears: Gears) -> None:
    script = 'exec "$0" password --stdin <"$GEARS_HOME"'
    words = ["sh", "-c", script, str(gears.bin / "gearsctl")]
    result = subprocess.run(words, env=gears.environment, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (1, "")
    assert "cannot be read: Is a directory; nothing was changed" in result.stderr
