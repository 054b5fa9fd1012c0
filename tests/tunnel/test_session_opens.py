"""Opens: one at a time, bounded, each with a deadline; what a client gets when none succeeds."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import wait_until
from sshd import Sshd
from tunnel_link import Tunnel

QUEUE = 1024
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def read_all(end: socket.socket) -> bytes:
    said = b""
    while piece := end.recv(65536):
        said += piece
    return said


def test_nobody_listens(tunnel: Tunnel, home: Path) -> None:
    missing = home / "missing.sck"
    with tunnel.connect(missing) as client:
        told = tunnel.wait_told("TUNNEL_TROUBLE")
        assert told["TARGET_PATH"] == str(missing)
        assert told["SERVICE"] == "lab"
        assert os.strerror(told["ERRNO"]) == "Connection refused"
        assert f"the server did not reach {missing}" in told["TEXT"]
        client.sendall(b"not HTTP")
        assert client.recv(1) == b""
    assert tunnel.counters()["failed"] == 1
    wait_until(lambda: tunnel.counters()["connections"] == 0, "the end of the connection")


def test_a_browser_gets_a_page(tunnel: Tunnel, home: Path) -> None:
    """Whether it asks before or after the answer is known, in one piece or in many."""
    for early in (True, False):
        with tunnel.connect(home / "missing.sck") as client:
            if early:
                client.sendall(REQUEST)
            tunnel.wait_told("TUNNEL_TROUBLE")
            if not early:
                for byte in REQUEST:
                    client.sendall(bytes([byte]))
            page = read_all(client)
            assert page.startswith(b"HTTP/1.1 503 ")
            assert b"the server did not reach" in page
            assert b"gearsctl status lab" in page


def test_before_the_login_is_done_it_says_so(start: Callable[..., Tunnel], server: Sshd) -> None:
    server.freeze(listener=True)
    tunnel = start()
    with tunnel.connect("/nowhere") as client:
        client.sendall(REQUEST)
        page = read_all(client)
    assert page.startswith(b"HTTP/1.1 503 ")
    assert b"the connection to andes is not up" in page
    assert tunnel.counters()["refused"] == 1
    server.thaw()
    tunnel.wait_state("UP")


def test_a_full_target_is_trouble_at_once(tunnel: Tunnel, home: Path, target) -> None:
    """A Unix socket with a full backlog refuses; others are opened meanwhile."""
    target.echo()
    full = home / "full.sck"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(full))
        listener.listen(0)
        clients = [tunnel.connect(full) for _ in range(4)]
        with tunnel.connect(target.path) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
        assert tunnel.wait_told("TUNNEL_TROUBLE")["TARGET_PATH"] == str(full)
        for client in clients:
            client.close()


def test_a_frozen_server_keeps_a_bounded_queue(tunnel: Tunnel, server: Sshd, target) -> None:
    """Those over the bound are refused at once; the others are connected after the thaw."""
    target.echo()
    tunnel.settle()
    server.freeze()
    clients = [tunnel.connect(target.path) for _ in range(QUEUE + 1)]
    wait_until(lambda: tunnel.counters()["accepted"] == QUEUE + 1, "the clients to be queued")
    assert tunnel.counters()["refused"] == 0
    with tunnel.connect(target.path) as client:
        client.sendall(REQUEST)
        assert b"too many connections at once" in read_all(client)
    # All of them within their 30 s may be too much for a busy machine: the first, and the last.
    staying = [*clients[:50], clients[-1]]
    for client in clients[50:-1]:
        client.close()
    for client in staying:
        client.sendall(b"x")
    server.thaw()
    for client in staying:
        assert client.recv(1) == b"x"
        client.close()


def test_who_leaves_the_queue_is_not_connected(tunnel: Tunnel, server: Sshd, target) -> None:
    tunnel.settle()
    server.freeze()
    tunnel.connect(target.path).close()  # asked for already
    leaving = [tunnel.connect(target.path) for _ in range(20)]
    staying = tunnel.connect(target.path)
    wait_until(lambda: tunnel.counters()["accepted"] == 22, "the clients to be queued")
    for client in leaving:
        client.close()
    wait_until(lambda: tunnel.counters()["connections"] == 1, "the others' end")
    staying.sendall(b"x")
    server.thaw()
    while True:
        with target.accept() as end:
            if end.recv(1) == b"x":
                break
    staying.close()
    with tunnel.connect(target.path) as client:
        client.sendall(b"y")
        with target.accept() as end:
            assert end.recv(1) == b"y", "nobody else is connected"


@pytest.mark.long
def test_the_deadline(tunnel: Tunnel, server: Sshd, target) -> None:
    """30 s, for who waits and for who is asked for; afterwards all goes on."""
    tunnel.settle()
    server.freeze()
    asked, waiting = tunnel.connect(target.path), tunnel.connect(target.path)
    tunnel.link.settimeout(60)
    words = [tunnel.wait_told("TUNNEL_TROUBLE")["TEXT"] for _ in range(2)]
    assert words[0].startswith("the server did not open ")
    assert words[1].startswith("the server did not come to open ")
    for client in (asked, waiting):
        client.sendall(REQUEST)
        assert b"within 30 s" in read_all(client)
        client.close()
    server.thaw()
    with target.accept() as late:
        assert late.recv(1) == b"", "the server's late answer is for nobody"
    with tunnel.connect(target.path) as client, target.accept() as end:
        client.sendall(b"x")
        assert end.recv(1) == b"x"


def test_forwarding_may_be_forbidden(special: Callable[..., Tunnel]) -> None:
    """sshd gives the same reason as for a missing socket."""
    tunnel = special(stream_forwarding=False)
    with tunnel.connect("/tmp/lab.sck") as client:
        assert "or it is forbidden" in tunnel.wait_told("TUNNEL_TROUBLE")["TEXT"]
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
