"""A client whose service starts, is full, or is down."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from processes import wait_until
from relay_ends import KINDS, Service, read_all
from relay_link import Relay

Make = Callable[..., Service]


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_waits_while_the_service_starts(relay: Relay, service: Make, kind: str) -> None:
    front = service(kind, "STARTING")
    with front.connect() as client, front.connect() as other:
        client.sendall(b"early")
        other.sendall(b"later")
        assert relay.wait_told("RELAY_DEMAND")["SERVICE"] == front.name
        wait_until(lambda: front.counters()["connections"] == 2, "both to be accepted")
        front.start()
        relay.put(front.name, front.target)
        with front.accept() as first, front.accept() as second:
            assert first.recv(5, socket.MSG_WAITALL) == b"early"
            assert second.recv(5, socket.MSG_WAITALL) == b"later"
            first.sendall(b"answer")
            assert client.recv(6, socket.MSG_WAITALL) == b"answer"
    assert front.counters()["failed"] == 0


def test_a_half_closed_client_waits_too(relay: Relay, service: Make) -> None:
    front = service("uu", "STARTING")
    with front.connect() as client:
        client.sendall(b"asked")
        client.shutdown(socket.SHUT_WR)
        relay.wait_told("RELAY_DEMAND")
        front.start()
        relay.put(front.name, front.target)
        with front.accept() as end:
            assert read_all(end) == b"asked"
            end.sendall(b"answered")
        assert read_all(client) == b"answered"


def test_who_connected_too_early_and_said_nothing_is_served(relay: Relay, service: Make) -> None:
    """Browsers connect before they have something to ask, also while the page is down."""
    front = service("tu", "DOWN")
    with front.connect() as client:
        wait_until(lambda: front.counters()["connections"] == 1, "its connection")
        relay.settle()
        front.start()
        relay.put(front.name, front.target)
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with front.accept() as end:
            assert end.recv(5, socket.MSG_WAITALL) == b"GET /"
    assert front.counters()["refused"] == 0


def test_a_client_that_stops_waiting_is_forgotten(relay: Relay, service: Make) -> None:
    front = service("uu", "STARTING")
    client = front.connect()
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    relay.wait_told("RELAY_DEMAND")
    client.close()
    wait_until(lambda: front.counters()["connections"] == 0, "the end of its connection")
    front.start()
    relay.put(front.name, front.target)
    with front.connect() as now, front.accept() as end:
        now.sendall(b"mine")
        assert end.recv(100) == b"mine"


def test_waiting_has_a_bound(service: Make) -> None:
    front = service("uu", "STARTING", wait_ms=100)
    with front.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_all(client).startswith(b"HTTP/1.1 503 ")


def test_a_service_that_is_up_but_gone_is_tried_again(relay: Relay, service: Make) -> None:
    """It was restarted behind gearsd's back: the relay says so and the client waits."""
    front = service("uu")
    assert front.listener
    front.listener.close()
    front.path.unlink()
    front.listener = None
    with front.connect() as client:
        client.sendall(b"hello")
        trouble = relay.wait_told("RELAY_TROUBLE")
        assert trouble["SERVICE"] == front.name
        front.start()
        with front.accept() as end:
            assert end.recv(5, socket.MSG_WAITALL) == b"hello"
    assert front.counters()["failed"] >= 1


def test_a_full_backlog_drops_nobody(service: Make) -> None:
    """connect() to a full Unix backlog is EAGAIN: who waited longest goes first."""
    front = service("uu", backlog=1)
    clients = []
    for i in range(20):
        clients.append(front.connect())
        clients[i].sendall(b"client %02d" % i)
        wait_until(lambda i=i: front.counters()["connections"] == i + 1, "the accept")
    for i, client in enumerate(clients):
        with front.accept() as end:
            assert end.recv(9, socket.MSG_WAITALL) == b"client %02d" % i
            end.sendall(b"%02d" % i)
        assert read_all(client) == b"%02d" % i
        client.close()
    assert front.counters()["failed"] == 0


@pytest.mark.parametrize("kind", ["uu", "tu"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "DELETE"])
def test_an_http_client_gets_a_page(service: Make, kind: str, method: str) -> None:
    front = service(kind, "DOWN")
    with front.connect() as client:
        client.sendall(f"{method} /lab HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head, _, body = read_all(client).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0].startswith(b"HTTP/1.1 503 ")
    assert b"Content-Length: %d" % len(body) in lines
    assert f"gearsctl start {front.name}".encode() in body
    assert front.counters()["refused"] == 1


def test_the_page_outlives_a_large_request(service: Make) -> None:
    """Closing on what the client still sends would reset it before it has read the page."""
    front = service("tu", "DOWN")
    with front.connect() as client:
        client.sendall(b"POST /upload HTTP/1.1\r\n\r\n" + b"x" * 300000)
        text = read_all(client)
    assert text.startswith(b"HTTP/1.1 503 ") and b"(reset)" not in text


@pytest.mark.parametrize("kind", ["uu", "tu"])
def test_an_http_client_that_types_slowly_gets_it_too(
    relay: Relay, service: Make, kind: str
) -> None:
    front = service(kind, "DOWN")
    with front.connect() as client:
        for byte in b"OPTIONS":
            before = relay.wakeups()
            client.sendall(bytes([byte]))
            wait_until(lambda before=before: relay.wakeups() > before, "a look at the byte")
        client.sendall(b" / HTTP/1.1\r\n\r\n")
        assert read_all(client).startswith(b"HTTP/1.1 503 ")


def test_too_few_bytes_do_not_keep_the_relay_awake(relay: Relay, service: Make) -> None:
    front = service("uu", "DOWN")
    with front.connect() as client:
        client.sendall(b"GE")
        relay.settle()
        before = relay.wakeups()
        client.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert relay.wakeups() - before <= 1
        client.shutdown(socket.SHUT_WR)
        client.settimeout(30)
        assert client.recv(1) == b""


@pytest.mark.parametrize("first", [b"\x16\x03\x01\x02", b"SSH-2.0-x\r\n", b"GETTY", b"get / "])
def test_who_speaks_something_else_is_closed(service: Make, first: bytes) -> None:
    front = service("uu", "DOWN")
    with front.connect() as client:
        client.sendall(first)
        assert read_all(client) == b""  # no reset either
    wait_until(lambda: front.counters()["connections"] == 0, "the end of the connection")


def test_a_silent_client_of_a_stopped_service_is_closed_after_a_while(service: Make) -> None:
    front = service("uu", "DOWN")
    with front.connect() as client:
        assert read_all(client) == b""


def test_a_draining_relay_serves_who_waits(relay: Relay, service: Make) -> None:
    """After an upgrade nobody tells the old relay that the service is up."""
    front = service("uu", "STARTING")
    with front.connect() as client:
        client.sendall(b"patient")
        relay.wait_told("RELAY_DEMAND")
        relay.order("RELAY_DRAIN")
        front.start()
        with front.accept() as end:
            assert end.recv(7, socket.MSG_WAITALL) == b"patient"
    relay.wait_end()


def test_draining_ends_with_the_last_connection(relay: Relay, service: Make) -> None:
    front = service("uu")
    client, end = front.pair()
    relay.order("RELAY_DRAIN")
    with pytest.raises(ConnectionRefusedError):
        front.connect()
    client.sendall(b"still")
    assert end.recv(5, socket.MSG_WAITALL) == b"still"
    assert not relay.has_ended()
    client.close()
    assert end.recv(1) == b""
    end.close()
    relay.wait_end()


def test_forgetting_a_service_ends_its_connections_only(relay: Relay, service: Make) -> None:
    gone, kept = service("uu", name="gone"), service("uu", name="kept")
    client, end = gone.pair()
    other, other_end = kept.pair()
    relay.order("RELAY_FORGET", SERVICE="gone")
    assert client.recv(1) == b"" and end.recv(1) == b""
    with pytest.raises(FileNotFoundError):
        gone.connect()
    other.sendall(b"on")
    assert other_end.recv(2, socket.MSG_WAITALL) == b"on"
    for one in (client, end, other, other_end):
        one.close()
