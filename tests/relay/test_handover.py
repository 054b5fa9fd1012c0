"""Clients of a service behind a hop: the relay hands them to the tunnel and forgets them."""

from __future__ import annotations

import os
import select
import socket
from pathlib import Path

import pytest
from processes import wait_until
from relay_ends import (
    Feed,
    Service,
    abort,
    another_user,
    as_root,
    exchange,
    is_refused,
    read_all,
)
from relay_link import Relay


def tcp(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), 30)
    client.settimeout(30)
    return client


def test_the_tunnel_gets_the_client_and_all_it_said(relay: Relay, feed: Feed) -> None:
    with feed.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        with feed.take() as end:
            assert end.recv(16, socket.MSG_WAITALL) == b"GET / HTTP/1.1\r\n"
            exchange(client, end)
            client.shutdown(socket.SHUT_WR)
            assert end.recv(1) == b""
            end.sendall(b"answer")
        assert read_all(client) == b"answer"
    wait_until(lambda: feed.counters()["connections"] == 0, "its end")
    numbers = feed.counters()
    assert numbers["accepted"] == 1
    assert (numbers["bytes_in"], numbers["failed"], numbers["refused"]) == (0, 0, 0)


def test_the_relay_hears_nothing_of_it_any_more(relay: Relay, feed: Feed) -> None:
    """A client that waited was watched: what it does now must not wake anybody but the tunnel."""
    feed.put("STARTING")
    with feed.connect() as client:
        assert relay.wait_told("RELAY_DEMAND")["SERVICE"] == feed.name
        feed.put()
        with feed.take() as end:
            exchange(client, end)
            relay.settle()
            before = relay.wakeups()
            for _ in range(100):
                exchange(client, end)
            client.close()
            assert end.recv(1) == b""
            end.shutdown(socket.SHUT_WR)
            assert not select.select([relay.link], [], [], 0.3)[0]
            assert relay.wakeups() == before


def test_the_order_is_kept_while_the_tunnel_has_no_room(relay: Relay, feed: Feed) -> None:
    feed.close()
    feed.backlog = 1
    feed.start()
    clients = []
    for i in range(30):
        clients.append(feed.connect())
        clients[i].sendall(b"%02d" % i)
        wait_until(lambda i=i: feed.counters()["accepted"] == i + 1, "the accept")
    assert feed.counters()["connections"] >= 20
    for i, client in enumerate(clients):
        with feed.take() as end:
            assert end.recv(2, socket.MSG_WAITALL) == b"%02d" % i
            end.sendall(b"%02d" % i)
        assert read_all(client) == b"%02d" % i
        client.close()
    assert feed.counters()["failed"] == 0


@pytest.mark.parametrize("left", ["missing", "refused", "nowhere"])
def test_a_tunnel_that_is_gone_is_told_and_waited_for(relay: Relay, feed: Feed, left: str) -> None:
    assert feed.listener
    feed.listener.close()
    feed.listener = None
    if left != "refused":
        feed.path.unlink()
    if left == "nowhere":
        relay.put(feed.name, Path(feed.TARGET), feed="")
    with feed.connect() as client:
        client.sendall(b"hello")
        trouble = relay.wait_told("RELAY_TROUBLE")
        assert trouble["SERVICE"] == feed.name
        assert trouble["ERRNO"] == (111 if left == "refused" else 2)
        assert feed.counters()["failed"] >= 1
        feed.path.unlink(missing_ok=True)
        feed.start().put()
        with feed.take() as end:
            assert end.recv(5, socket.MSG_WAITALL) == b"hello"
            exchange(client, end)


@pytest.mark.parametrize("how", ["down", "too long"])
def test_who_waited_in_vain_gets_the_page(relay: Relay, feed: Feed, how: str) -> None:
    feed.put("STARTING", wait_ms=60000 if how == "down" else 300)
    with feed.connect() as browser, feed.connect() as other:
        browser.sendall(b"GET /lab HTTP/1.1\r\nHost: x\r\n\r\n")
        other.sendall(b"SSH-2.0-x\r\n")
        relay.wait_told("RELAY_DEMAND")
        if how == "down":
            wait_until(lambda: feed.counters()["connections"] == 2, "both")
            feed.put("DOWN", cause="auth-needed: andes asks for a code")
        text = read_all(browser)
        assert text.startswith(b"HTTP/1.1 503 ") and b"lab@andes cannot be reached" in text
        assert b"gearsctl start lab@andes" in text and b"gearsctl logs" not in text
        assert (b"andes asks for a code" in text) == (how == "down")
        assert read_all(other) == b""
    wait_until(lambda: feed.counters()["connections"] == 0, "their end")
    assert feed.counters()["refused"] == 2


def test_who_waits_is_told_once(relay: Relay, feed: Feed) -> None:
    """However often gearsd tells of a new attempt; else each would bring about the next."""

    def demands() -> int:
        relay.order("HELLO")
        found = [told for told in relay.told if told[0] == "RELAY_DEMAND"]
        relay.told.clear()
        return len(found)

    feed.put("STARTING")
    first = feed.connect()
    relay.wait_told("RELAY_DEMAND")
    for i in range(20):
        feed.put("STARTING", cause=f"down: attempt {i}")
    with feed.connect():
        wait_until(lambda: feed.counters()["connections"] == 2, "another")
        assert demands() == 0
        first.close()
        wait_until(lambda: feed.counters()["connections"] == 1, "the first one's end")
        with feed.connect():
            wait_until(lambda: feed.counters()["accepted"] == 3, "a third")
            assert demands() == 1
            relay.link.close()
            relay.link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            relay.link.connect(str(relay.folder / "relay.sck"))
            relay.order("HELLO")
            feed.put("STARTING")
            assert demands() == 1  # the new controller does not know


def test_who_leaves_while_waiting_is_not_handed_over(relay: Relay, feed: Feed) -> None:
    feed.put("STARTING")
    feed.connect().close()
    relay.wait_told("RELAY_DEMAND")
    wait_until(lambda: feed.counters()["connections"] == 0, "its end")
    with feed.connect() as client:
        client.sendall(b"mine")
        feed.put()
        with feed.take() as end:
            assert end.recv(4, socket.MSG_WAITALL) == b"mine"


def test_a_thousand_leave_nothing_behind(relay: Relay, feed: Feed) -> None:
    relay.settle()
    before = relay.descriptors()
    for i in range(1000):
        with feed.connect() as client:
            client.sendall(b"%04d" % i)
            with feed.take() as end:
                assert end.recv(4, socket.MSG_WAITALL) == b"%04d" % i
    wait_until(lambda: feed.counters()["connections"] == 0, "the end of all")
    relay.settle()
    assert relay.descriptors() == before
    assert feed.counters()["accepted"] == 1000


def test_all_who_waited_go_at_once(relay: Relay, feed: Feed) -> None:
    """More of them than may be on their way: the rest wait for room."""
    feed.put("STARTING")
    clients = [feed.connect() for _ in range(600)]
    for i, client in enumerate(clients):
        client.sendall(b"%03d" % i)
    wait_until(lambda: feed.counters()["connections"] == 600, "all to be accepted")
    feed.put()
    for i, client in enumerate(clients):
        with feed.take() as end:
            assert end.recv(3, socket.MSG_WAITALL) == b"%03d" % i
        assert read_all(client) == b""
        client.close()
    wait_until(lambda: feed.counters()["connections"] == 0, "the end of all")
    assert feed.counters()["failed"] == 0


def test_a_port_hands_over_too(relay: Relay, feed: Feed) -> None:
    port = relay.listen_port(feed.name)
    with tcp(port) as client, feed.take() as end:
        assert end.family == socket.AF_INET
        assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        exchange(client, end)
        abort(client)  # a reset reaches the tunnel itself
        with pytest.raises(ConnectionResetError):
            end.recv(1)
    with tcp(port) as client, feed.take() as end:
        end.sendall(b"last words")
        end.close()
        assert read_all(client) == b"last words"


@as_root
def test_a_port_is_for_its_user_only(relay: Relay, feed: Feed) -> None:
    port = relay.listen_port(feed.name)
    with another_user():
        client = socket.socket(socket.AF_INET)
        client.connect(("127.0.0.1", port))
    with client:
        assert is_refused(client)
    wait_until(lambda: feed.counters()["refused"] == 1, "the refusal's count")
    assert feed.counters()["accepted"] == 0
    with tcp(port) as mine, feed.take() as end:
        exchange(mine, end)


@as_root
def test_a_stranger_s_tunnel_gets_nobody(relay: Relay, feed: Feed) -> None:
    feed.close()
    relay.folder.chmod(0o777)
    with another_user():
        feed.start()
    feed.path.chmod(0o777)
    with feed.connect() as client:
        client.sendall(b"secret")
        assert relay.wait_told("RELAY_TROUBLE")["ERRNO"] == 13
        assert feed.listener
        giver, _ = feed.listener.accept()
        with giver:
            assert socket.recv_fds(giver, 1 << 17, 4)[:2] == (b"", [])


def test_the_longest_names_are_told_apart(relay: Relay) -> None:
    """32 bytes for the service, 32 for the cluster."""
    names = ["s" * 32 + "@" + "c" * 31 + last for last in "12"]
    for name in names:
        feed = Feed(relay, name)
        feed.path = relay.folder / f"{name[-1]}.feed"
        feed.start().put()
        feed.public = relay.listen(name, relay.folder / f"{name[-1]}.sck")
        with feed.connect() as client, feed.take() as end:
            exchange(client, end)
        feed.close()
    assert relay.slots[names[0]] != relay.slots[names[1]]


def test_a_route_may_become_a_service_and_back(relay: Relay, feed: Feed) -> None:
    service = Service(relay, "uu", feed.name)
    service.start()
    relay.put(feed.name, service.path)
    with feed.connect() as client, service.accept() as end:
        exchange(client, end)
    feed.put()
    with feed.connect() as client, feed.take() as end:
        exchange(client, end)
    service.close()


def test_a_draining_relay_hands_over_who_waits(relay: Relay, feed: Feed) -> None:
    feed.put("STARTING")
    feed.close()
    with feed.connect() as client:
        client.sendall(b"patient")
        relay.wait_told("RELAY_DEMAND")
        relay.order("RELAY_DRAIN")
        feed.start()
        with feed.take() as end:
            relay.wait_end()
            assert end.recv(7, socket.MSG_WAITALL) == b"patient"


@pytest.mark.parametrize("relay", [100], indirect=True)
def test_without_descriptors_nobody_is_lost(relay: Relay, feed: Feed) -> None:
    """Waiting clients take one descriptor each; handing one over needs another for a moment."""
    feed.put("STARTING")
    clients = [feed.connect() for _ in range(150)]
    for i, client in enumerate(clients):
        client.sendall(b"%03d" % i)
    relay.wait_told("RELAY_LOG")
    feed.put()
    for i, client in enumerate(clients):
        with feed.take() as end:
            assert end.recv(3, socket.MSG_WAITALL) == b"%03d" % i
        client.close()
    assert feed.counters()["failed"] == 0
    assert os.path.exists(feed.public)
