"""A helper process that the test starts and leads over the internal protocol as gearsd does."""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import select
import signal
import socket
import time
from pathlib import Path
from typing import Any

from link_frames import BIN, Fields, frame, parse
from processes import sleeps, wait_until


class HelperProcess:
    """Starts the program with one START; `link` is the controller's end.

    `prefix`: words that run it. What a sanitizer says is in `logs`.
    """

    program: str
    error: type[Exception]  # raised for an order that is refused

    def __init__(
        self, folder: Path, kind: str, start: Fields, prefix: tuple[str, ...] = ()
    ) -> None:
        self.folder = folder
        self.logs = folder / "sanitizer"
        self.logs.mkdir(exist_ok=True)
        self.told: list[tuple[str, int, Fields]] = []
        self.request = 1
        self.link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.link.settimeout(60)
        high = fcntl.fcntl(theirs.fileno(), fcntl.F_DUPFD_CLOEXEC, 10)
        theirs.close()
        environment = {
            **os.environ,
            "ASAN_OPTIONS": f"log_path={self.logs}/asan",
            "UBSAN_OPTIONS": f"log_path={self.logs}/ubsan:print_stacktrace=1",
        }
        words = [*prefix, str(BIN / self.program)]
        starter = os.posix_spawnp(
            words[0], words, environment, file_actions=[(os.POSIX_SPAWN_DUP2, high, 3)]
        )
        os.close(high)
        os.waitpid(starter, 0)
        self.link.send(frame(kind, 1, start))
        self._take_status()

    def _take_status(self) -> None:
        data, fds, _, _ = socket.recv_fds(self.link, 1 << 17, 4)
        kind, _, self.status = parse(data)
        if not kind.endswith("_STATUS"):
            raise self.error(self.status.get("TEXT", kind))
        self.pid = int(self.status["PID"])
        self.handle = os.pidfd_open(self.pid)
        self.memory = mmap.mmap(fds[0], 0, prot=mmap.PROT_READ)
        os.close(fds[0])

    # What it says.

    def _receive(self) -> tuple[str, int, Fields]:
        data, fds, _, _ = socket.recv_fds(self.link, 1 << 17, 4)
        if not data:
            raise EOFError(f"{self.program} ended")
        for fd in fds:
            os.close(fd)
        return parse(data)

    def send(self, kind: str, **fields: Any) -> int:
        self.request += 1
        self.link.send(frame(kind, self.request, fields))
        return self.request

    def answer_to(self, request: int) -> tuple[str, Fields]:
        """What it tells meanwhile is kept."""
        for i, (kind, number, fields) in enumerate(self.told):
            if number == request:
                del self.told[i]
                return kind, fields
        while True:
            kind, number, fields = self._receive()
            if number == request:
                return kind, fields
            self.told.append((kind, number, fields))

    def order(self, kind: str, **fields: Any) -> Fields:
        answer, told = self.answer_to(self.send(kind, **fields))
        if answer == "ERROR":
            raise self.error(told["TEXT"])
        return told

    def wait_told(self, kind: str) -> Fields:
        """Wait until it tells of something by itself; it is told once."""
        while True:
            for i, (told, request, fields) in enumerate(self.told):
                if told == kind and not request:
                    del self.told[i]
                    return fields
            self.told.append(self._receive())

    # The process.

    def memory_kb(self, what: str) -> int:
        """A line of /proc/PID/status or smaps_rollup."""
        folder = Path(f"/proc/{self.pid}")
        text = (folder / "status").read_text() + (folder / "smaps_rollup").read_text()
        found = re.search(rf"^{what}:\s*(\d+)", text, re.M)
        assert found, what
        return int(found[1])

    def wakeups(self) -> int:
        """How often it has slept so far."""
        return self.memory_kb("voluntary_ctxt_switches")

    def cpu_ticks(self) -> int:
        """Processor time it took so far, in 1/100 s."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def descriptors(self) -> dict[int, str]:
        """What each of its open descriptors is."""
        found = {}
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                found[int(entry.name)] = os.readlink(entry)
            except OSError:
                continue
        return found

    def settle(self) -> None:
        """Wait until it sleeps: it was told of nothing new and did nothing for a while."""
        wait_until(self._sleeps_on, f"that {self.program} comes to rest")

    def _sleeps_on(self) -> bool:
        self.order("HELLO")
        before = self.wakeups()
        asleep = sleeps(self.pid)
        time.sleep(0.5)
        return asleep and sleeps(self.pid) and self.wakeups() == before

    def is_sanitized(self) -> bool:
        return "asan" in Path(f"/proc/{self.pid}/maps").read_text()

    def has_ended(self) -> bool:
        return bool(select.select([self.handle], [], [], 0)[0])

    def wait_end(self, timeout: float = 60) -> None:
        assert select.select([self.handle], [], [], timeout)[0], (
            f"{self.program} does not end; its descriptors: {self.descriptors()}"
        )

    def check_logs(self) -> None:
        """A sanitizer found nothing. One that was killed while it made its log said nothing."""
        complaints = [words for log in self.logs.iterdir() if (words := log.read_text())]
        assert not complaints, "\n".join(complaints)

    def close(self) -> None:
        """Whatever it does."""
        if not self.has_ended():
            signal.pidfd_send_signal(self.handle, signal.SIGKILL)
        os.close(self.handle)
        self.link.close()
        self.memory.close()
        for log in self.logs.iterdir():
            print(log.read_text())
