"""Both ends of relayed connections: the test is the client and the service."""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from link_frames import parse
from relay_link import Relay

KINDS = ("uu", "ut", "tu")  # client, service: a Unix socket or TCP on loopback
TIMEOUT = 30.0
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


class Service:
    """A service behind the relay, whose listening socket the test holds."""

    def __init__(self, relay: Relay, kind: str, name: str = "", backlog: int = 1000) -> None:
        self.relay = relay
        self.name = name or kind
        self.kind = kind
        self.path = relay.folder / f"own-{self.name}.sck"
        self.backlog = backlog
        self.listener: socket.socket | None = None
        self.target: Path | int = self.path
        if kind[1] == "t":
            self.start()

    def start(self) -> None:
        """Listen; by TCP from the beginning, for the port's sake."""
        if self.listener:
            return
        if self.kind[1] == "u":
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(str(self.path))
        else:
            self.listener = socket.socket(socket.AF_INET)
            self.listener.bind(("127.0.0.1", 0))
            self.target = self.listener.getsockname()[1]
        self.listener.listen(self.backlog)
        self.listener.settimeout(TIMEOUT)

    def open(self, state: str = "UP", wait_ms: int = 60000) -> Service:
        """Tell the relay of it and open its public socket."""
        if state == "UP":
            self.start()
        self.relay.put(self.name, self.target, state, wait_ms)
        self.public = (
            self.relay.listen(self.name)
            if self.kind[0] == "u"
            else self.relay.listen_port(self.name)
        )
        return self

    def connect(self) -> socket.socket:
        """A client."""
        if isinstance(self.public, int):
            client = socket.socket(socket.AF_INET)
            client.connect(("127.0.0.1", self.public))
        else:
            client = socket.socket(socket.AF_UNIX)
            client.connect(str(self.public))
        client.settimeout(TIMEOUT)
        return client

    def accept(self) -> socket.socket:
        """The service's end of the next connection."""
        assert self.listener
        end, _ = self.listener.accept()
        end.settimeout(TIMEOUT)
        return end

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """A client and the service's end of it; nothing else may be connecting."""
        client = self.connect()
        return client, self.accept()

    def counters(self) -> dict[str, int]:
        return self.relay.counters(self.name)

    def close(self) -> None:
        if self.listener:
            self.listener.close()


class Feed:
    """A service behind a hop: the test is the tunnel that takes the relay's clients."""

    TARGET = "/home/u/gears/run/andes-login3.olcf/lab.sck"

    def __init__(self, relay: Relay, name: str = "lab@andes", backlog: int = 1000) -> None:
        self.relay = relay
        self.name = name
        self.path = relay.folder / "andes.feed"
        self.backlog = backlog
        self.listener: socket.socket | None = None

    def start(self) -> Feed:
        """Listen for clients."""
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(self.path))
        self.listener.listen(self.backlog)
        self.listener.settimeout(TIMEOUT)
        return self

    def put(self, state: str = "UP", wait_ms: int = 60000, cause: str = "") -> Feed:
        self.relay.put(self.name, Path(self.TARGET), state, wait_ms, cause, feed=self.path)
        return self

    def listen(self) -> Feed:
        self.public = self.relay.listen(self.name)
        return self

    def connect(self) -> socket.socket:
        """A client at the public Unix socket."""
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(TIMEOUT)
        client.connect(str(self.public))
        return client

    def take(self) -> socket.socket:
        """The next client as it was handed over."""
        assert self.listener
        giver, _ = self.listener.accept()
        with giver:
            giver.settimeout(TIMEOUT)
            frame, fds, _, _ = socket.recv_fds(giver, 1 << 17, 4)
            kind, _, fields = parse(frame)
            assert kind == "TUNNEL_OPEN"
            assert fields == {"TARGET_PATH": self.TARGET, "SERVICE": self.name}
            assert len(fds) == 1
            assert giver.recv(1) == b""  # one each, then it is closed
        client = socket.socket(fileno=fds[0])
        client.settimeout(TIMEOUT)
        return client

    def counters(self) -> dict[str, int]:
        return self.relay.counters(self.name)

    def close(self) -> None:
        if self.listener:
            self.listener.close()
            self.path.unlink()
            self.listener = None


class Pattern:
    """An endless text of its own for each key: bytes of another are noticed at once."""

    SIZE = 300007

    def __init__(self, key: object) -> None:
        block = random.Random(str(key)).randbytes(self.SIZE)
        self.twice = block * 2

    def bytes(self, at: int, length: int) -> bytes:
        assert length <= self.SIZE
        start = at % self.SIZE
        return self.twice[start : start + length]


def send_pattern(end: socket.socket, pattern: Pattern, length: int, at: int = 0) -> int:
    """Send that much of it; how much was taken, which is less when the peer is gone."""
    sent = 0
    try:
        while sent < length:
            sent += end.send(pattern.bytes(at + sent, min(65536, length - sent)))
    except (BrokenPipeError, ConnectionResetError):
        pass
    return sent


def send_until(end: socket.socket, pattern: Pattern, length: int, stop: threading.Event) -> int:
    """As send_pattern, but give up when told to: nobody may close an end that is in use."""
    sent = 0
    with end.dup() as mine:
        mine.settimeout(0.02)
        while sent < length and not stop.is_set():
            try:
                sent += mine.send(pattern.bytes(sent, min(65536, length - sent)))
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                break
    return sent


def read_pattern(end: socket.socket, pattern: Pattern, length: int | None, at: int = 0) -> int:
    """Read that much, or to the end; every byte must be the pattern's. How much came."""
    got = 0
    while length is None or got < length:
        most = 65536 if length is None else min(65536, length - got)
        try:
            piece = end.recv(most)
        except ConnectionResetError:
            break
        if not piece:
            break
        wanted = pattern.bytes(at + got, len(piece))
        assert piece == wanted, f"foreign bytes at {at + got}: {piece[:32]!r}, not {wanted[:32]!r}"
        got += len(piece)
    return got


def exchange(client: socket.socket, end: socket.socket, text: bytes = b"ping") -> None:
    """A word each way: whoever carries it has nothing left to do for this connection."""
    client.sendall(text)
    assert end.recv(len(text), socket.MSG_WAITALL) == text
    end.sendall(text[::-1])
    assert client.recv(len(text), socket.MSG_WAITALL) == text[::-1]


def abort(end: socket.socket) -> None:
    """Reset where the socket knows how; elsewhere as close does."""
    if end.family == socket.AF_INET:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


class Task(threading.Thread):
    """A thread whose result, or failure, `result` gives."""

    def __init__(self, act: Callable[[], int]) -> None:
        super().__init__(daemon=True)
        self.act = act
        self.value = 0
        self.failure: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.value = self.act()
        except BaseException as failure:
            self.failure = failure

    def result(self) -> int:
        self.join(TIMEOUT * 2)
        assert not self.is_alive(), "a transfer stands still"
        if self.failure:
            raise self.failure
        return self.value


def read_all(end: socket.socket) -> bytes:
    """All it says to its end, however it ends."""
    text = b""
    try:
        while piece := end.recv(65536):
            text += piece
    except ConnectionResetError:
        text += b" (reset)"
    return text


@contextmanager
def another_user() -> Iterator[None]:
    """Sockets made and connected meanwhile are nobody's."""
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def is_refused(client: socket.socket) -> bool:
    client.settimeout(30)
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True
