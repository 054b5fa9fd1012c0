"""A relay that nobody can find any more does not stay behind; one that can be found stays."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

from processes import wait_until
from relay_ends import Service
from relay_link import Relay

Make = Callable[..., Service]


def is_gone(relay: Relay, seconds: float = 20) -> bool:
    return bool(select.select([relay.handle], [], [], seconds)[0])


def test_a_deleted_link_is_made_again(relay: Relay) -> None:
    path = relay.folder / "relay.sck"
    before = path.stat().st_ino
    path.unlink()
    wait_until(lambda: path.exists() and path.stat().st_ino != before, "the link")
    relay.link.close()
    assert not is_gone(relay, 0.2)
    relay.link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    relay.link.settimeout(30)
    relay.link.connect(str(path))
    assert relay.order("HELLO")["PID"] == relay.pid


def test_another_at_its_link_is_left_to_serve(relay: Relay, service: Make) -> None:
    front = service()
    client, end = front.pair()
    with client, end, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
        fresh = relay.folder / "other.sck"
        other.bind(str(fresh))
        other.listen()
        fresh.rename(relay.folder / "relay.sck")
        assert not is_gone(relay, 0.2)  # it is led still
        relay.link.close()
        client.sendall(b"ping")  # what is connected is served to its end
        assert end.recv(4, socket.MSG_WAITALL) == b"ping"
        assert not is_gone(relay, 0.2)
    front.close()
    assert is_gone(relay)
