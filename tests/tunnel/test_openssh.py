"""transport = openssh: the same tests as for libssh2, and what only the system's ssh can do."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from sshd import Sshd
from tunnel_link import Tunnel, hop_record


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
    "test_the_deadline": "ssh's own has other words",
}
for module in ("bytes", "control", "opens", "run", "silence"):
    for name, value in vars(_module(f"test_session_{module}")).items():
        if name not in OTHERWISE and (name.startswith("test_") or name == "quick"):
            globals()[name] = value


def ssh_config(server: Sshd, folder: Path, *more: str) -> None:
    """What the user's ssh_config says of the server; an environment variable leads there."""
    lines = [
        "Host andes",
        f"IdentityFile {folder}/key",
        "IdentitiesOnly yes",
        f"UserKnownHostsFile {folder}/known_hosts",
        "GlobalKnownHostsFile none",
        *more,
    ]
    (folder / "ssh_config").write_text("\n".join(lines) + "\n")


@pytest.fixture
def start(
    server: Sshd, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Tunnel]]:
    """Starts tunnels: start(KEEPALIVE_MS=200), not waiting for the login."""
    made: list[Tunnel] = []
    folders: list[Path] = []

    def make(**settings: str | int) -> Tunnel:
        folder = Path(tempfile.mkdtemp(prefix="gt", dir="/tmp"))
        folders.append(folder)
        for name in ("key", "key.pub"):
            shutil.copy(home / name, folder / name)
        ssh_config(server, folder)
        monkeypatch.setenv("GEARS_SSH_CONFIG", str(folder / "ssh_config"))
        record = hop_record(server, folder)
        made.append(Tunnel(folder, [record], **{"TRANSPORT": "openssh", **settings}))
        return made[-1]

    try:
        yield make
        for tunnel in made:
            tunnel.finish()
            assert not list(tunnel.folder.glob("x-*")), "ssh's sockets are left"
    finally:
        server.thaw()
        for tunnel in made:
            tunnel.close()
        for folder in folders:
            shutil.rmtree(folder)
