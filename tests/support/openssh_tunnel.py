"""Tunnels that run the system's ssh, and the processes of one."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path
from unittest import mock

from link_frames import NUMBERS
from processes import alive, wait_until
from sshd import Sshd
from tunnel_link import Tunnel, hop_record


class SystemSsh:
    """Starts tunnels whose ssh_config knows `server` as andes; a context manager.

    `config`: more lines for it. Its folder has the known_hosts, and the key pair "key" if any.
    """

    def __init__(self, server: Sshd, config: Iterable[str] = ()) -> None:
        self.server = server
        self.folder = Path(tempfile.mkdtemp(prefix="gt", dir="/tmp"))
        self.config = self.folder / "ssh_config"
        self.known_hosts = self.folder / "known_hosts"
        self.more = list(config)
        self.environment: dict[str, str] = {}
        self.made: list[Tunnel] = []
        self.hop = hop_record(server, self.folder)  # writes known_hosts, too

    def __enter__(self) -> SystemSsh:
        return self

    def __exit__(self, *_: object) -> None:
        pids = [pid for tunnel in self.made for pid in processes(tunnel)]
        for tunnel in self.made:
            tunnel.close()
        wait_until(lambda: not any(map(alive, pids)), "the end of ssh")
        shutil.rmtree(self.folder)

    def write_config(self) -> None:
        lines = [
            *self.more,
            "Host andes",
            f"IdentityFile {self.folder}/key",
            "IdentitiesOnly yes",
            "Host *",
            f"UserKnownHostsFile {self.known_hosts}",
            "GlobalKnownHostsFile none",
        ]
        self.config.write_text("\n".join(lines) + "\n")

    def start(self, **settings: str | int) -> Tunnel:
        """Not waiting for the login."""
        self.write_config()
        variables = {"GEARS_SSH_CONFIG": str(self.config), **self.environment}
        with mock.patch.dict(os.environ, variables):
            tunnel = Tunnel(self.folder, [self.hop], **{"TRANSPORT": "openssh", **settings})
        self.made.append(tunnel)
        return tunnel

    def folders(self) -> list[Path]:
        """Where each tunnel's ssh has its sockets."""
        return sorted((self.folder / "link").glob("x-*"))


def processes(tunnel: Tunnel) -> list[int]:
    """What runs for a tunnel: ssh, its jump hosts' ssh, askpass; they know its folder."""
    mark = f"GEARS_TUNNEL_ASK={tunnel.folder}/".encode()
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return sorted(found)


def tcp_sockets(pid: int) -> list[socket.socket]:
    """Those of another process, as copies; to be closed."""
    pidfd_getfd = 438
    handle = os.pidfd_open(pid)
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        fd = ctypes.CDLL(None).syscall(pidfd_getfd, handle, int(entry.name), 0)
        if fd >= 0 and os.readlink(f"/proc/self/fd/{fd}").startswith("socket:"):
            found.append(socket.socket(fileno=fd))
        elif fd >= 0:
            os.close(fd)
    os.close(handle)
    for other in [one for one in found if one.family == socket.AF_UNIX]:
        found.remove(other)
        other.close()
    return found


def master(tunnel: Tunnel) -> int:
    """The ssh that the tunnel started."""
    children = Path(f"/proc/{tunnel.pid}/task/{tunnel.pid}/children").read_text().split()
    assert len(children) == 1, children
    return int(children[0])


def answer(tunnel: Tunnel, text: str) -> dict[str, object]:
    """Wait for a question and answer it; the question."""
    prompt = tunnel.wait_told("TUNNEL_PROMPT")
    tunnel.order("TUNNEL_ANSWER", PROMPT_ID=prompt["PROMPT_ID"], ANSWER=text)
    return prompt


def down(tunnel: Tunnel) -> dict[str, object]:
    """Wait for its end; what it said of it."""
    while (told := tunnel.wait_told("TUNNEL_STATE"))["TUNNEL_STATE"] != "DOWN":
        pass
    tunnel.wait_end()
    return told


def cancel(tunnel: Tunnel) -> None:
    """As somebody does who typed ^C."""
    tunnel.order("TUNNEL_CLOSE", CAUSE=NUMBERS["CAUSE_CANCELLED"], TEXT="^C")


def end(tunnel: Tunnel) -> None:
    """Close it, and wait for all that it ran."""
    pids = processes(tunnel)
    tunnel.finish()
    # It waits for its own ssh; that of a jump host is only told to end.
    wait_until(lambda: not any(map(alive, pids)), "the end of ssh")
