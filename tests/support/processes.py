"""Waiting for what other processes do."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def wait_until(condition: Callable[[], Any], what: str, timeout: float = 60) -> Any:
    """Wait for something another process does; its value when it is true."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {timeout} s")


def tell(fifo: Path, words: str) -> None:
    """Write to a FIFO as soon as somebody reads from it."""

    def reached() -> int:
        with contextlib.suppress(OSError):  # ENXIO: nobody reads
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        return 0

    pipe = wait_until(reached, f"that somebody reads from {fifo}")
    os.write(pipe, words.encode())
    os.close(pipe)


def connects(path: Path) -> bool:
    """Whether somebody listens at this Unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def sleeps(pid: int) -> bool:
    """Whether it waits for something, rather than for its turn."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "S"


def alive(pid: int) -> bool:
    """Whether the process is there and no zombie.

    A killed process is a zombie before the last of its threads has ended, and with it its files.
    """
    process = Path(f"/proc/{pid}")
    try:
        state = (process / "stat").read_text().rsplit(")", 1)[1].split()[0]
        return state != "Z" or len(list((process / "task").iterdir())) > 1
    except OSError:
        return False


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
