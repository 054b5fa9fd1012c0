"""Who leads a tunnel, and what happens when nobody does."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from link_frames import NUMBERS, frame
from processes import wait_until
from sshd import Sshd
from tunnel_link import NONCE, Tunnel, TunnelError, hop_record

Start = Callable[..., Tunnel]


def test_the_steps_of_a_login_are_told(start: Start) -> None:
    tunnel = start()
    assert tunnel.status["NONCE"] == NONCE
    assert tunnel.status["BUILD"] == "test"
    assert tunnel.status["CLUSTER"] == "andes"
    assert tunnel.status["TUNNEL_STATE"] == "CONNECTING"
    up = tunnel.wait_state("UP")
    assert up["AUTH_METHOD"] == "publickey"
    assert up["ADDRESS"] == "127.0.0.1"
    assert up["HUMAN"] == 0
    assert -1 < time.time() - up["AUTHENTICATED_AT"] / 1e6 < 60


def test_it_cannot_be_dumped(tunnel: Tunnel) -> None:
    folder = Path(f"/proc/{tunnel.pid}")
    core = re.search(r"^Max core file size +(\S+) +(\S+)", (folder / "limits").read_text(), re.M)
    assert core and core.groups() == ("0", "0")
    assert (folder / "comm").read_text() == "gears-tunnel\n"


def test_a_later_controller_takes_over(tunnel: Tunnel, target) -> None:
    """The one before is closed, connections go on, orders are the new one's."""
    target.echo()
    with tunnel.connect(target.path) as client:
        old = tunnel.link.dup()
        tunnel.take_over()
        assert tunnel.status["TUNNEL_STATE"] == "UP"
        old.settimeout(60)
        while old.recv(1 << 17):
            pass
        old.close()
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        assert tunnel.order("TUNNEL_PROBE")["TUNNEL_STATE"] == "UP"
        assert tunnel.counters()["connections"] == 1


def test_without_a_controller_everything_goes_on(tunnel: Tunnel, target) -> None:
    target.echo()
    with tunnel.connect(target.path) as before:
        tunnel.link.close()  # as the kernel does for a gearsd that is killed
        for client in (before, tunnel.connect(target.path)):
            client.sendall(b"x" * 100000)
            assert client.recv(1) == b"x"
        client.close()
        tunnel.take_over()
        assert tunnel.status["TUNNEL_STATE"] == "UP"


def test_strangers_at_the_door_change_nothing(tunnel: Tunnel) -> None:
    for words in (b"", b"garbage", frame("TUNNEL_CLOSE", 1, {})):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer:
            peer.connect(str(tunnel.link_path))
            if words:
                peer.send(words)
    assert tunnel.now()["TUNNEL_STATE"] == "UP"


def test_strangers_at_the_feed_change_nothing(tunnel: Tunnel, target) -> None:
    """Garbage, frames without descriptors, other descriptors, and more connections than fit."""
    good = frame("TUNNEL_OPEN", 0, {"TARGET_PATH": str(target.path), "SERVICE": "lab"})
    silent = []
    for words, fds in (
        (b"garbage", []),
        (good, []),
        (good, [0]),
        (frame("TUNNEL_OPEN", 0, {"SERVICE": "lab"}), [0]),
        (frame("TUNNEL_CLOSE", 0, {}), []),
    ):
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        peer.connect(str(tunnel.feed_path))
        socket.send_fds(peer, [words], fds)
        silent.append(peer)
    for _ in range(80):
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        peer.connect(str(tunnel.feed_path))
        silent.append(peer)
    client = tunnel.connect(target.path)
    with client, target.accept() as end:
        client.sendall(b"x")
        assert end.recv(1) == b"x"
    for peer in silent:
        peer.settimeout(60)
        assert peer.recv(1) == b"", "idle ones are closed"
        peer.close()
    assert tunnel.counters()["accepted"] == 1


def test_deleted_sockets_are_made_again(tunnel: Tunnel, target) -> None:
    target.echo()
    for path in (tunnel.link_path, tunnel.feed_path):
        path.unlink()
        wait_until(path.exists, "the socket to be made again")
    with tunnel.connect(target.path) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
    tunnel.take_over()


def delete(folder: Path) -> None:
    """Once more when something was made in it meanwhile."""

    def is_gone() -> bool:
        try:
            shutil.rmtree(folder)
        except OSError:
            return False
        return True

    wait_until(is_gone, "an end of the folder")


@pytest.mark.parametrize("way", ["deleted", "moved", "deleted while it sleeps"])
def test_a_deleted_folder_is_made_again(tunnel: Tunnel, target, way: str) -> None:
    """A hop that nobody finds any more would be lost, PASSCODE and all."""
    target.echo()
    for turn in range(3):
        if way == "moved":
            tunnel.sockets.rename(tunnel.folder / f"away{turn}")
        elif way == "deleted":
            delete(tunnel.sockets)
        else:  # it hears of files and folder at once
            signal.pidfd_send_signal(tunnel.handle, signal.SIGSTOP)
            delete(tunnel.sockets)
            signal.pidfd_send_signal(tunnel.handle, signal.SIGCONT)
        for path in (tunnel.link_path, tunnel.feed_path):
            wait_until(path.exists, f"{path} to be made again")
        assert tunnel.sockets.stat().st_mode & 0o777 == 0o700
        with tunnel.connect(target.path) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
        tunnel.take_over()


def read_nothing(tunnel: Tunnel) -> None:
    """As a gearsd that is stopped: the tunnel's answers fill its socket."""
    for _ in range(1000):
        tunnel.send("RELAY_DRAIN")


def test_a_report_waits_for_a_controller_that_does_not_read(tunnel: Tunnel, server: Sshd) -> None:
    ended = server.log.count("Close session")
    read_nothing(tunnel)
    command = "echo '@gears-report 1 {}'"
    running = tunnel.send("TUNNEL_RUN", COMMAND=command, TIMEOUT_MS=20000)
    wait_until(lambda: server.log.count("Close session") > ended, "the command's end")
    assert tunnel.answer_to(running) == ("TUNNEL_RAN", {"REPORT": "{}"})
    assert tunnel.now()["TUNNEL_STATE"] == "UP"


def test_the_end_waits_for_a_controller_that_does_not_read(tunnel: Tunnel) -> None:
    read_nothing(tunnel)
    tunnel.send("TUNNEL_CLOSE", CAUSE=NUMBERS["CAUSE_POLICY"], TEXT="too old")
    wait_until(tunnel.record.exists, "the record of the end")
    while (told := tunnel.wait_told("TUNNEL_STATE"))["TUNNEL_STATE"] != "DOWN":
        pass
    assert told["TEXT"] == "too old"
    tunnel.wait_end()


@pytest.mark.parametrize("way", ["order", "signal"])
def test_the_end_by_order(tunnel: Tunnel, target, way: str) -> None:
    client = tunnel.connect(target.path)
    with client, target.accept():
        if way == "order":
            policy = NUMBERS["CAUSE_POLICY"]
            tunnel.order("TUNNEL_CLOSE", CAUSE=policy, TEXT="older than 24 h")
        else:
            signal.pidfd_send_signal(tunnel.handle, signal.SIGTERM)
        while (told := tunnel.wait_told("TUNNEL_STATE"))["TUNNEL_STATE"] != "DOWN":
            pass
        tunnel.wait_end()
        assert client.recv(1) == b""
    expected = {
        "order": ("POLICY", "older than 24 h"),
        "signal": ("CANCELLED", "ended by signal TERM"),
    }[way]
    assert (told["CAUSE"], told["TEXT"]) == expected
    record = tunnel.exit_record()
    assert record["nonce"] == NONCE
    assert record["cause"] == str(NUMBERS[f"CAUSE_{expected[0]}"])
    assert record["text"] == expected[1]


def test_the_end_leaves_others_sockets_alone(tunnel: Tunnel) -> None:
    """A successor may have put its own in their place."""
    for path in (tunnel.link_path, tunnel.feed_path):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
            other.bind(str(path) + ".new")
        os.rename(str(path) + ".new", path)
    tunnel.order("TUNNEL_CLOSE")
    tunnel.wait_end()
    for path in (tunnel.link_path, tunnel.feed_path):
        assert path.exists()
        path.unlink()


def test_a_login_is_cancelled(start: Start, server: Sshd) -> None:
    server.freeze(listener=True)
    tunnel = start()
    tunnel.order("TUNNEL_CLOSE", CAUSE=NUMBERS["CAUSE_CANCELLED"], TEXT="not wanted any more")
    tunnel.wait_end()
    assert tunnel.exit_record()["text"] == "not wanted any more"


@pytest.mark.long
def test_a_login_ends_when_nobody_leads(start: Start, server: Sshd) -> None:
    """But one who comes within ten seconds finds it."""
    server.freeze(listener=True)
    tunnel = start()
    tunnel.link.close()
    time.sleep(2)
    assert tunnel.take_over().status["TUNNEL_STATE"] == "CONNECTING"
    tunnel.link.close()
    left = time.monotonic()
    tunnel.wait_end()
    assert time.monotonic() - left > 8
    assert "did not come back" in tunnel.exit_record()["text"]


def test_a_login_that_fails_is_told_and_recorded(start: Start, server: Sshd) -> None:
    authorized = server.authorized.read_text()
    server.authorized.write_text("")
    try:
        tunnel = start(UNATTENDED=1)
        while (told := tunnel.wait_told("TUNNEL_STATE"))["TUNNEL_STATE"] != "DOWN":
            pass
        tunnel.wait_end()
        assert told["CAUSE"] in ("AUTH_FAILED", "AUTH_NEEDED")
        assert tunnel.exit_record()["text"] == told["TEXT"]
    finally:
        server.authorized.write_text(authorized)


def test_a_start_it_cannot_follow_is_refused(tmp_path, server: Sshd) -> None:
    for settings in ({"TRANSPORT": "pigeons"}, {"SSH_HOP": ["garbage"]}, {"SSH_HOP": []}):
        with pytest.raises(TunnelError):
            Tunnel(tmp_path, [hop_record(server, tmp_path)], **settings)


def test_orders_it_does_not_know(tunnel: Tunnel) -> None:
    kind, told = tunnel.answer_to(tunnel.send("RELAY_DRAIN"))
    assert (kind, told["TYPE"]) == ("UNSUPPORTED", NUMBERS["RELAY_DRAIN"])
    with pytest.raises(TunnelError, match="not asked any more"):
        tunnel.order("TUNNEL_ANSWER", PROMPT_ID="0" * 32, ANSWER="secret")
    with pytest.raises(TunnelError, match="no command was given"):
        tunnel.order("TUNNEL_RUN")
