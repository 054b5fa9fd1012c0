"""The way to a server: names, networks, what answers there, jump hosts, algorithms."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hanging_mount import HangingMount
from login_driver import Hop, Login, run
from sshd import Sshd, needs_sshd, new_key

pytestmark = needs_sshd


@contextlib.contextmanager
def listener(says: bytes | None, backlog: int = 8) -> Iterator[int]:
    """Something that is no proper server: says its words and closes, or says nothing (None)."""
    kept = []
    with socket.create_server(("127.0.0.1", 0), backlog=backlog) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = server.accept()
                    kept.append(peer)
                    if says is not None:
                        peer.sendall(says)
                        peer.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    for peer in kept:
        peer.close()


def to(port: int, **fields: object) -> Hop:
    return Hop(host="127.0.0.1", port=port, **fields)


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    done = run(tmp_path, to(port))
    assert done["cause"] == "refused" and f"port {port}" in done["text"], done


def test_no_such_name(tmp_path: Path) -> None:
    done = run(tmp_path, Hop(host="no-such-host.invalid"))
    assert done["cause"] == "network-down" and "no-such-host.invalid" in done["text"]


def test_a_name_server_that_says_nothing(tmp_path: Path) -> None:
    """The resolver cannot be interrupted; the login ends all the same."""
    address = f"127.77.{random.randrange(256)}.{random.randrange(1, 255)}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        try:
            silent.bind((address, 53))
        except OSError as error:
            pytest.skip(f"no name server of our own: {error}")
        (tmp_path / "resolv.conf").write_text(f"nameserver {address}\noptions timeout:30\n")
        script = f'mount --bind {tmp_path}/resolv.conf /etc/resolv.conf && exec "$@"'
        prefix = ("unshare", "--mount", "sh", "-c", script, "sh")
        hop = Hop(host="andes.example")
        with Login(tmp_path, hop, words=("--step", "800"), prefix=prefix) as login:
            done = login.done(20)
            assert done["cause"] == "network-down", done
            assert "within 800ms" in done["text"] and "andes.example" in done["text"]
        with Login(tmp_path, hop, prefix=prefix) as login:
            login.step("looking up")
            login.cancel()
            assert login.done(20)["cause"] == "cancelled"


@pytest.mark.parametrize("order", ["cancel", "wait"])
def test_a_home_that_hangs(tmp_path: Path, order: str) -> None:
    """Nobody can call the thread back from there; the loop goes on without it."""
    (tmp_path / "source").mkdir()
    with (
        Sshd(tmp_path, "publickey") as server,
        HangingMount(tmp_path / "source", tmp_path / "home") as mount,
    ):
        (mount.source / "known_hosts").write_text(server.known_hosts())
        hop = Hop(server, known_hosts=[str(mount.path / "known_hosts")])
        mount.hang()
        with Login(tmp_path, hop, words=("--step", "500")) as login, mount.hanging():
            login.step("connecting")
            if order == "cancel":
                login.cancel()
                assert login.done()["cause"] == "cancelled"
            else:
                done = login.done()
                assert done["cause"] == "failed" and "file server" in done["text"], done


@contextlib.contextmanager
def full_backlog() -> Iterator[int]:
    """A port whose queue is full: further connections hear nothing, as behind a firewall."""
    with socket.socket() as server, contextlib.ExitStack() as stack:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            peer = stack.enter_context(socket.socket())
            peer.setblocking(False)
            peer.connect_ex(server.getsockname())
        yield server.getsockname()[1]


def test_a_black_hole(tmp_path: Path) -> None:
    with full_backlog() as port:
        done = run(tmp_path, to(port), words=("--step", "800"))
        assert done["cause"] == "network-down" and "within 800ms" in done["text"], done
        with Login(tmp_path, to(port)) as login:
            login.step("connecting")
            login.cancel()
            assert login.done()["cause"] == "cancelled"


def test_a_server_that_says_nothing(tmp_path: Path) -> None:
    with listener(None) as port:
        done = run(tmp_path, to(port), words=("--step", "800"))
        assert done["cause"] == "network-down" and "greeting" in done["text"], done
        with Login(tmp_path, to(port)) as login:
            login.step("greeting")
            login.cancel()
            assert login.done()["cause"] == "cancelled"


@pytest.mark.parametrize(
    ("says", "cause", "words"),
    [
        (b"", "refused", "without a word"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "failed", "no SSH server"),
        (b"Exceeded MaxStartups\r\n", "failed", "MaxStartups"),
        (b"SSH-2.0-x\r\n", "network-down", "closed the connection"),
        (b"SSH-2.0-x\r\n\x00\x00\x00\x0c\x04\x14garbage", "network-down", "closed"),
        (b"SSH-2.0-x\r\n" + b"\xff" * 70000, "", ""),
        (b"\x00" * 100, "failed", "no SSH server"),
    ],
)
def test_no_proper_server(tmp_path: Path, says: bytes, cause: str, words: str) -> None:
    with listener(says) as port:
        done = run(tmp_path, to(port), words=("--step", "3000"))
    assert not done["up"] and (not cause or done["cause"] == cause), done
    assert words in done["text"], done


def hop(server: Sshd, folder: Path, **fields: object) -> Hop:
    (folder / "known").write_text(server.known_hosts())
    return Hop(server, known_hosts=[str(folder / "known")], **fields)


@pytest.mark.parametrize(
    ("kinds", "extra", "words"),
    [
        (("rsa",), [], ["host key", "rsa-sha2-512", "ssh-ed25519"]),
        (("ed25519",), ["Ciphers aes256-gcm@openssh.com"], ["cipher", "aes256-gcm", "aes256-ctr"]),
        (("ed25519",), ["MACs umac-64-etm@openssh.com"], ["MAC", "umac-64-etm", "hmac-sha2-256"]),
        (
            ("ed25519",),
            ["KexAlgorithms sntrup761x25519-sha512@openssh.com"],
            ["key exchange", "sntrup761", "curve25519"],
        ),
    ],
    ids=["rsa", "aead", "etm", "sntrup"],
)
def test_nothing_in_common(
    tmp_path: Path, kinds: tuple[str, ...], extra: list[str], words: list[str]
) -> None:
    with Sshd(tmp_path, "publickey", host_keys=kinds, extra=extra) as server:
        done = run(tmp_path, hop(server, tmp_path))
    if done["cause"] == "host-key-unknown" or done["cause"] == "auth-failed":
        pytest.skip("this libssh2 has it")
    assert done["cause"] == "no-common-algorithm", done
    for word in [*words, "transport = openssh in [cluster:andes]"]:
        assert word in done["text"], done


def test_a_frozen_server(tmp_path: Path) -> None:
    with Sshd(tmp_path, "publickey") as server:
        server.freeze(listener=True)
        done = run(tmp_path, hop(server, tmp_path), words=("--step", "800"))
        server.thaw()
    assert done["cause"] == "network-down" and "no answer from andes" in done["text"], done


def test_through_jump_hosts(tmp_path: Path) -> None:
    line = new_key(tmp_path / "key")
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Sshd(tmp_path, "publickey")) for _ in range(3)]
        for server in servers:
            server.authorize(line)
        (tmp_path / "known").write_text("".join(server.known_hosts() for server in servers))
        fields = {"known_hosts": [str(tmp_path / "known")], "identity": [str(tmp_path / "key")]}
        hops = [Hop(server, name=f"h{n}", **fields) for n, server in enumerate(servers)]
        words = ("--unattended", "--run", "head -c 3000 /dev/zero | tr '\\0' x; echo end")
        with Login(tmp_path, *hops, words=words) as login:
            assert login.done()["up"]
            assert login.next("ran") == "x" * 3000 + "end\n"
        assert [server.connections() for server in servers] == [1, 1, 1]
        # The jump host does not get there, is not allowed to, or is frozen.
        servers[2].stop()
        done = run(tmp_path, *hops)
        assert done["cause"] == "network-down" and "the jump host h1" in done["text"], done
        servers[1].freeze(listener=True)
        done = run(tmp_path, *hops[:2], words=("--step", "5000"))
        assert done["cause"] == "network-down" and "no answer from h1" in done["text"], done
        servers[1].thaw()
        servers[0].extra = ["AllowTcpForwarding no"]
        servers[0].restart()
        done = run(tmp_path, *hops)
        assert done["cause"] == "refused" and "does not forward" in done["text"], done


def test_an_authentication_that_libssh2_lacks(tmp_path: Path) -> None:
    extra = ["AuthenticationMethods hostbased", "HostbasedAuthentication yes"]
    with Sshd(tmp_path, "publickey", extra=extra) as server:
        done = run(tmp_path, hop(server, tmp_path))
    assert done["cause"] == "auth-failed" and "only by hostbased" in done["text"], done
    assert "transport = openssh" in done["text"]
