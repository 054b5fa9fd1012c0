"""Bytes arrive whole, in order, at the right end; ends and aborts pass as they are."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest
from processes import wait_until
from relay_ends import Pattern, Task, abort, read_pattern, send_pattern
from tunnel_link import Tunnel

MB = 1 << 20


@pytest.mark.parametrize("tcp", [False, True])
def test_64_mb_each_way_at_once(tunnel: Tunnel, target, tcp: bool) -> None:
    client = tunnel.connect(target.path, tcp)
    server = target.accept()
    up, down = Pattern("up"), Pattern("down")
    with client, server:
        tasks = [
            Task(lambda: send_pattern(client, up, 64 * MB)),
            Task(lambda: send_pattern(server, down, 64 * MB)),
            Task(lambda: read_pattern(client, down, 64 * MB)),
            Task(lambda: read_pattern(server, up, 64 * MB)),
        ]
        assert [task.result() for task in tasks] == [64 * MB] * 4
    wait_until(lambda: tunnel.counters()["connections"] == 0, "the end of the connection")
    counters = tunnel.counters()
    assert (counters["bytes_in"], counters["bytes_out"]) == (64 * MB, 64 * MB)
    assert (counters["accepted"], counters["failed"]) == (1, 0)


@pytest.mark.parametrize("size", [0, 10, 3 * MB])
def test_a_half_closed_client_gets_its_answer(tunnel: Tunnel, target, size: int) -> None:
    client = tunnel.connect(target.path)
    server = target.accept()
    asked, answer = Pattern("asked"), Pattern("answer")
    with client, server:
        sending = Task(lambda: send_pattern(client, asked, size))
        reading = Task(lambda: read_pattern(server, asked, None))
        assert sending.result() == size
        client.shutdown(socket.SHUT_WR)
        assert reading.result() == size
        answering = Task(lambda: send_pattern(server, answer, size))
        assert read_pattern(client, answer, size) == size
        answering.result()
        server.close()
        assert client.recv(1) == b""


@pytest.mark.parametrize("size", [0, 10, 3 * MB])
def test_a_half_closed_server_still_reads(tunnel: Tunnel, target, size: int) -> None:
    client = tunnel.connect(target.path)
    server = target.accept()
    said, heard = Pattern("said"), Pattern("heard")
    with client, server:
        sending = Task(lambda: send_pattern(server, said, size))
        assert read_pattern(client, said, size) == size
        sending.result()
        server.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
        sending = Task(lambda: send_pattern(client, heard, size))
        assert read_pattern(server, heard, size) == size
        sending.result()
        client.close()
        assert server.recv(1) == b""


def test_what_was_said_before_leaving_arrives(tunnel: Tunnel, target) -> None:
    """A client that writes and closes at once; nobody reads what is for it."""
    text = Pattern("text")
    for size in (1, 100000, 3 * MB):
        client = tunnel.connect(target.path)
        server = target.accept()
        sending = Task(lambda client=client, size=size: send_pattern(client, text, size))
        reading = Task(lambda server=server: read_pattern(server, text, None))
        assert sending.result() == size
        client.close()
        assert reading.result() == size
        with contextlib.suppress(OSError):
            server.sendall(b"too late" * 10000)
        server.close()
    wait_until(lambda: tunnel.counters()["connections"] == 0, "the end of the connections")


@pytest.mark.parametrize("tcp", [False, True])
def test_an_aborted_client_ends_the_channel(tunnel: Tunnel, target, tcp: bool) -> None:
    """While the server sends much that nobody takes, or is silent."""
    for talks in (True, False):
        client = tunnel.connect(target.path, tcp)
        server = target.accept()
        with server:
            if talks:
                sending = Task(lambda s=server: send_pattern(s, Pattern("down"), 64 * MB))
                read_pattern(client, Pattern("down"), 100000)
            abort(client)
            if talks:
                assert sending.result() < 64 * MB
            assert read_pattern(server, Pattern("none"), None) == 0
    wait_until(lambda: tunnel.counters()["connections"] == 0, "the end of the connections")


def test_a_server_that_closes_ends_the_client(tunnel: Tunnel, target) -> None:
    """With bytes in flight towards it, that it never reads."""
    client = tunnel.connect(target.path)
    server = target.accept()
    with client:
        sending = Task(lambda: send_pattern(client, Pattern("up"), 64 * MB))
        server.sendall(b"last words")
        assert client.recv(10, socket.MSG_WAITALL) == b"last words"
        server.close()
        assert sending.result() < 64 * MB
    wait_until(lambda: tunnel.counters()["connections"] == 0, "the end of the connection")


def test_200_channels_at_once(tunnel: Tunnel, target) -> None:
    target.echo()
    size = MB // 4

    def talk(number: int) -> int:
        pattern = Pattern(number)
        with tunnel.connect(target.path) as client:
            sending = Task(lambda: send_pattern(client, pattern, size))
            got = read_pattern(client, pattern, size)
            sending.result()
            client.shutdown(socket.SHUT_WR)
            return got + read_pattern(client, pattern, None, at=got)

    tasks = [Task(lambda number=number: talk(number)) for number in range(200)]
    assert [task.result() for task in tasks] == [size] * 200
    wait_until(lambda: tunnel.counters()["connections"] == 0, "the end of the connections")
    counters = tunnel.counters()
    assert (counters["accepted"], counters["bytes_out"]) == (200, 200 * size)


def test_a_stalled_reader_stalls_itself_only(tunnel: Tunnel, target) -> None:
    """One client reads nothing, another's bytes go on; what is held is bounded by a window."""
    target.echo()
    before = tunnel.memory_kb("VmRSS")
    with tunnel.connect(target.path) as stalled, tunnel.connect(target.path) as fast:
        pattern = Pattern("stalled")
        stuffing = Task(lambda: send_pattern(stalled, pattern, 24 * MB))
        for _ in range(4):
            sending = Task(lambda: send_pattern(fast, pattern, 8 * MB))
            assert read_pattern(fast, pattern, 8 * MB) == 8 * MB
            sending.result()
        if not tunnel.is_sanitized():
            assert tunnel.memory_kb("VmRSS") - before < 8 * 1024
        assert read_pattern(stalled, pattern, 24 * MB) == 24 * MB
        stuffing.result()


def test_writing_goes_on_while_all_readers_stall(tunnel: Tunnel, target) -> None:
    """No client is read for, yet the server's window adjustments must be seen."""
    client = tunnel.connect(target.path)
    server = target.accept()
    up, down = Pattern("up"), Pattern("down")
    with client, server:
        stuffing = Task(lambda: send_pattern(server, down, 16 * MB))
        tunnel_has = tunnel.counters
        wait_until(lambda: tunnel_has()["bytes_out"] > 100000, "bytes for the client")
        sending = Task(lambda: send_pattern(client, up, 32 * MB))
        assert read_pattern(server, up, 32 * MB) == 32 * MB
        sending.result()
        assert read_pattern(client, down, 16 * MB) == 16 * MB
        stuffing.result()


def test_orders_and_others_are_heard_while_much_flows(tunnel: Tunnel, target) -> None:
    """More than libssh2 can decrypt: the server's bytes never end meanwhile."""
    client = tunnel.connect(target.path)
    end = target.accept()
    down, size = Pattern("down"), 192 * MB
    with client, end:
        sending = Task(lambda: send_pattern(end, down, size))
        reading = Task(lambda: read_pattern(client, down, size))
        took = []
        while reading.is_alive():
            asked = time.monotonic()
            tunnel.now()
            with tunnel.connect(target.path) as other, target.accept() as answer:
                other.sendall(b"x")
                assert answer.recv(1) == b"x"
            took.append(time.monotonic() - asked)
            time.sleep(0.05)
        assert sending.result() == reading.result() == size
        assert len(took) >= 5 and max(took) < 20, took


def test_nothing_is_left_of_many_connections(tunnel: Tunnel, target) -> None:
    target.echo()
    with tunnel.connect(target.path) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
    wait_until(lambda: tunnel.counters()["connections"] == 0, "the end of the connection")
    tunnel.settle()
    descriptors, memory = len(tunnel.descriptors()), tunnel.memory_kb("VmRSS")
    for _ in range(20):
        clients = [tunnel.connect(target.path) for _ in range(20)]
        for client in clients:
            client.sendall(b"x" * 1000)
        for client in clients:
            client.recv(1)
            client.close()
    wait_until(lambda: tunnel.counters()["connections"] == 0, "the end of the connections")
    tunnel.settle()
    assert len(tunnel.descriptors()) == descriptors
    if not tunnel.is_sanitized():
        assert tunnel.memory_kb("VmRSS") - memory < 2048
