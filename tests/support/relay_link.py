"""A gears-relay of its own, led by the test over the internal protocol as gearsd leads it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import struct
import termios
from collections.abc import Callable
from pathlib import Path

import link_frames
from helper_process import HelperProcess
from link_frames import BIN, NUMBERS, Fields
from processes import wait_until


class RelayError(Exception):
    """The relay refused an order."""


class Relay(HelperProcess):
    """Starts gears-relay with `folder` as its run directory; tests are its controller.

    With `nofile` it has no more descriptors than that.
    """

    program = "gears-relay"
    error = RelayError

    def __init__(self, folder: Path, nofile: int = 0) -> None:
        self.slots: dict[str, int] = {}
        with (BIN / self.program).open("rb") as program:
            os.fsync(program)  # pages just built and not on the disk yet would count as its own
        start: Fields = {
            "RUN_DIR": str(folder),
            "LINK_PATH": str(folder / "relay.sck"),
            "NONCE": "0" * 32,
            "BUILD": "test",
        }
        limited = ("prlimit", f"--nofile={nofile}:{nofile}") if nofile else ()
        super().__init__(folder, "RELAY_START", start, limited)

    def put(
        self,
        name: str,
        target: Path | int,
        state: str = "UP",
        wait_ms: int = 60000,
        cause: str = "",
        feed: Path | str | None = None,
    ) -> None:
        """Create or change a service; a number is the TCP port it listens on.

        With `feed`, where a tunnel listens, the target is a path on the hop's far side.
        """
        port = target if isinstance(target, int) else None
        answer = self.order(
            "RELAY_SERVICE",
            SERVICE=name,
            TARGET_PATH=None if port else str(target),
            TARGET_PORT=port,
            FEED_PATH=None if feed is None else str(feed),
            SERVICE_STATE=NUMBERS[f"SERVICE_{state}"],
            WAIT_MS=wait_ms,
            TEXT=cause,
            COMMAND=f"gearsctl start {name}",
        )
        self.slots[name] = answer["SLOT"]

    def listen(self, name: str, path: Path | None = None) -> Path:
        path = path or self.folder / f"{name}.sck"
        self.order("RELAY_LISTEN", SERVICE=name, LISTEN_PATH=str(path))
        return path

    def listen_port(self, name: str) -> int:
        return self.order("RELAY_LISTEN", SERVICE=name, LISTEN_PORT=0)["PORT"]

    def counters(self, name: str) -> dict[str, int]:
        return link_frames.counters(self.memory, self.slots[name])

    def pipes(self) -> list[int]:
        """The reading ends of the relay's pipes."""
        found = []
        for fd, what in self.descriptors().items():
            with contextlib.suppress(FileNotFoundError):
                if what.startswith("pipe:") and not self.descriptor_flags(fd) & os.O_WRONLY:
                    found.append(fd)
        return found

    def descriptor_flags(self, fd: int) -> int:
        """As fcntl F_GETFL, with O_CLOEXEC."""
        info = Path(f"/proc/{self.pid}/fdinfo/{fd}").read_text()
        flags = re.search(r"^flags:\s*(\d+)", info, re.M)
        assert flags
        return int(flags[1], 8)

    def _ask_pipes(self, ask: Callable[[int], int]) -> list[int]:
        answers = []
        for fd in self.pipes():
            with contextlib.suppress(FileNotFoundError):
                pipe = os.open(f"/proc/{self.pid}/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK)
                answers.append(ask(pipe))
                os.close(pipe)
        return answers

    def held_bytes(self) -> list[int]:
        """How much each pipe holds, of those that hold something."""
        answers = self._ask_pipes(
            lambda fd: struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"0000"))[0]
        )
        return [held for held in answers if held]

    def pipe_sizes(self) -> list[int]:
        get_pipe_size = 1032  # F_GETPIPE_SZ; Python 3.10 has the name
        return self._ask_pipes(lambda fd: fcntl.fcntl(fd, get_pipe_size))

    def stop(self) -> None:
        signal.pidfd_send_signal(self.handle, signal.SIGSTOP)
        stat = Path(f"/proc/{self.pid}/stat")
        wait_until(lambda: stat.read_text().rsplit(")", 1)[1].split()[0] == "T", "the stop")

    def cont(self) -> None:
        signal.pidfd_send_signal(self.handle, signal.SIGCONT)

    def finish(self) -> None:
        """Drain: it ends by itself if every connection was ended properly."""
        if not self.has_ended():
            self.order("RELAY_DRAIN")
            self.wait_end()
        self.check_logs()
