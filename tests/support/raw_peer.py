"""Sockets spoken to without any client library, as a hostile or broken program would."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from processes import wait_until

MANAGER = "org.gears.Manager"
NOBODY = 65534


class Peer:
    """One connection to a Varlink socket."""

    def __init__(self, path: Path) -> None:
        self.socket = connect(path, socket.SOCK_STREAM)
        self.left = b""

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def call(self, method: str, parameters: Any = None, **flags: Any) -> None:
        message = {"method": method, "parameters": parameters or {}, **flags}
        self.socket.sendall(json.dumps(message).encode() + b"\0")

    def hear(self, timeout: float = 30) -> dict[str, Any] | None:
        """The next message; None when the other end is over."""
        end = time.monotonic() + timeout
        while b"\0" not in self.left:
            self.socket.settimeout(max(end - time.monotonic(), 0.001))
            try:
                piece = self.socket.recv(1 << 20)
            except ConnectionResetError:
                piece = b""
            except TimeoutError:
                raise AssertionError(f"no answer and no end within {timeout} s") from None
            if not piece:
                assert not self.left, f"half a message: {self.left[:200]!r}"
                return None
            self.left += piece
        message, self.left = self.left.split(b"\0", 1)
        return json.loads(message)

    def ask(self, method: str, parameters: Any = None, **flags: Any) -> dict[str, Any] | None:
        self.call(method, parameters, **flags)
        return self.hear()

    def says_nothing(self) -> bool:
        return not self.left and not select.select([self.socket], [], [], 0)[0]


def connect(path: Path, kind: int) -> socket.socket:
    """Connect, waiting while the backlog is full."""
    end = time.monotonic() + 30
    while True:
        peer = socket.socket(socket.AF_UNIX, kind)
        peer.settimeout(30)
        try:
            peer.connect(str(path))
            return peer
        except BlockingIOError:
            peer.close()
            assert time.monotonic() < end, f"the backlog of {path} stays full"
            time.sleep(0.001)


def memory(pid: int) -> int:
    """Bytes of resident memory."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def connections(path: Path) -> int:
    """How many connections the listener at the path has accepted and still holds."""
    # The kernel names the file as it was bound: "PATH.TAG", beside its place and then renamed.
    held = re.compile(rf"(?:\S+ +){{5}}03 +\d+ {re.escape(str(path))}(?:\.\w+)?")
    return sum(1 for line in Path("/proc/net/unix").read_text().splitlines() if held.match(line))


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def wait_until_idle(pid: int, timeout: float = 20) -> None:
    """Until a while passes without one tick of CPU time: a loop that spins never gets there."""

    def rests() -> bool:
        before = cpu_ticks(pid)
        time.sleep(0.1)
        return cpu_ticks(pid) == before

    wait_until(rests, f"rest of process {pid}", timeout)


class OpenedToAll:
    """A socket and the folders above it, opened to every user while this lasts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.modes: list[tuple[Path, int]] = []

    def __enter__(self) -> OpenedToAll:
        for item in [self.path, *self.path.parents]:
            mode = stat.S_IMODE(item.stat().st_mode)
            wanted = mode | (0o666 if item == self.path else 0o011)
            if mode != wanted:
                item.chmod(wanted)
                self.modes.append((item, mode))
        return self

    def __exit__(self, *_: object) -> None:
        for item, mode in self.modes:
            item.chmod(mode)


KNOCK = """
import socket, sys
peer = socket.socket(socket.AF_UNIX, int(sys.argv[2]))
peer.settimeout(20)
peer.connect(sys.argv[1])
try:
    peer.send(bytes.fromhex(sys.argv[3]))
    print(peer.recv(1000))
except (ConnectionResetError, BrokenPipeError):
    print(b"")
"""


def knock_as_nobody(path: Path, kind: int, said: bytes) -> str:
    """Connect and say something as a user who is not ours (only root can); the answer's repr."""
    setpriv = shutil.which("setpriv")
    assert setpriv, "setpriv (util-linux) is missing"
    python = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
    with OpenedToAll(path):
        result = subprocess.run(
            [
                *(setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
                *(python, "-c", KNOCK, str(path), str(int(kind)), said.hex()),
            ],
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()
