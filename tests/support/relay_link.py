"""A gears-relay of its own, led by the test over the internal protocol as gearsd leads it."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import re
import select
import signal
import socket
import struct
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from processes import sleeps, wait_until

SOURCE = Path(__file__).parents[2]
BIN = Path(os.environ.get("GEARS_BIN", SOURCE / "build/release/bin"))
NUMBERS = {
    name: int(value)
    for name, value in re.findall(
        r"\bLINK_(\w+)\s*=\s*(\d+)", (SOURCE / "common/link_messages.h").read_text()
    )
}
NAMES = {value: name for name, value in NUMBERS.items() if name.startswith("RELAY_")}
NAMES.update({NUMBERS[name]: name for name in ("ERROR", "UNSUPPORTED")})
TAGS = {value: name[4:] for name, value in NUMBERS.items() if name.startswith("TAG_")}
WHOLE = ("TYPE", "ERRNO", "PID", "DRAINING", "SLOT", "PORT", "FEEDS")
COUNTERS = ("connections", "accepted", "bytes_in", "bytes_out", "refused", "failed", "last_used_us")
SLOT_BYTES = 64


def parse(frame: bytes) -> tuple[int, int, dict[str, Any]]:
    """Type, request and fields of a frame."""
    kind, request = struct.unpack_from("<HI", frame, 2)
    fields: dict[str, Any] = {}
    at = 8
    while at < len(frame):
        tag, _, size = struct.unpack_from("<HHI", frame, at)
        raw = frame[at + 8 : at + 8 + size]
        fields[TAGS[tag]] = struct.unpack("<Q", raw)[0] if TAGS[tag] in WHOLE else raw.decode()
        at += 8 + size
    return kind, request, fields


class RelayError(Exception):
    """The relay refused an order."""


class Relay:
    """Starts gears-relay with `folder` as its run directory; tests are its controller.

    With `nofile` it has no more descriptors than that.
    """

    def __init__(self, folder: Path, nofile: int = 0) -> None:
        self.folder = folder
        self.logs = folder / "sanitizer"
        self.logs.mkdir()
        self.slots: dict[str, int] = {}
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.request = 1
        with (BIN / "gears-relay").open("rb") as program:
            os.fsync(program)  # pages just built and not on the disk yet would count as its own
        self.link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.link.settimeout(60)
        high = fcntl.fcntl(theirs.fileno(), fcntl.F_DUPFD_CLOEXEC, 10)
        theirs.close()
        environment = {
            **os.environ,
            "ASAN_OPTIONS": f"log_path={self.logs}/asan",
            "UBSAN_OPTIONS": f"log_path={self.logs}/ubsan:print_stacktrace=1",
        }
        words = ["prlimit", f"--nofile={nofile}:{nofile}"] if nofile else []
        words.append(str(BIN / "gears-relay"))
        starter = os.posix_spawnp(
            words[0], words, environment, file_actions=[(os.POSIX_SPAWN_DUP2, high, 3)]
        )
        os.close(high)
        os.waitpid(starter, 0)
        self._send(
            "RELAY_START",
            1,
            RUN_DIR=str(folder),
            LINK_PATH=str(folder / "relay.sck"),
            NONCE="0" * 32,
            BUILD="test",
        )
        _, status, fds = self._receive()
        self.pid = int(status["PID"])
        self.handle = os.pidfd_open(self.pid)
        self.memory = mmap.mmap(fds[0], 0, prot=mmap.PROT_READ)
        os.close(fds[0])

    def _send(self, kind: str, request: int, **fields: str | int | None) -> None:
        frame = struct.pack("<cBHI", b"G", 1, NUMBERS[kind], request)
        for tag, value in fields.items():
            if value is not None:
                raw = value.encode() if isinstance(value, str) else struct.pack("<Q", value)
                frame += struct.pack("<HHI", NUMBERS[f"TAG_{tag}"], 0, len(raw)) + raw
        self.link.send(frame)

    def _receive(self) -> tuple[tuple[str, int], dict[str, Any], list[int]]:
        frame, fds, _, _ = socket.recv_fds(self.link, 1 << 17, 4)
        if not frame:
            raise EOFError("the relay ended")
        kind, request, fields = parse(frame)
        return (NAMES[kind], request), fields, fds

    def order(self, kind: str, **fields: str | int | None) -> dict[str, Any]:
        """Give an order and wait for its answer; what the relay tells meanwhile is kept."""
        self.request += 1
        self._send(kind, self.request, **fields)
        while True:
            (answer, request), fields_told, fds = self._receive()
            for fd in fds:
                os.close(fd)
            if request != self.request:
                self.told.append((answer, fields_told))
            elif answer == "ERROR":
                raise RelayError(fields_told["TEXT"])
            else:
                return fields_told

    def wait_told(self, kind: str) -> dict[str, Any]:
        """Wait until the relay tells of something by itself; it is told once."""
        while True:
            for i, (told, fields) in enumerate(self.told):
                if told == kind:
                    del self.told[i]
                    return fields
            (told, _), fields, _ = self._receive()
            self.told.append((told, fields))

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
        values = struct.unpack_from("<7Q", self.memory, self.slots[name] * SLOT_BYTES)
        return dict(zip(COUNTERS, values))

    def wait_end(self, timeout: float = 60) -> None:
        """Wait for the process's end."""
        assert select.select([self.handle], [], [], timeout)[0], (
            f"gears-relay does not end; its descriptors: {self.descriptors()}"
        )

    def descriptors(self) -> dict[int, str]:
        """What each open descriptor of the relay is."""
        found = {}
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                found[int(entry.name)] = os.readlink(entry)
            except OSError:
                continue
        return found

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

    def memory_kb(self, what: str) -> int:
        """A line of /proc/PID/status or smaps_rollup."""
        folder = Path(f"/proc/{self.pid}")
        text = (folder / "status").read_text() + (folder / "smaps_rollup").read_text()
        found = re.search(rf"^{what}:\s*(\d+)", text, re.M)
        assert found, what
        return int(found[1])

    def wakeups(self) -> int:
        """How often the process has slept so far."""
        return self.memory_kb("voluntary_ctxt_switches")

    def cpu_ticks(self) -> int:
        """Processor time it took so far, in 1/100 s."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def settle(self) -> None:
        """Wait until it sleeps: it was heard of nothing new and did nothing for a while."""
        wait_until(self._sleeps_on, "that the relay comes to rest")

    def _sleeps_on(self) -> bool:
        self.order("HELLO")
        before = self.wakeups()
        asleep = sleeps(self.pid)
        time.sleep(0.5)
        return asleep and sleeps(self.pid) and self.wakeups() == before

    def stop(self) -> None:
        signal.pidfd_send_signal(self.handle, signal.SIGSTOP)
        stat = Path(f"/proc/{self.pid}/stat")
        wait_until(lambda: stat.read_text().rsplit(")", 1)[1].split()[0] == "T", "the stop")

    def cont(self) -> None:
        signal.pidfd_send_signal(self.handle, signal.SIGCONT)

    def is_sanitized(self) -> bool:
        return "asan" in Path(f"/proc/{self.pid}/maps").read_text()

    def has_ended(self) -> bool:
        return bool(select.select([self.handle], [], [], 0)[0])

    def finish(self) -> None:
        """Drain: it ends by itself if every connection was ended properly."""
        if not self.has_ended():
            self.order("RELAY_DRAIN")
            self.wait_end()
        complaints = [log.read_text() for log in self.logs.iterdir()]
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
