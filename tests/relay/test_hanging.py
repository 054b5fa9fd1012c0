"""The file server of the sockets' folder does not answer: who is connected goes on, who comes is
told, and all is as before when it answers again."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hanging_mount import HangingMount
from processes import wait_until
from relay_ends import Feed, Service, read_all
from relay_link import Relay

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the sockets really are: never hangs, for the test's own clients."""
    folder = Path(tempfile.mkdtemp(prefix="gr", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def mount(folder: Path, tmp_path: Path) -> Iterator[HangingMount]:
    with HangingMount(tmp_path / "source", tmp_path / "m") as mount:
        yield mount


@pytest.fixture
def relay(mount: HangingMount, folder: Path) -> Iterator[Relay]:
    """Given the folder by a path that leads through the mount."""
    relay = Relay(mount.door(folder))
    try:
        yield relay
        relay.finish()
    finally:
        mount.answer()
        relay.close()


def talk(client: socket.socket, end: socket.socket) -> None:
    client.sendall(b"ping")
    assert end.recv(4, socket.MSG_WAITALL) == b"ping"
    end.sendall(b"pong")
    assert client.recv(4, socket.MSG_WAITALL) == b"pong"


def threads(relay: Relay) -> int:
    return len(os.listdir(f"/proc/{relay.pid}/task"))


def ask(front: Service) -> socket.socket:
    client = front.connect()
    client.sendall(REQUEST)
    return client


def test_open_connections_go_on_and_new_ones_are_told(
    relay: Relay, mount: HangingMount, service: Callable[..., Service]
) -> None:
    front = service("tu")
    client, end = front.pair()
    with client, end:
        talk(client, end)
        with mount.hanging():
            with ask(front) as first, ask(front) as second, front.connect() as other:
                other.sendall(b"SSH-2.0-x\r\n")
                talk(client, end)
                for asked in (first, second):
                    page = read_all(asked)
                    assert page.startswith(b"HTTP/1.1 503 ")
                    assert b"the file system of its socket does not answer" in page
                assert read_all(other) == b""
            with ask(front) as late:
                assert b"does not answer" in read_all(late)
            talk(client, end)
            relay.order("HELLO")
        with front.accept() as ghost:  # whom nobody waits for any more
            assert ghost.recv(1) == b""
        with ask(front) as fresh, front.accept() as fresh_end:
            assert fresh_end.recv(len(REQUEST), socket.MSG_WAITALL) == REQUEST
            fresh_end.sendall(b"answer")
            assert fresh.recv(6, socket.MSG_WAITALL) == b"answer"
        talk(client, end)
    wait_until(lambda: front.counters()["connections"] == 0, "the end of all")
    assert threads(relay) == 2


def test_who_waits_a_moment_only_is_served(
    relay: Relay, mount: HangingMount, service: Callable[..., Service]
) -> None:
    front = service("tu")
    with mount.hanging():
        client = ask(front)
        wait_until(lambda: front.counters()["accepted"] == 1, "it")
    with client, front.accept() as end:
        assert end.recv(len(REQUEST), socket.MSG_WAITALL) == REQUEST
        end.sendall(b"answer")
        assert client.recv(6, socket.MSG_WAITALL) == b"answer"
    wait_until(lambda: front.counters()["connections"] == 0, "its end")
    assert (front.counters()["failed"], front.counters()["refused"]) == (0, 0)


def test_a_handover_waits_for_nobody_either(
    relay: Relay, mount: HangingMount, service: Callable[..., Service], folder: Path
) -> None:
    front = service("tu")
    feed = Feed(relay).start().put().listen()
    feed.public = folder / feed.public.name
    client, end = front.pair()
    with client, end:
        with feed.connect() as before, feed.take() as taken:
            talk(before, taken)
        with mount.hanging():
            with feed.connect() as asked:
                asked.sendall(REQUEST)
                talk(client, end)
                assert b"does not answer" in read_all(asked)
            talk(client, end)
        assert feed.listener
        with feed.listener.accept()[0] as ghost:
            assert ghost.recv(1) == b""
        with feed.connect() as after, feed.take() as taken:
            talk(after, taken)
    feed.close()


def test_a_local_folder_takes_no_thread(folder: Path) -> None:
    relay = Relay(folder)
    try:
        front = Service(relay, "uu").open()
        client, end = front.pair()
        with client, end:
            talk(client, end)
        assert threads(relay) == 1
        front.close()
        relay.finish()
    finally:
        relay.close()
