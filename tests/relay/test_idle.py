"""What the relay costs when nothing happens."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

import pytest
from relay_ends import KINDS, Pattern, Service, Task, exchange, read_pattern, send_pattern
from relay_link import Relay

Make = Callable[..., Service]
CONNECTIONS = 400


def is_quiet(relay: Relay, client: socket.socket) -> bool:
    """Nothing comes for a while, and the relay sleeps through it."""
    relay.settle()
    before = relay.wakeups(), relay.cpu_ticks()
    client.settimeout(1)
    with contextlib.suppress(TimeoutError):
        client.recv(1)
    client.settimeout(30)
    return (relay.wakeups(), relay.cpu_ticks()) == before


@pytest.mark.parametrize("kind", KINDS)
def test_idle_connections_never_wake_it(relay: Relay, service: Make, kind: str) -> None:
    """Not even when the time is over that they might have waited."""
    front = service(kind, wait_ms=1000)
    pairs = [front.pair() for _ in range(CONNECTIONS)]
    for i, (client, end) in enumerate(pairs):
        client.sendall(b"%04d" % i)
        assert end.recv(4, socket.MSG_WAITALL) == b"%04d" % i
    assert is_quiet(relay, pairs[0][0])
    for client, end in pairs:
        client.close()
        end.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("half", [False, True])
def test_a_writer_that_left_while_its_reader_stands_never_wakes_it(
    relay: Relay, service: Make, kind: str, half: bool
) -> None:
    front = service(kind)
    client, end = front.pair()
    text = Pattern("text")
    with client:
        end.settimeout(0.5)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while True:
                sent += end.send(text.bytes(sent, 65536))
        if half:
            end.shutdown(socket.SHUT_WR)
        else:
            end.close()
        other, other_end = front.pair()
        exchange(other, other_end)
        assert is_quiet(relay, other)
        other.close()
        other_end.close()
        reading = Task(lambda: read_pattern(client, text, None))
        assert reading.result() == sent
    end.close()


def test_a_half_closed_connection_never_wakes_it(relay: Relay, service: Make) -> None:
    front = service("uu")
    for closing in range(2):
        client, end = front.pair()
        exchange(client, end)
        (client, end)[closing].shutdown(socket.SHUT_WR)
        assert (client, end)[1 - closing].recv(1) == b""
        relay.settle()
        before = relay.wakeups()
        (client, end)[closing].settimeout(1)
        with pytest.raises(TimeoutError):
            (client, end)[closing].recv(1)
        assert relay.wakeups() == before
        client.close()
        end.close()


def test_it_is_small(relay: Relay, service: Make) -> None:
    if relay.is_sanitized():
        pytest.skip("a sanitizer's memory says nothing")
    front = service("uu")
    warm = [front.pair() for _ in range(10)]
    relay.settle()
    assert relay.memory_kb("VmRSS") <= 2048
    before = relay.memory_kb("Private_Dirty")
    assert before <= 200
    pairs = [front.pair() for _ in range(CONNECTIONS)]
    for client, end in pairs:
        client.sendall(b"hello")
        assert end.recv(5, socket.MSG_WAITALL) == b"hello"
    relay.settle()
    grown = relay.memory_kb("Private_Dirty") - before
    assert grown * 1024 / CONNECTIONS <= 400
    for client, end in warm + pairs:
        client.close()
        end.close()


def test_bulk_leaves_no_memory_behind(relay: Relay, service: Make) -> None:
    if relay.is_sanitized():
        pytest.skip("a sanitizer's memory says nothing")
    front = service("ut")
    pairs = [front.pair() for _ in range(16)]
    text = Pattern("text")
    tasks = [Task(lambda c=c: send_pattern(c, text, 4 << 20)) for c, _ in pairs]
    for _, end in pairs:
        assert read_pattern(end, text, 4 << 20) == 4 << 20
    for task in tasks:
        task.result()
    for client, end in pairs:
        client.close()
        end.close()
    relay.settle()
    assert relay.memory_kb("Private_Dirty") <= 400
