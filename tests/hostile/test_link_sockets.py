"""What strangers may do to the internal sockets of a keeper and the relay: nothing. The service
and its connections go on, gearsd stays the controller, and nobody's loop spins."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Gears, private_gears
from processes import alive, wait_until
from raw_peer import connect, connections, knock_as_nobody, memory, wait_until_idle

FRAME_LIMIT = 128 * 1024
PLACES = 32


def number_of(name: str) -> int:
    source = (Path(__file__).parents[2] / "common/link_messages.h").read_text()
    found = re.search(rf"\b{name} =\s*(\d+)", source)
    assert found, name
    return int(found[1])


HELLO = number_of("LINK_HELLO")
KEEPER_STOP = number_of("LINK_KEEPER_STOP")
KEEPER_STATUS = number_of("LINK_KEEPER_STATUS")
KEEPER_RELEASE = number_of("LINK_KEEPER_RELEASE")
KEEPER_PID_TAG = number_of("LINK_TAG_KEEPER_PID")
RELAY_STATUS = number_of("LINK_RELAY_STATUS")
RELAY_DRAIN = number_of("LINK_RELAY_DRAIN")

ECHO = """
import socket, sys, threading
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
def serve(peer):
    while data := peer.recv(65536):
        peer.sendall(data)
    peer.close()
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


def frame(kind: int, fields: bytes = b"", request: int = 7) -> bytes:
    return struct.pack("<cBHI", b"G", 1, kind, request) + fields


def kind_of(answer: bytes) -> int:
    return struct.unpack_from("<H", answer, 2)[0]


def pid_told(answer: bytes, tag: int) -> int:
    """A number field of a frame."""
    at = 8
    while at < len(answer):
        found, _, length = struct.unpack_from("<HHI", answer, at)
        if found == tag:
            return int.from_bytes(answer[at + 8 : at + 8 + length], "little")
        at += 8 + length
    raise AssertionError(f"no tag {tag} in {answer!r}")


class Helpers:
    """A gearsd with one echo service: its keeper, its relay and a connection through it."""

    def __init__(self, gears: Gears) -> None:
        self.gears = gears
        (gears.home / "echo.py").write_text(ECHO)
        with (gears.home / "etc/gears.conf").open("a") as config:
            command = f"python3 {gears.home}/echo.py {{socket}}"
            config.write(f"[service:echo]\nkind = command\ncommand = {command}\n")
        gears.run("start", "echo")
        self.before = gears.status("echo")
        self.keeper = self.parent_of(self.before["pid"])
        (self.keeper_socket,) = gears.home.glob("run/*/link/k-echo.sck")
        (self.relay_socket,) = gears.home.glob("run/*/link/relay.sck")
        self.relay = self.find_relay()
        self.connection = connect(Path(self.before["socket"]), socket.SOCK_STREAM)

    @staticmethod
    def parent_of(pid: int) -> int:
        stat = Path(f"/proc/{pid}/stat").read_text()
        return int(stat.rsplit(")", 1)[1].split()[1])

    def find_relay(self) -> int:
        names = {pid: Path(f"/proc/{pid}/comm").read_text() for pid in self.gears.processes()}
        (relay,) = [pid for pid, name in names.items() if name == "gears-relay\n"]
        return relay

    def echoes(self) -> None:
        self.connection.sendall(b"still there?")
        assert self.connection.recv(100) == b"still there?"

    def check(self) -> None:
        """The same service, keeper and relay; gearsd hears and commands both."""
        self.echoes()
        with connect(Path(self.before["socket"]), socket.SOCK_STREAM) as fresh:
            fresh.sendall(b"new")
            assert fresh.recv(100) == b"new"
        now = self.gears.status("echo")
        for key in ("pid", "state", "restarts", "since"):
            assert now[key] == self.before[key], f"{key}: {now[key]} was {self.before[key]}"
        assert alive(self.keeper)
        assert alive(self.relay)
        told = [event["event"] for event in self.events()]
        assert "keeper-died" not in told
        self.gears.run("signal", "echo", "CONT")
        for pid in (self.keeper, self.relay, self.gears.daemon_pid()):
            wait_until_idle(pid)

    def events(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.gears.run("events", "--json").stdout.splitlines()]


@pytest.fixture(scope="module")
def module_helpers() -> Iterator[Helpers]:
    with private_gears() as gears:
        helpers = Helpers(gears)
        yield helpers
        helpers.connection.close()


@pytest.fixture(params=["keeper", "relay"])
def target(request: pytest.FixtureRequest, module_helpers: Helpers) -> Iterator[tuple[Path, int]]:
    """The socket under attack and its process; all is as before afterwards."""
    keeper = request.param == "keeper"
    path = module_helpers.keeper_socket if keeper else module_helpers.relay_socket
    yield path, module_helpers.keeper if keeper else module_helpers.relay
    module_helpers.check()


def is_ended(peer: socket.socket) -> bool:
    try:
        return peer.recv(FRAME_LIMIT) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    "said",
    [
        b"\0",
        b"GET / HTTP/1.1\r\n\r\n",
        b'{"method":"org.gears.Manager.Hello"}\0',
        frame(HELLO)[:7],
        frame(HELLO, b"\1\0\0\0\xff\xff\xff\xff"),
        b"X" + frame(HELLO)[1:],
        frame(KEEPER_STOP),
        frame(KEEPER_RELEASE),
        frame(RELAY_DRAIN),
        frame(60000),
        frame(HELLO) + b"\0" * FRAME_LIMIT,
        frame(HELLO, b"\1\0\0\0" + struct.pack("<I", FRAME_LIMIT - 15) + b"x" * (FRAME_LIMIT - 15)),
    ],
    ids=lambda said: f"{said[:16]!r}-{len(said)}",
)
def test_garbage_is_sent_away(target: tuple[Path, int], said: bytes) -> None:
    with connect(target[0], socket.SOCK_SEQPACKET) as peer:
        peer.send(said)
        assert is_ended(peer)


def test_who_comes_and_says_nothing(target: tuple[Path, int], module_helpers: Helpers) -> None:
    with connect(target[0], socket.SOCK_SEQPACKET) as peer:
        module_helpers.check()
        peer.shutdown(socket.SHUT_WR)
        assert is_ended(peer)
    for _ in range(100):
        connect(target[0], socket.SOCK_SEQPACKET).close()


def test_a_thousand_connections(target: tuple[Path, int]) -> None:
    path, pid = target
    resident = memory(pid)
    with contextlib.ExitStack() as stack:
        peers = []
        for _ in range(1000):
            peers.append(stack.enter_context(connect(path, socket.SOCK_SEQPACKET)))
        assert is_ended(peers[0])
        # One more is gearsd's own, when it came by the door. The kernel's list is no snapshot.
        full = (PLACES, PLACES + 1)
        wait_until(lambda: connections(path) in full, "the end of who has no place")
        wait_until_idle(pid)
        assert memory(pid) - resident < 4 << 20
    wait_until(lambda: connections(path) <= 1, "the end of the crowd")


def test_another_controller_loses_to_gearsd(
    target: tuple[Path, int], module_helpers: Helpers
) -> None:
    """Who says hello is told the state; gearsd comes back at once and nothing is started anew."""
    path, pid = target
    with connect(path, socket.SOCK_SEQPACKET) as peer:
        peer.send(frame(HELLO))
        answer = peer.recv(FRAME_LIMIT)
        if path == module_helpers.keeper_socket:
            assert kind_of(answer) == KEEPER_STATUS
            assert pid_told(answer, KEEPER_PID_TAG) == pid
        else:
            assert kind_of(answer) == RELAY_STATUS
        assert is_ended(peer)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_foreign_user_is_sent_away(target: tuple[Path, int]) -> None:
    assert knock_as_nobody(target[0], socket.SOCK_SEQPACKET, frame(HELLO)) == "b''"
