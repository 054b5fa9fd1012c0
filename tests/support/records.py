"""Records and sockets as Gears leaves them, made by tests."""

from __future__ import annotations

import socket
from pathlib import Path


def record(path: Path, **fields: object) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = [f"{key}={value}\n" for key, value in fields.items()]
    path.write_text(f"gears-record 1\n{''.join(lines)}end {len(lines)}\n")
    path.chmod(0o600)
    return path


def private(*folders: Path) -> None:
    for folder in folders:
        folder.mkdir(mode=0o700, exist_ok=True)


DEAD = {"pid": 4194303, "start_time": 1, "nonce": "0" * 32}


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def leave_socket(path: Path, kind: int = socket.SOCK_STREAM) -> None:
    with socket.socket(socket.AF_UNIX, kind) as listener:
        listener.bind(str(path))
        listener.listen()
