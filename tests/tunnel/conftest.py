"""A gears-tunnel for each test, logged in by key to a real sshd that allows one session."""

from __future__ import annotations

import contextlib
import resource
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openssh_tunnel import SystemSsh
from processes import wait_until
from sshd import WHY_NOT, Sshd, new_key
from tunnel_link import Tunnel, hop_record


@pytest.fixture(scope="session", autouse=True)
def descriptors() -> None:
    """Tests hold both ends of every connection."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@pytest.fixture(scope="session")
def server() -> Iterator[Sshd]:
    """Shared: a test ends only what serves its own connection."""
    if WHY_NOT:
        pytest.skip(WHY_NOT)
    home = Path(tempfile.mkdtemp(prefix="gh", dir="/tmp"))
    try:
        with Sshd(home, "publickey") as sshd:
            sshd.authorize(new_key(home / "key"))
            yield sshd
    finally:
        shutil.rmtree(home)


@pytest.fixture
def home(server: Sshd) -> Iterator[Path]:
    """Where the server's user is at home; empty but for the key."""
    entry = next(
        line for line in server.etc.passwd.read_text().splitlines() if line.startswith("root:")
    )
    folder = Path(entry.split(":")[5])
    yield folder
    for path in folder.iterdir():
        if not path.name.startswith("key"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def start(server: Sshd, home: Path) -> Iterator[Callable[..., Tunnel]]:
    """Starts tunnels: start(KEEPALIVE_MS=200), not waiting for the login."""
    made: list[Tunnel] = []
    folders: list[Path] = []

    def make(**settings: str | int) -> Tunnel:
        folders.append(Path(tempfile.mkdtemp(prefix="gt", dir="/tmp")))
        for name in ("key", "key.pub"):
            shutil.copy(home / name, folders[-1] / name)
        made.append(Tunnel(folders[-1], [hop_record(server, folders[-1])], **settings))
        return made[-1]

    try:
        yield make
        for tunnel in made:
            tunnel.finish()
    finally:
        server.thaw()
        for tunnel in made:
            tunnel.close()
        wait_until(lambda: not server.serving(), "the end of the server's side")
        for folder in folders:
            shutil.rmtree(folder)


@pytest.fixture
def tunnel(start: Callable[..., Tunnel]) -> Tunnel:
    """One that is up."""
    made = start()
    made.wait_state("UP")
    return made


@pytest.fixture
def special() -> Iterator[Callable[..., Tunnel]]:
    """Starts a tunnel that is up to a server of its own, made with these words."""
    if WHY_NOT:
        pytest.skip(WHY_NOT)
    folder = Path(tempfile.mkdtemp(prefix="gt", dir="/tmp"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)

        def make(settings: dict[str, str | int] | None = None, **words: Any) -> Tunnel:
            sshd = stack.enter_context(Sshd(folder, "publickey", **words))
            sshd.authorize(new_key(folder / "key"))
            tunnel = Tunnel(folder, [hop_record(sshd, folder)], **(settings or {}))
            stack.callback(tunnel.close)
            tunnel.wait_state("UP")
            made.append(tunnel)
            return tunnel

        made: list[Tunnel] = []
        yield make
        for tunnel in made:
            tunnel.finish()


class Target:
    """A program on the server that listens on a Unix socket: the test itself."""

    def __init__(self, folder: Path, name: str = "lab") -> None:
        self.path = folder / f"{name}.sck"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen(1000)
        self.listener.settimeout(30)

    def accept(self) -> socket.socket:
        end, _ = self.listener.accept()
        end.settimeout(30)
        return end

    def echo(self) -> None:
        """Send back what comes, to everybody, from now on."""
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                end, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._echo_one, args=(end,), daemon=True).start()

    def _echo_one(self, end: socket.socket) -> None:
        with end:
            try:
                while data := end.recv(65536):
                    end.sendall(data)
            except OSError:
                return


@pytest.fixture
def target() -> Iterator[Target]:
    folder = Path(tempfile.mkdtemp(prefix="gx", dir="/tmp"))
    made = Target(folder)
    yield made
    made.listener.close()
    shutil.rmtree(folder)


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    """Asks PASSCODEs."""
    with Sshd(tmp_path) as server:
        yield server


@pytest.fixture
def ssh(sshd: Sshd) -> Iterator[SystemSsh]:
    """Runs the system's ssh to that one."""
    with SystemSsh(sshd) as made:
        yield made
