"""The relay's orders: whatever its controller does, connections go on."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import struct
from collections.abc import Callable

import pytest
from link_frames import frame, parse
from processes import wait_until
from relay_ends import Service
from relay_link import Relay, RelayError

Make = Callable[..., Service]
HELLO = frame("HELLO", 7)


def talk(front: Service) -> None:
    client, end = front.pair()
    with client, end:
        client.sendall(b"ping")
        assert end.recv(4, socket.MSG_WAITALL) == b"ping"
        end.sendall(b"pong")
        assert client.recv(4, socket.MSG_WAITALL) == b"pong"


def controller(relay: Relay) -> socket.socket:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    link.settimeout(30)
    link.connect(str(relay.folder / "relay.sck"))
    return link


def test_its_descriptors_do_not_block(relay: Relay) -> None:
    """Descriptor 3 came blocking from gearsd."""
    assert not os.get_inheritable(relay.link.fileno())
    for fd, what in relay.descriptors().items():
        if what.startswith(("socket:", "pipe:")):
            info = relay.descriptor_flags(fd)
            assert info & os.O_NONBLOCK, f"descriptor {fd} blocks"
            assert info & os.O_CLOEXEC, f"descriptor {fd} would be inherited"


def test_a_controller_that_never_reads_stops_nothing(relay: Relay, service: Make) -> None:
    front = service()
    fcntl.fcntl(relay.link.fileno(), fcntl.F_SETFL, os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        for _ in range(20000):
            relay.link.send(HELLO)
    talk(front)
    relay.link.settimeout(1)
    with contextlib.suppress(TimeoutError):  # what could be kept for it is there
        while relay.link.recv(1 << 17):
            pass
    relay.link.settimeout(30)
    talk(front)


def test_the_newest_controller_leads(relay: Relay, service: Make) -> None:
    front = service()
    with controller(relay) as second:
        second.send(HELLO)
        status, fds, _, _ = socket.recv_fds(second, 1 << 17, 4)
        for fd in fds:
            os.close(fd)
        assert parse(status)[0] == "RELAY_STATUS"
        with pytest.raises((EOFError, OSError)):
            relay.order("HELLO")
        talk(front)
        second.send(frame("RELAY_DRAIN", 8))
        second.recv(1 << 17)
        relay.wait_end()


@pytest.mark.parametrize(
    "frame", [b"", b"G", b"X" * 8, HELLO + b"\1", HELLO + struct.pack("<HHI", 3, 0, 1 << 31)]
)
def test_a_broken_frame_is_dropped(relay: Relay, service: Make, frame: bytes) -> None:
    front = service()
    if frame:  # an empty one is the end
        relay.link.send(frame)
        relay.order("HELLO")
    talk(front)


def test_unknown_orders_are_said_to_be_unknown(relay: Relay, service: Make) -> None:
    front = service()
    with pytest.raises(RelayError, match="does not know this service"):
        relay.order("RELAY_FORGET", SERVICE="absent")
    answer, _ = relay.answer_to(relay.send("KEEPER_STATUS", SERVICE=front.name))
    assert answer == "UNSUPPORTED"


def test_what_a_controller_ordered_last_is_heard(relay: Relay, service: Make) -> None:
    """It left with answers unread, which the kernel tells as a reset before the order itself."""
    service()
    relay.stop()
    for _ in range(3):
        relay.link.send(HELLO)
    relay.cont()
    wait_until(lambda: select.select([relay.link], [], [], 0)[0], "an answer")
    relay.stop()
    relay.link.send(frame("RELAY_DRAIN", 8))
    relay.link.close()
    relay.cont()
    relay.wait_end()


def test_without_a_controller_everything_goes_on(relay: Relay, service: Make) -> None:
    """gearsd was killed; its successor finds the same sockets and counters."""
    front = service()
    client, end = front.pair()
    relay.link.close()
    talk(front)
    client.sendall(b"still")
    assert end.recv(5, socket.MSG_WAITALL) == b"still"
    relay.link = controller(relay)
    status = relay.order("HELLO")
    assert status["PID"] == relay.pid
    assert front.counters()["accepted"] == 2
    client.close()
    end.close()
