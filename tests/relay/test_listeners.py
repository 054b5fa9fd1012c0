"""Who may connect, and what happens when descriptors run out or a socket file is deleted."""

from __future__ import annotations

import os
import resource
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import wait_until
from relay_ends import (
    KINDS,
    Feed,
    Pattern,
    Service,
    Task,
    another_user,
    as_root,
    is_refused,
    read_pattern,
    send_pattern,
)
from relay_link import Relay, RelayError
from tracing import Tracer, needs_strace

Make = Callable[..., Service]


@as_root
def test_another_user_is_refused_on_the_unix_socket(relay: Relay, service: Make) -> None:
    front = service("uu")
    relay.folder.chmod(0o711)
    os.chmod(front.public, 0o666)  # the folder and the mode keep others out before the relay does
    with another_user():
        client = front.connect()
    with client:
        assert is_refused(client)
    wait_until(lambda: front.counters()["refused"] == 1, "the refusal's count")
    client, end = front.pair()
    client.close()
    end.close()


@as_root
def test_another_user_is_refused_on_the_loopback_port(service: Make) -> None:
    front = service("tu")
    with another_user():
        client = front.connect()
    with client:
        assert is_refused(client)
    wait_until(lambda: front.counters()["refused"] == 1, "the refusal's count")
    assert front.counters()["accepted"] == 0
    client, end = front.pair()
    client.close()
    end.close()


@as_root
def test_another_user_who_left_already_is_not_taken_for_root(relay: Relay, service: Make) -> None:
    """The kernel tells root as the owner of a socket whose process closed it."""
    front = service("tu")
    relay.stop()
    with another_user():
        client = front.connect()
        client.sendall(b"as root?")
        client.close()
    relay.cont()
    wait_until(lambda: front.counters()["refused"] == 1, "the refusal")
    assert front.counters()["accepted"] == 0


def test_the_socket_is_for_its_owner_only(service: Make) -> None:
    assert os.stat(service("uu").public).st_mode & 0o777 == 0o600


def test_a_deleted_socket_file_is_made_again(relay: Relay, service: Make) -> None:
    front = service("uu")
    client, end = front.pair()
    os.unlink(front.public)
    assert relay.wait_told("RELAY_REBOUND")["LISTEN_PATH"] == str(front.public)
    client.sendall(b"old")
    assert end.recv(3, socket.MSG_WAITALL) == b"old"
    new, new_end = front.pair()
    for one in (client, end, new, new_end):
        one.close()


def test_who_connected_just_before_the_deletion_is_served(relay: Relay, service: Make) -> None:
    front = service("uu")
    relay.stop()
    client = front.connect()
    client.sendall(b"in time")
    os.unlink(front.public)
    relay.cont()
    with client, front.accept() as end:
        assert end.recv(7, socket.MSG_WAITALL) == b"in time"
    relay.wait_told("RELAY_REBOUND")


@pytest.fixture
def shared(relay: Relay, feed: Feed) -> Path:
    """andes.sck in a folder above the relay's own, as run/andes.sck is above run/<host>."""
    folder = relay.folder / "run"
    folder.mkdir()
    feed.public = relay.listen(feed.name, folder / "andes.sck")
    return feed.public


def take_over(path: Path) -> socket.socket:
    """What another hub does: its own socket, renamed to the same name."""
    other = socket.socket(socket.AF_UNIX)
    other.bind(f"{path}.new")
    other.listen()
    os.rename(f"{path}.new", path)
    return other


def test_a_deleted_file_elsewhere_is_made_again(relay: Relay, feed: Feed, shared: Path) -> None:
    for _ in range(3):
        shared.unlink()
        assert relay.wait_told("RELAY_REBOUND")["LISTEN_PATH"] == str(shared)
        with feed.connect() as client, feed.take() as end:
            client.sendall(b"new")
            assert end.recv(3, socket.MSG_WAITALL) == b"new"
    os.rename(shared, f"{shared}.away")
    assert relay.wait_told("RELAY_REBOUND")["LISTEN_PATH"] == str(shared)


def test_a_folder_made_again_is_watched_again(relay: Relay, feed: Feed, shared: Path) -> None:
    relay.stop()
    shutil.rmtree(shared.parent)
    relay.cont()
    relay.wait_told("RELAY_LOG")  # there is nowhere to make it
    shared.parent.mkdir()
    relay.order("RELAY_UNLISTEN", SERVICE=feed.name, LISTEN_PATH=str(shared))
    relay.listen(feed.name, shared)
    shared.unlink()
    assert relay.wait_told("RELAY_REBOUND")["LISTEN_PATH"] == str(shared)


@pytest.mark.parametrize("end", ["unlisten", "forget", "drain", "delete"])
def test_what_another_hub_put_there_stays(relay: Relay, feed: Feed, shared: Path, end: str) -> None:
    with take_over(shared) as other:
        other.settimeout(30)
        assert str(shared) in relay.wait_told("RELAY_LOG")["TEXT"]
        theirs = shared.stat().st_ino
        with pytest.raises(RelayError, match="another's socket stands at"):
            relay.listen(feed.name, shared)
        if end == "delete":  # theirs to make again
            shared.unlink()
            relay.settle()
            assert not shared.exists()
        elif end == "drain":
            relay.order("RELAY_DRAIN")
            relay.wait_end()
        else:
            relay.order(f"RELAY_{end.upper()}", SERVICE=feed.name, LISTEN_PATH=str(shared))
        if end != "delete":
            assert shared.stat().st_ino == theirs
            with feed.connect():
                other.accept()[0].close()


def test_who_waits_at_a_replaced_socket_is_served(relay: Relay, feed: Feed, shared: Path) -> None:
    relay.stop()
    with feed.connect() as client, take_over(shared):
        client.sendall(b"in time")
        relay.cont()
        with feed.take() as end:
            assert end.recv(7, socket.MSG_WAITALL) == b"in time"


def test_taken_back_by_order_it_is_ours_again(relay: Relay, feed: Feed, shared: Path) -> None:
    with take_over(shared):
        relay.order("RELAY_UNLISTEN", SERVICE=feed.name, LISTEN_PATH=str(shared))
        relay.listen(feed.name, shared)
        with feed.connect() as client, feed.take() as end:
            client.sendall(b"ours")
            assert end.recv(4, socket.MSG_WAITALL) == b"ours"
    relay.order("RELAY_UNLISTEN", SERVICE=feed.name, LISTEN_PATH=str(shared))
    assert not shared.exists()


def test_folders_to_watch_have_a_bound(relay: Relay, feed: Feed) -> None:
    """What is beyond is served all the same."""
    paths = [relay.folder / f"more{i}" / "andes.sck" for i in range(9)]
    for i, path in enumerate(paths):
        path.parent.mkdir()
        relay.put(f"s{i}", path, "DOWN")
        relay.listen(f"s{i}", path)
    assert str(paths[8].parent) in relay.wait_told("RELAY_LOG")["TEXT"]
    for path in paths[:8]:
        path.unlink()
        assert relay.wait_told("RELAY_REBOUND")["LISTEN_PATH"] == str(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(paths[8]))


def test_an_unlistened_socket_is_not_made_again(relay: Relay, service: Make) -> None:
    front = service("uu")
    relay.order("RELAY_UNLISTEN", SERVICE=front.name, LISTEN_PATH=str(front.public))
    relay.settle()
    assert not os.path.exists(front.public)


def test_a_port_that_is_taken_is_an_error(relay: Relay, service: Make) -> None:
    front = service("uu")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RelayError, match=f"127.0.0.1:{port}"):
            relay.order("RELAY_LISTEN", SERVICE=front.name, LISTEN_PORT=port)


@pytest.mark.parametrize("kind", KINDS)
def test_without_descriptors_nobody_is_dropped(relay: Relay, service: Make, kind: str) -> None:
    front = service(kind)
    first, first_end = front.pair()
    used = len(relay.descriptors())
    highest = max(relay.descriptors())
    assert highest < used + 1, "the relay's descriptors have holes"
    resource.prlimit(relay.pid, resource.RLIMIT_NOFILE, (used + 4, used + 4))
    clients = [front.connect() for _ in range(6)]
    for i, client in enumerate(clients):
        client.sendall(b"%d" % i)
    ends = [front.accept(), front.accept()]
    relay.wait_told("RELAY_LOG")
    before, cpu = relay.wakeups(), relay.cpu_ticks()
    first.sendall(b"on")  # open connections do not notice
    assert first_end.recv(2, socket.MSG_WAITALL) == b"on"
    assert front.listener
    front.listener.settimeout(1.5)
    with pytest.raises(TimeoutError):
        front.listener.accept()
    assert relay.wakeups() - before < 50 and relay.cpu_ticks() - cpu < 20
    front.listener.settimeout(30)
    served = []
    while len(served) < len(clients):
        end = ends.pop(0)
        served.append(int(end.recv(1)))
        end.sendall(b"bye")
        end.close()
        client = clients[served[-1]]
        assert client.recv(3, socket.MSG_WAITALL) == b"bye"
        client.close()
        if len(served) + len(ends) < len(clients):
            ends.append(front.accept())
    assert served == [0, 1, 2, 3, 4, 5]
    first.close()
    first_end.close()


@pytest.mark.parametrize("relay", [100], indirect=True)
def test_waiting_clients_leave_room_for_the_service(relay: Relay, service: Make) -> None:
    """Were all let in while it starts, none could be connected to it."""
    front = service("uu", "STARTING")
    clients = [front.connect() for _ in range(150)]
    for i, client in enumerate(clients):
        client.sendall(b"%03d" % i)
    relay.wait_told("RELAY_LOG")
    front.start()
    relay.put(front.name, front.target)
    for i, client in enumerate(clients):
        with front.accept() as end:
            assert end.recv(3, socket.MSG_WAITALL) == b"%03d" % i
            end.sendall(b"bye")
        assert client.recv(3, socket.MSG_WAITALL) == b"bye"
        client.close()
    assert front.counters()["failed"] == 0


def test_a_raised_limit_is_noticed(relay: Relay, service: Make) -> None:
    """Nothing tells the relay, and no connection ends: it tries again by itself."""
    front = service("uu")
    limits = resource.prlimit(relay.pid, resource.RLIMIT_NOFILE)
    used = len(relay.descriptors())
    resource.prlimit(relay.pid, resource.RLIMIT_NOFILE, (used, limits[1]))
    with front.connect() as client:
        client.sendall(b"patient")
        relay.wait_told("RELAY_LOG")
        resource.prlimit(relay.pid, resource.RLIMIT_NOFILE, limits)
        with front.accept() as end:
            assert end.recv(7, socket.MSG_WAITALL) == b"patient"


def test_bulk_goes_on_without_descriptors_for_pipes(relay: Relay, service: Make) -> None:
    front = service("uu")
    client, end = front.pair()
    used = len(relay.descriptors())
    resource.prlimit(relay.pid, resource.RLIMIT_NOFILE, (used, used))
    text = Pattern("text")
    with client, end:
        sending = Task(lambda: send_pattern(end, text, 20 << 20))
        assert read_pattern(client, text, 20 << 20) == 20 << 20
        sending.result()
        assert not relay.pipes()


@needs_strace
@pytest.mark.parametrize("kind", ["uu", "tu"])
def test_a_socket_that_cannot_be_watched_is_closed_again(
    relay: Relay, service: Make, kind: str
) -> None:
    relay.put(kind, relay.folder / "own.sck")
    relay.listen_port(kind)  # opens what asks the kernel who connects
    before = len(relay.descriptors())
    with (
        Tracer(relay.pid, "epoll_ctl", "error=ENOSPC"),
        pytest.raises(RelayError, match="cannot watch"),
    ):
        if kind == "uu":
            relay.listen(kind)
        else:
            relay.listen_port(kind)
    assert not (relay.folder / f"{kind}.sck").exists()
    assert len(relay.descriptors()) == before
    front = service(kind)
    client, end = front.pair()
    client.close()
    end.close()
