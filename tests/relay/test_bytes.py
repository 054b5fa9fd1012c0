"""Bytes arrive whole, in order, at the right end; ends and aborts pass as they are."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Callable

import pytest
from processes import wait_until
from relay_ends import KINDS, Pattern, Service, Task, abort, read_pattern, send_pattern, send_until
from relay_link import Relay

MB = 1 << 20
Make = Callable[..., Service]


@pytest.mark.parametrize("kind", KINDS)
def test_both_directions_at_once(service: Make, kind: str) -> None:
    front = service(kind)
    client, server = front.pair()
    up, down = Pattern("up"), Pattern("down")
    with client, server:
        tasks = [
            Task(lambda: send_pattern(client, up, 20 * MB)),
            Task(lambda: send_pattern(server, down, 30 * MB)),
            Task(lambda: read_pattern(client, down, 30 * MB)),
            Task(lambda: read_pattern(server, up, 20 * MB)),
        ]
        assert [task.result() for task in tasks] == [20 * MB, 30 * MB, 30 * MB, 20 * MB]
    counters = front.counters()
    assert (counters["bytes_in"], counters["bytes_out"]) == (20 * MB, 30 * MB)
    assert counters["accepted"] == 1
    wait_until(lambda: front.counters()["connections"] == 0, "the end of the connection")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 10, 3 * MB])
def test_a_half_closed_client_gets_its_answer(service: Make, kind: str, size: int) -> None:
    client, server = service(kind).pair()
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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 10, 3 * MB])
def test_a_half_closed_service_still_reads(service: Make, kind: str, size: int) -> None:
    client, server = service(kind).pair()
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


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_in_the_pipe_comes_before_the_end(relay: Relay, service: Make, kind: str) -> None:
    """The writer ends while its last bytes are in the relay's pipe."""
    client, server = service(kind).pair()
    writer, reader = (client, server) if kind == "tu" else (server, client)
    text, size = Pattern("text"), 8 * MB
    with client, server:
        writing = Task(lambda: send_pattern(writer, text, size))
        got = read_pattern(reader, text, 4 * MB)
        wait_until(relay.held_bytes, "bytes in a pipe")
        got += read_pattern(reader, text, 4 * MB - 100000, at=got)
        writing.result()
        writer.close()
        assert read_pattern(reader, text, None, at=got) == 100000
    wait_until(lambda: not relay.pipes(), "the end of the pipe")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("who", ["reader", "writer", "both"])
def test_bytes_left_in_a_pipe_reach_nobody(
    relay: Relay, service: Make, kind: str, who: str
) -> None:
    """A pipe may hold bytes when its connection is aborted; they must go with it."""
    front = service(kind)
    for round_ in range(3):
        client, server = front.pair()
        writer, reader = (client, server) if kind == "tu" else (server, client)
        left = Pattern(f"left {round_}")
        writing = Task(lambda writer=writer, left=left: send_pattern(writer, left, 64 * MB))
        read_pattern(reader, left, 4 * MB)
        wait_until(relay.held_bytes, "bytes in a pipe")
        if who != "writer":
            abort(reader)
        if who != "reader":
            with contextlib.suppress(OSError):  # reset already
                writer.shutdown(socket.SHUT_RDWR)
        if who == "writer":
            read_pattern(reader, left, None, at=4 * MB)
            abort(reader)
        writing.result()
        abort(writer)
        wait_until(lambda: front.counters()["connections"] == 0, "the end of the connection")
        assert not relay.pipes()
        pairs = [front.pair() for _ in range(4)]
        texts = [Pattern(f"new {round_} {i}") for i in range(4)]
        tasks = []
        for (client, server), text in zip(pairs, texts):
            for a, b in ((client, server), (server, client)):
                tasks.append(Task(lambda a=a, text=text: send_pattern(a, text, 4 * MB)))
                tasks.append(Task(lambda b=b, text=text: read_pattern(b, text, 4 * MB)))
        assert {task.result() for task in tasks} == {4 * MB}
        for client, server in pairs:
            client.close()
            server.close()


def chaotic(ends: tuple[socket.socket, socket.socket], key: str) -> None:
    """Send both ways and end in one of the ways connections end."""
    chance = random.Random(key)
    client, server = ends
    up, down = Pattern(key + " up"), Pattern(key + " down")
    sizes = [chance.choice((100, 50000, 600000, 2500000)) for _ in range(2)]
    ending = chance.choice(("orderly", "half", "abort", "abort", "deaf"))
    stop = [threading.Event(), threading.Event()]
    senders = [
        Task(lambda: send_until(client, up, sizes[0], stop[0])),
        Task(lambda: send_until(server, down, sizes[1], stop[1])),
    ]
    if ending in ("orderly", "half"):
        readers = [
            Task(lambda: read_pattern(server, up, sizes[0])),
            Task(lambda: read_pattern(client, down, sizes[1])),
        ]
        assert [task.result() for task in (*senders, *readers)] == sizes * 2, key
        if ending == "half":
            client.shutdown(socket.SHUT_WR)
            assert server.recv(1) == b"", key
    else:
        read_pattern(client, down, chance.randrange(sizes[1]))
        if ending == "deaf":
            client.shutdown(socket.SHUT_RD)
        stop[0].set()
        said, client_family = senders[0].result(), client.family
        abort(client)
        heard = read_pattern(server, up, None)
        both_unix = client_family == server.family == socket.AF_UNIX  # no reset destroys bytes
        assert heard == said if both_unix else heard <= said, key
        stop[1].set()
        senders[1].result()
        abort(server)
    client.close()
    server.close()


@pytest.mark.parametrize("kind", KINDS)
def test_many_connections_never_mix(service: Make, kind: str) -> None:
    front = service(kind)
    for wave in range(4):
        pairs = [front.pair() for _ in range(12)]
        tasks = [
            Task(lambda ends=ends, key=f"{kind} {wave} {i}": chaotic(ends, key) or 0)
            for i, ends in enumerate(pairs)
        ]
        for task in tasks:
            task.result()
    wait_until(lambda: front.counters()["connections"] == 0, "the end of all connections")


@pytest.mark.parametrize("kind", KINDS)
def test_a_reset_is_passed_on(service: Make, kind: str) -> None:
    """An end that leaves with bytes unread resets; what it said before still arrives."""
    front = service(kind)
    client, server = front.pair()
    with server:
        server.sendall(b"never read")
        assert client.recv(10, socket.MSG_PEEK | socket.MSG_WAITALL) == b"never read"
        client.sendall(b"last words")
        assert server.recv(10, socket.MSG_WAITALL) == b"last words"
        client.close()
        if kind == "ut":
            with pytest.raises(ConnectionResetError):
                server.recv(1)
        else:  # a Unix socket cannot be made to reset
            assert server.recv(1) == b""
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            server.send(b"x")
            server.send(b"x")
    wait_until(lambda: front.counters()["connections"] == 0, "the end of the connection")


@pytest.mark.parametrize("kind", ["uu", "ut"])
@pytest.mark.parametrize("size", [100, 2 * MB])
def test_a_client_that_left_is_heard_to_the_end(service: Make, kind: str, size: int) -> None:
    """It closed while the service was slow to read, and the service wrote to it since."""
    front = service(kind)
    client, server = front.pair()
    text = Pattern("parting")
    with server:
        sending = Task(lambda: send_pattern(client, text, size))
        got = read_pattern(server, text, size // 2)
        if size > MB:
            got += read_pattern(server, text, size // 2 - 200000, at=got)
        sending.result()
        client.close()
        with contextlib.suppress(BrokenPipeError):  # the relay had nothing left for it
            server.sendall(b"too late")
        assert got + read_pattern(server, text, None, at=got) == size
    wait_until(lambda: front.counters()["connections"] == 0, "the end of the connection")


@pytest.mark.parametrize("kind", ["ut", "tu"])
def test_late_words_destroy_nothing_that_is_on_its_way(
    relay: Relay, service: Make, kind: str
) -> None:
    """One side left; the other reads slowly, by TCP, and writes all the while."""
    front = service(kind)
    pair = front.pair()
    writer, reader = pair if kind == "ut" else pair[::-1]
    text = Pattern("parting")
    writer.settimeout(0.3)
    sent = got = 0
    with contextlib.suppress(TimeoutError):
        while True:
            sent += writer.send(text.bytes(sent, 65536))
    writer.close()
    with reader:
        while piece := reader.recv(20000):
            assert piece == text.bytes(got, len(piece))
            got += len(piece)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                reader.sendall(b"too late" * 1000)
        assert got == sent
        wait_until(lambda: front.counters()["connections"] == 0, "the end of the connection")


def test_who_does_not_read_yet_costs_one_descriptor(relay: Relay, service: Make) -> None:
    """What it says meanwhile is heard and dropped."""
    front = service("ut")
    assert front.listener
    front.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)  # the rest is not there
    relay.settle()
    before = len(relay.descriptors())
    writer, reader = front.pair()
    writer.settimeout(0.3)
    with contextlib.suppress(TimeoutError):
        while True:
            writer.send(b"x" * 65536)
    writer.close()
    with reader:
        while len(relay.descriptors()) > before + 1:  # what the relay itself keeps is moved on
            assert reader.recv(65536)
            reader.sendall(b"late")
            relay.order("HELLO")
        relay.settle()
        wakeups = relay.wakeups()
        reader.settimeout(1)
        for _ in range(20):
            reader.sendall(b"late")
        wait_until(lambda: relay.wakeups() > wakeups, "a look at the words")
        assert front.counters()["connections"] == 1
    wait_until(lambda: front.counters()["connections"] == 0, "the end of the connection")


def test_a_deaf_client_is_told_to_the_service(service: Make) -> None:
    """Who reads no more makes the writer's writes fail, as without a relay; it may still speak."""
    client, server = service("uu").pair()
    with client, server:
        client.shutdown(socket.SHUT_RD)
        with pytest.raises(BrokenPipeError):
            while True:
                server.send(b"x" * 1000)
        client.sendall(b"still here")
        assert server.recv(10, socket.MSG_WAITALL) == b"still here"


@pytest.mark.parametrize("kind", KINDS)
def test_a_stalled_reader_stalls_only_itself(relay: Relay, service: Make, kind: str) -> None:
    front = service(kind)
    stalled = [front.pair() for _ in range(4)]
    before = relay.memory_kb("VmRSS")
    taken = 0
    for _, server in stalled:
        server.settimeout(0.3)
        piece = b"s" * 65536
        try:
            while taken < 400 * MB:
                taken += server.send(piece)
        except TimeoutError:
            continue
    assert taken < 100 * MB
    assert relay.memory_kb("VmRSS") - before < 1500 or relay.is_sanitized()
    text = Pattern("lively")
    client, server = front.pair()
    with client, server:
        for _ in range(10):
            client.sendall(b"ping")
            assert server.recv(4, socket.MSG_WAITALL) == b"ping"
        sending = Task(lambda: send_pattern(server, text, 20 * MB))
        assert read_pattern(client, text, 20 * MB) == 20 * MB
        sending.result()
    total = 0
    for client, server in stalled:
        server.close()
        while piece := client.recv(1 << 20):
            assert not piece.strip(b"s")
            total += len(piece)
        client.close()
    assert total == taken


@pytest.mark.parametrize(("kind", "pipes"), [("uu", 8), ("ut", 5)])
def test_pipes_are_few_and_given_back(relay: Relay, service: Make, kind: str, pipes: int) -> None:
    """Their pages come from what all the user's programs share."""
    front = service(kind)
    pairs = [front.pair() for _ in range(12)]
    text = Pattern("text")
    tasks = [Task(lambda s=s: send_pattern(s, text, 16 * MB)) for _, s in pairs]
    got = [read_pattern(client, text, 4 * MB) for client, _ in pairs]
    wait_until(lambda: len(relay.held_bytes()) == pipes, "pipes that hold bytes")
    assert sum(relay.pipe_sizes()) == 2 * MB
    for (client, _), at in zip(pairs, got):
        assert read_pattern(client, text, 12 * MB, at=at) == 12 * MB
    assert [task.result() for task in tasks] == [16 * MB] * 12
    assert sum(relay.pipe_sizes()) <= 2 * MB
    for client, server in pairs:  # no bulk any more
        for _ in range(5):
            server.sendall(b"small")
            assert client.recv(5, socket.MSG_WAITALL) == b"small"
    assert not relay.pipes()
    for client, server in pairs:
        client.close()
        server.close()


def test_an_unused_pipe_makes_room_for_another(relay: Relay, service: Make) -> None:
    front = service("uu")
    text = Pattern("text")
    idle = [front.pair() for _ in range(8)]
    for client, server in idle:
        sending = Task(lambda server=server: send_pattern(server, text, 8 * MB))
        assert read_pattern(client, text, 8 * MB) == 8 * MB
        sending.result()
    assert len(relay.pipes()) == 8
    client, server = front.pair()
    sending = Task(lambda: send_pattern(server, text, 400 * MB))
    got = read_pattern(client, text, MB)

    def moved() -> bool:
        nonlocal got
        got += read_pattern(client, text, MB, at=got)
        return bool(relay.held_bytes())

    wait_until(moved, "a pipe for the busy connection")
    assert len(relay.pipes()) <= 8
    abort(client)
    sending.result()
    server.close()
    for i, (a, b) in enumerate(idle):  # who lost its pipe goes on
        b.sendall(b"on %d" % i)
        assert a.recv(4, socket.MSG_WAITALL) == b"on %d" % i
        a.close()
        b.close()


def test_a_stopped_relay_goes_on(relay: Relay, service: Make) -> None:
    front = service("uu")
    client, server = front.pair()
    text = Pattern("text")
    with client, server:
        sending = Task(lambda: send_pattern(server, text, 20 * MB))
        got = read_pattern(client, text, 3 * MB)
        relay.stop()
        later = front.connect()
        later.sendall(b"hello")
        relay.cont()
        assert read_pattern(client, text, 20 * MB - got, at=got) == 20 * MB - got
        sending.result()
        with later, front.accept() as end:
            assert end.recv(5, socket.MSG_WAITALL) == b"hello"
