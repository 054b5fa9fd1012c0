"""transport = openssh: the same tests as for libssh2, and what its sockets are good for."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from openssh_tunnel import SystemSsh, down, end, master, processes
from processes import alive, wait_until
from sshd import WHY_NOT, Sshd, new_key
from tunnel_link import Tunnel


def _module(name: str) -> ModuleType:
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"openssh_{name}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# What holds for libssh2 alone, and why.
OTHERWISE = {
    "test_a_frozen_server_keeps_a_bounded_queue": "ssh has the queue",
    "test_an_open_that_comes_late_serves_the_next_order": "its one session is kept",
    "test_the_deadline": "ssh does not tell who was asked for already",
}
for module in ("bytes", "control", "opens", "run", "silence"):
    for name, value in vars(_module(f"test_session_{module}")).items():
        if name not in OTHERWISE and (name.startswith("test_") or name == "quick"):
            globals()[name] = value


def _finish(ssh: SystemSsh) -> None:
    for tunnel in ssh.made:
        end(tunnel)
    assert not ssh.folders(), "sockets of ssh are left"


@pytest.fixture
def start(server: Sshd, home: Path) -> Iterator[Callable[..., Tunnel]]:
    """Starts tunnels: start(KEEPALIVE_MS=200), not waiting for the login."""
    with contextlib.ExitStack() as stack:
        made: list[SystemSsh] = []
        served = "the end of the server's side"
        stack.callback(lambda: wait_until(lambda: not server.serving(), served))
        stack.callback(server.thaw)

        def make(**settings: str | int) -> Tunnel:
            ssh = stack.enter_context(SystemSsh(server))
            made.append(ssh)
            for name in ("key", "key.pub"):
                shutil.copy(home / name, ssh.folder / name)
            return ssh.start(**settings)

        yield make
        for ssh in made:
            _finish(ssh)


@pytest.fixture
def special(tmp_path: Path) -> Iterator[Callable[..., Tunnel]]:
    """Starts a tunnel that is up to a server of its own, made with these words."""
    if WHY_NOT:
        pytest.skip(WHY_NOT)
    with contextlib.ExitStack() as stack:
        made: list[SystemSsh] = []

        def make(settings: dict[str, str | int] | None = None, **words: Any) -> Tunnel:
            sshd = stack.enter_context(Sshd(tmp_path, "publickey", **words))
            ssh = stack.enter_context(SystemSsh(sshd))
            made.append(ssh)
            sshd.authorize(new_key(ssh.folder / "key"))
            tunnel = ssh.start(**(settings or {}))
            tunnel.wait_state("UP")
            return tunnel

        yield make
        for ssh in made:
            _finish(ssh)


def echoes(tunnel: Tunnel, path: Path) -> bool:
    with tunnel.connect(path) as client:
        client.sendall(b"x")
        return client.recv(1) == b"x"


def test_more_targets_than_ways(tunnel: Tunnel, target) -> None:
    """ssh has 32 sockets at once; what goes through an earlier one is not disturbed."""
    target.echo()
    with tunnel.connect(target.path) as first:
        first.sendall(b"x")
        assert first.recv(1) == b"x"
        for number in range(40):
            other = target.path.with_name(f"{number}.sck")
            other.symlink_to(target.path)
            assert echoes(tunnel, other)
        first.sendall(b"y")
        assert first.recv(1) == b"y"
    sockets = [path.name for path in next(tunnel.sockets.glob("x-*")).iterdir()]
    assert len(sockets) == 32 + 3, "those, ssh's configuration, its control socket, askpass's"


def test_deleted_sockets_are_made_again(tunnel: Tunnel, target) -> None:
    target.echo()
    assert echoes(tunnel, target.path)
    for path in next(tunnel.sockets.glob("x-*")).iterdir():
        path.unlink()
    assert echoes(tunnel, target.path)
    assert tunnel.order("TUNNEL_PROBE")["TUNNEL_STATE"] == "UP"


def test_its_sockets_are_private(tunnel: Tunnel, target) -> None:
    target.echo()
    assert echoes(tunnel, target.path)
    folder = next(tunnel.sockets.glob("x-*"))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_a_killed_master_is_never_followed_by_a_connection(
    tunnel: Tunnel, server: Sshd, target
) -> None:
    """Clients and orders that come while its end is noticed connect to nothing."""
    target.echo()
    before = server.connections()
    assert echoes(tunnel, target.path)
    client = tunnel.connect(target.path)
    os.kill(tunnel.pid, signal.SIGSTOP)
    os.kill(master(tunnel), signal.SIGKILL)
    late = tunnel.connect(target.path)
    late.sendall(b"GET / HTTP/1.1\r\n\r\n")
    asked = tunnel.send("TUNNEL_RUN", COMMAND="true", TIMEOUT_MS=5000)
    os.kill(tunnel.pid, signal.SIGCONT)
    with client, late:
        told = down(tunnel)
        assert told["CAUSE"] == "NETWORK_DOWN"
        assert "andes" in told["TEXT"] and "signal 9" in told["TEXT"]
        assert client.recv(1) == b""
        with contextlib.suppress(ConnectionResetError):
            late.recv(1)
    assert any(request == asked for _, request, _ in tunnel.told)
    assert server.connections() == before


def test_a_killed_tunnel_leaves_nothing(server: Sshd, home: Path, target) -> None:
    """ssh dies with it; the next tunnel of the cluster removes its sockets, and no other's."""
    target.echo()
    with SystemSsh(server) as ssh:
        for name in ("key", "key.pub"):
            shutil.copy(home / name, ssh.folder / name)
        killed = ssh.start(NONCE="a" * 32)
        killed.wait_state("UP")
        assert echoes(killed, target.path)
        pids = processes(killed)
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait_end()
        wait_until(lambda: not any(map(alive, pids)), "the end of ssh")
        other = killed.sockets / "x-andes.1.bbbbbb"
        other.mkdir()
        assert [path.name for path in ssh.folders()] == [other.name, "x-andes.aaaaaa"]
        again = ssh.start(NONCE="c" * 32)
        again.wait_state("UP")
        assert [path.name for path in ssh.folders()] == [other.name, "x-andes.cccccc"]
        assert echoes(again, target.path)
        again.finish()
        assert ssh.folders() == [other]


@pytest.mark.long
def test_a_frozen_server_and_a_new_client(tunnel: Tunnel, server: Sshd, target) -> None:
    """Nothing is heard since it came: after 30 s it gets its page."""
    target.echo()
    assert echoes(tunnel, target.path)
    tunnel.settle()
    server.freeze()
    tunnel.link.settimeout(60)
    with tunnel.connect(target.path) as client:
        client.settimeout(60)
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        page = b""
        while piece := client.recv(65536):
            page += piece
        assert page.startswith(b"HTTP/1.1 503 ") and b"within 30 s" in page
    assert "did not open" in tunnel.wait_told("TUNNEL_TROUBLE")["TEXT"]
    server.thaw()
    target.echo()
    assert echoes(tunnel, target.path)


@pytest.mark.long
def test_a_quiet_service_is_no_frozen_server(tunnel: Tunnel, target) -> None:
    """It takes what a client says and does not answer for longer than an open may take."""
    with tunnel.connect(target.path) as client, target.accept() as end:
        client.sendall(b"wait")
        assert end.recv(4) == b"wait"
        client.settimeout(33)
        with pytest.raises(TimeoutError):
            client.recv(1)
        end.sendall(b"late")
        assert client.recv(4) == b"late"


def test_a_service_that_says_nothing_gets_no_page(tunnel: Tunnel, target) -> None:
    """It took the connection and closed it: no trouble of ours."""
    with tunnel.connect(target.path) as client, target.accept() as end:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        end.recv(100)
        end.shutdown(socket.SHUT_RDWR)
        assert client.recv(1) == b""
    assert tunnel.counters()["failed"] == 0


def test_a_refusal_to_one_who_left(tunnel: Tunnel, server: Sshd, home: Path, target) -> None:
    """It is nobody's: not that of the next whose service says nothing."""
    with tunnel.connect(home / "missing.sck") as client:
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    server.freeze()
    tunnel.connect(home / "missing.sck").close()
    wait_until(lambda: tunnel.counters()["accepted"] == 2, "the client")
    wait_until(lambda: tunnel.counters()["connections"] == 0, "the client's end")
    server.thaw()
    assert tunnel.run("printf '\\n@gears-report 1 {}\\n'")["REPORT"] == "{}"
    tunnel.now()  # has heard what ssh printed
    with tunnel.connect(target.path) as client:
        target.accept().close()
        assert client.recv(1) == b""
    assert tunnel.counters()["failed"] == 1


def test_many_refusals_leave_nothing(tunnel: Tunnel, home: Path, target) -> None:
    """ssh forgets each of them; the reason is told for each."""
    target.echo()
    for _ in range(3):
        clients = [tunnel.connect(home / "missing.sck") for _ in range(100)]
        for client in clients:
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
            client.close()
        tunnel.now()  # hears what was told
    assert tunnel.counters()["failed"] == 300
    assert echoes(tunnel, target.path)
    wait_until(
        lambda: len(list(Path(f"/proc/{master(tunnel)}/fd").iterdir())) < 20, "ssh's descriptors"
    )


@pytest.fixture
def held(quick: Tunnel, home: Path) -> Iterator[Tunnel]:
    """A command that hangs holds the only session that the server allows."""
    pid, told = quick.run_hanging(home)
    assert "did not report in time" in told["TEXT"]
    yield quick
    os.kill(pid, signal.SIGKILL)


def state(tunnel: Tunnel) -> str:
    return tunnel.now()["TUNNEL_STATE"]


def test_silence_is_noticed_without_a_session(held: Tunnel, server: Sshd) -> None:
    """No other can be opened: the server is asked for one, and its no is a sign of life."""
    assert "the server refused a session" in held.run("true")["TEXT"]
    wait_until(lambda: state(held) == "UP", "the sign of life")
    server.freeze()
    wait_until(lambda: state(held) == "DEGRADED", "the silence to be noticed")
    server.thaw()
    wait_until(lambda: state(held) == "UP", "the sign of life")


def test_a_close_that_nobody_confirms_is_no_sign_of_life(held: Tunnel, server: Sshd) -> None:
    """The next command has the session closed, and the one after that is asked for."""
    server.freeze()
    wait_until(lambda: state(held) == "DEGRADED", "the silence to be noticed")
    told = held.run("true", 9000)
    assert "did not open a session in time" in told["TEXT"]
    assert state(held) == "DEGRADED"
    server.thaw()
    wait_until(lambda: state(held) == "UP", "the sign of life")
