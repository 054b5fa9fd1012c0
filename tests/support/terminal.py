"""A program on a terminal of its own, as a person would have it."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import termios
import time
from collections.abc import Mapping


def restore_signals() -> None:
    """For children: as a shell starts them, though we may run in a background without ^C."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)


class Terminal:
    """Runs one program in the foreground of a new terminal; use as a context manager."""

    def __init__(self, words: list[str], environment: Mapping[str, str]) -> None:
        self.output = ""
        self.master, self.slave = pty.openpty()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *words],
            env={**environment, "TERM": environment.get("TERM", "xterm")},
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            preexec_fn=restore_signals,
        )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)
        for fd in (self.master, self.slave):
            with contextlib.suppress(OSError):
                os.close(fd)

    def expect(self, words: str, timeout: float = 60) -> str:
        """Read until `words` stand in the output; all output so far."""
        end = time.monotonic() + timeout
        while words not in self.output:
            left = end - time.monotonic()
            assert left > 0, f"no {words!r} in {self.output!r}"
            if select.select([self.master], [], [], left)[0]:
                self.output += os.read(self.master, 4096).decode(errors="replace")
        return self.output

    def forget(self) -> None:
        """Expect nothing more of what was printed until now."""
        self.output = ""

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.slave)[3] & termios.ECHO)

    def take_line(self) -> str:
        """What a shell that comes after the program would read as its first line."""
        self.type("\n")
        return os.read(self.slave, 4096).decode(errors="replace")

    def wait(self, timeout: float = 60) -> int:
        """The exit status; what was printed until then is in `output`."""
        status = self.process.wait(timeout)
        while select.select([self.master], [], [], 0)[0]:
            self.output += os.read(self.master, 4096).decode(errors="replace")
        return status
