"""A gears-tunnel of its own, led by the test over the internal protocol as gearsd leads it."""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import select
import signal
import socket
import struct
import time
from pathlib import Path
from typing import Any

from processes import sleeps, wait_until
from sshd import Sshd

SOURCE = Path(__file__).parents[2]
BIN = Path(os.environ.get("GEARS_BIN", SOURCE / "build/release/bin"))
NUMBERS = {
    name: int(value)
    for name, value in re.findall(
        r"\bLINK_(\w+)\s*=\s*(\d+)", (SOURCE / "common/link_messages.h").read_text()
    )
}
KINDS = {value: name for name, value in NUMBERS.items() if name.startswith("TUNNEL_")}
STATES = {NUMBERS[f"TUNNEL_{n}"]: n for n in ("CONNECTING", "PROMPTING", "UP", "DEGRADED", "DOWN")}
KINDS = {value: name for value, name in KINDS.items() if value >= NUMBERS["TUNNEL_START"]}
KINDS.update({NUMBERS[name]: name for name in ("ERROR", "UNSUPPORTED")})
CAUSES = {value: name[6:] for name, value in NUMBERS.items() if name.startswith("CAUSE_")}
TAGS = {value: name[4:] for name, value in NUMBERS.items() if name.startswith("TAG_")}
TEXTS = {"TEXT", "NONCE", "BUILD", "CLUSTER", "ADDRESS", "AUTH_METHOD", "PROMPT_ID", "NAME"}
TEXTS |= {"INSTRUCTION", "PROMPT_TEXT", "REPORT", "TARGET_PATH", "SERVICE"}
COUNTERS = ("connections", "accepted", "bytes_in", "bytes_out", "refused", "failed", "last_used_us")
NONCE = "0123456789abcdef" * 2
Fields = dict[str, Any]


def frame(kind: str, request: int, fields: dict[str, Any]) -> bytes:
    """A list gives a field for each of its values."""
    out = struct.pack("<cBHI", b"G", 1, NUMBERS[kind], request)
    for tag, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            raw = one.encode() if isinstance(one, str) else struct.pack("<Q", one)
            out += struct.pack("<HHI", NUMBERS[f"TAG_{tag}"], 0, len(raw)) + raw
    return out


def parse(data: bytes) -> tuple[str, int, Fields]:
    """What repeats is a list of all."""
    kind, request = struct.unpack_from("<HI", data, 2)
    fields: Fields = {}
    at = 8
    while at < len(data):
        tag, _, size = struct.unpack_from("<HHI", data, at)
        raw = data[at + 8 : at + 8 + size]
        name = TAGS[tag]
        value = raw.decode() if name in TEXTS else struct.unpack("<Q", raw)[0]
        if name in ("PROMPT_TEXT", "PROMPT_ECHO"):
            fields.setdefault(name, []).append(value)
        else:
            fields[name] = value
        at += 8 + size
    for name, names in (("TUNNEL_STATE", STATES), ("CAUSE", CAUSES)):
        if name in fields:
            fields[name] = names[fields[name]]
    return KINDS.get(kind, str(kind)), request, fields


def hop_record(server: Sshd, folder: Path, **more: str | int) -> str:
    """How a tunnel is told of a server: its key is known, and ours is in the folder."""
    known = folder / "known_hosts"
    known.write_text(server.known_hosts())
    lines = {
        "name": "andes",
        "host": server.address,
        "port": server.port,
        "user": "root",
        "identity": folder / "key",
        "known_hosts": known,
        **more,
    }
    text = "".join(f"{key}={value}\n" for key, value in lines.items())
    return f"gears-record 1\n{text}end {len(lines)}\n"


class TunnelError(Exception):
    """The tunnel refused an order."""


class Tunnel:
    """Starts gears-tunnel in `folder`; tests are its controller.

    `settings` are fields of TUNNEL_START that differ from those here.
    """

    def __init__(self, folder: Path, hops: list[str], **settings: str | int) -> None:
        self.folder = folder
        self.link_path = folder / "tunnel.sck"
        self.feed_path = folder / "feed.sck"
        self.record = folder / "exit.rec"
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
        program = str(BIN / "gears-tunnel")
        starter = os.posix_spawn(
            program, [program], environment, file_actions=[(os.POSIX_SPAWN_DUP2, high, 3)]
        )
        os.close(high)
        os.waitpid(starter, 0)
        start = {
            "CLUSTER": "andes",
            "NONCE": NONCE,
            "BUILD": "test",
            "LINK_PATH": str(self.link_path),
            "FEED_PATH": str(self.feed_path),
            "EXIT_RECORD": str(self.record),
            "TRANSPORT": "libssh2",
            "UNATTENDED": 0,
            "STEP_MS": 20000,
            "KEEPALIVE_MS": 30000,
            "KEEPALIVE_COUNT": 3,
            "DEAD_AFTER_MS": 600000,
            "SSH_HOP": hops,
            **settings,
        }
        self.link.send(frame("TUNNEL_START", 1, start))
        self._take_status()

    def _take_status(self) -> None:
        data, fds, _, _ = socket.recv_fds(self.link, 1 << 17, 4)
        kind, _, self.status = parse(data)
        if kind != "TUNNEL_STATUS":
            raise TunnelError(self.status.get("TEXT", kind))
        self.pid = int(self.status["PID"])
        self.handle = os.pidfd_open(self.pid)
        self.memory = mmap.mmap(fds[0], 0, prot=mmap.PROT_READ)
        os.close(fds[0])

    # What it says.

    def _receive(self) -> tuple[str, int, Fields]:
        data, fds, _, _ = socket.recv_fds(self.link, 1 << 17, 4)
        if not data:
            raise EOFError("the tunnel ended")
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
            raise TunnelError(told["TEXT"])
        return told

    def wait_told(self, kind: str) -> Fields:
        """Wait until it tells of something by itself; it is told once."""
        while True:
            for i, (told, request, fields) in enumerate(self.told):
                if told == kind and not request:
                    del self.told[i]
                    return fields
            self.told.append(self._receive())

    def wait_state(self, state: str) -> Fields:
        while True:
            fields = self.wait_told("TUNNEL_STATE")
            if fields["TUNNEL_STATE"] == state:
                return fields
            assert fields["TUNNEL_STATE"] != "DOWN", fields

    def run(self, command: str, timeout_ms: int = 20000) -> Fields:
        return self.order("TUNNEL_RUN", COMMAND=command, TIMEOUT_MS=timeout_ms)

    def now(self) -> Fields:
        """Its state, asked for."""
        return self.order("HELLO")

    def take_over(self) -> Tunnel:
        """A later gearsd connects; the one before finds itself closed."""
        old = self.link
        self.link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.link.settimeout(60)
        self.link.connect(str(self.link_path))
        os.close(self.handle)
        self.memory.close()
        self.send("HELLO")
        self._take_status()
        old.close()
        return self

    # Clients.

    def hand_over(self, target: Path | str, client: socket.socket, service: str = "lab") -> None:
        """As gears-relay does with a client it accepted."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as feed:
            feed.connect(str(self.feed_path))
            fields = {"TARGET_PATH": str(target), "SERVICE": service}
            socket.send_fds(feed, [frame("TUNNEL_OPEN", 0, fields)], [client.fileno()])
        client.close()

    def connect(self, target: Path | str, tcp: bool = False) -> socket.socket:
        """A client's end of a connection to the target."""
        if tcp:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                mine = socket.create_connection(listener.getsockname())
                theirs, _ = listener.accept()
        else:
            mine, theirs = socket.socketpair()
        mine.settimeout(60)
        self.hand_over(target, theirs)
        return mine

    # The process.

    def counters(self) -> dict[str, int]:
        return dict(zip(COUNTERS, struct.unpack_from("<7Q", self.memory)))

    def exit_record(self) -> dict[str, str]:
        lines = self.record.read_text().splitlines()
        return dict(line.split("=", 1) for line in lines[1:-1])

    def memory_kb(self, what: str) -> int:
        folder = Path(f"/proc/{self.pid}")
        text = (folder / "status").read_text() + (folder / "smaps_rollup").read_text()
        found = re.search(rf"^{what}:\s*(\d+)", text, re.M)
        assert found, what
        return int(found[1])

    def wakeups(self) -> int:
        return self.memory_kb("voluntary_ctxt_switches")

    def cpu_ticks(self) -> int:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def settle(self) -> None:
        """Wait until it sleeps, its first question to the server answered."""
        wait_until(lambda: self.now().get("RTT_US"), "the first answer")
        wait_until(self._sleeps_on, "that the tunnel comes to rest")

    def _sleeps_on(self) -> bool:
        before = self.wakeups()
        asleep = sleeps(self.pid)
        time.sleep(0.5)
        return asleep and sleeps(self.pid) and self.wakeups() == before

    def is_sanitized(self) -> bool:
        return "asan" in Path(f"/proc/{self.pid}/maps").read_text()

    def has_ended(self) -> bool:
        return bool(select.select([self.handle], [], [], 0)[0])

    def wait_end(self, timeout: float = 60) -> None:
        assert select.select([self.handle], [], [], timeout)[0], "gears-tunnel does not end"

    def finish(self) -> None:
        if not self.has_ended():
            self.order("TUNNEL_CLOSE", CAUSE=NUMBERS["CAUSE_CANCELLED"], TEXT="the test is over")
            self.wait_end()
        # One that was killed while it made its log said nothing.
        complaints = [words for log in self.logs.iterdir() if (words := log.read_text())]
        assert not complaints, "\n".join(complaints)
        assert not self.link_path.exists() and not self.feed_path.exists()

    def close(self) -> None:
        """Whatever it does."""
        if not self.has_ended():
            signal.pidfd_send_signal(self.handle, signal.SIGKILL)
        os.close(self.handle)
        self.link.close()
        self.memory.close()
        for log in self.logs.iterdir():
            print(log.read_text())
