"""A file system that can be made to hang like one of a dead NFS server, and to come back.

sshfs over two pipes with its sftp-server: while that is stopped, every access waits in the kernel.
Sockets cannot be bound on it; `door` leads through it to a folder where they can.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import wait_until

SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server")


class HangingMount:
    """`source` seen at `path`; use as a context manager. Skips the test where FUSE is denied."""

    def __init__(self, source: Path, path: Path) -> None:
        self.source = source
        self.path = path
        server = next((name for name in SFTP_SERVERS if Path(name).exists()), None)
        if not (server and shutil.which("sshfs") and os.access("/dev/fuse", os.R_OK | os.W_OK)):
            pytest.skip("sshfs, an sftp-server and the right to use /dev/fuse are needed")
        self.server_program = server
        self.doors: list[Path] = []

    def __enter__(self) -> HangingMount:
        self.source.mkdir(exist_ok=True)
        self.path.mkdir(exist_ok=True)
        down, up = os.pipe(), os.pipe()
        self.server = subprocess.Popen([self.server_program], stdin=down[0], stdout=up[1])
        options = "passive,cache=no,dcache_max_size=0,entry_timeout=0,attr_timeout=0"
        self.client = subprocess.Popen(
            ["sshfs", "-f", "-o", options, f":{self.source}", str(self.path)],
            stdin=up[0],
            stdout=down[1],
        )
        for end in (*down, *up):
            os.close(end)
        wait_until(lambda: self.path.is_mount() or self.client.poll(), "the mount")
        assert self.client.poll() is None, "sshfs did not mount"
        return self

    def door(self, target: Path) -> Path:
        """A path to `target` that hangs with the mount."""
        (self.source / "door").mkdir()
        door = self.path / "door"
        bound = subprocess.run(["mount", "--bind", str(target), str(door)], capture_output=True)
        if bound.returncode:
            pytest.skip("the right to mount is needed")
        self.doors.append(door)
        return door

    def hang(self) -> None:
        self.server.send_signal(signal.SIGSTOP)

    def answer(self) -> None:
        self.server.send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """Hangs within the block; a failure in it does not leave it so for who reports it."""
        self.hang()
        try:
            yield
        finally:
            self.answer()

    def __exit__(self, *_: object) -> None:
        self.answer()
        for door in self.doors:
            subprocess.run(["umount", "-l", str(door)], check=True)
        unmount = shutil.which("fusermount3") or shutil.which("fusermount") or "fusermount3"
        subprocess.run([unmount, "-u", "-z", str(self.path)], check=False)
        for process in (self.client, self.server):
            process.terminate()
            process.wait(60)
