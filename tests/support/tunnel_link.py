"""A gears-tunnel of its own, led by the test over the internal protocol as gearsd leads it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import link_frames
from helper_process import HelperProcess
from link_frames import NUMBERS, Fields, frame
from processes import wait_until
from sshd import Sshd

NONCE = "0123456789abcdef" * 2


def hop_record(server: Sshd, folder: Path, **more: str | int) -> str:
    """How a tunnel is told of a server: its key is known, and ours is in the folder."""
    known = folder / "known_hosts"
    known.write_text(server.known_hosts())
    lines = {
        "name": "andes",
        "host": server.address,
        "port": server.port,
        "user": "root",
        "identity": folder / "key",
        "known_hosts": known,
        **more,
    }
    text = "".join(f"{key}={value}\n" for key, value in lines.items())
    return f"gears-record 1\n{text}end {len(lines)}\n"


class TunnelError(Exception):
    """The tunnel refused an order."""


class Tunnel(HelperProcess):
    """Starts gears-tunnel in `folder`; tests are its controller.

    `settings` are fields of TUNNEL_START that differ from those here.
    """

    program = "gears-tunnel"
    error = TunnelError

    def __init__(self, folder: Path, hops: list[str], **settings: str | int) -> None:
        self.sockets = folder / "link"
        self.sockets.mkdir(mode=0o700, exist_ok=True)
        self.link_path = self.sockets / "tunnel.sck"
        self.feed_path = self.sockets / "feed.sck"
        self.record = folder / "exit.rec"
        start: Fields = {
            "CLUSTER": "andes",
            "NONCE": NONCE,
            "BUILD": "test",
            "LINK_PATH": str(self.link_path),
            "FEED_PATH": str(self.feed_path),
            "EXIT_RECORD": str(self.record),
            "TRANSPORT": "libssh2",
            "UNATTENDED": 0,
            "STEP_MS": 20000,
            "KEEPALIVE_MS": 30000,
            "KEEPALIVE_COUNT": 3,
            "DEAD_AFTER_MS": 600000,
            "SSH_HOP": hops,
            **settings,
        }
        super().__init__(folder, "TUNNEL_START", start)

    def wait_state(self, state: str) -> Fields:
        while True:
            fields = self.wait_told("TUNNEL_STATE")
            if fields["TUNNEL_STATE"] == state:
                return fields
            assert fields["TUNNEL_STATE"] != "DOWN", fields

    def run(self, command: str, timeout_ms: int = 20000) -> Fields:
        return self.order("TUNNEL_RUN", COMMAND=command, TIMEOUT_MS=timeout_ms)

    def run_hanging(self, folder: Path) -> tuple[int, Fields]:
        """A command that hangs and is given up, but stays: its process, and what is told of it."""
        pid = folder / "hangs"
        asked = self.send("TUNNEL_RUN", COMMAND=f"echo $$ >{pid}; exec sleep 600", TIMEOUT_MS=10000)
        wait_until(lambda: pid.exists() and pid.read_text().endswith("\n"), "the command")
        return int(pid.read_text()), self.answer_to(asked)[1]

    def now(self) -> Fields:
        """Its state, asked for."""
        return self.order("HELLO")

    def take_over(self) -> Tunnel:
        """A later gearsd connects; the one before finds itself closed."""
        old = self.link
        self.link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.link.settimeout(60)
        self.link.connect(str(self.link_path))
        os.close(self.handle)
        self.memory.close()
        self.send("HELLO")
        self._take_status()
        old.close()
        return self

    # Clients.

    def hand_over(self, target: Path | str, client: socket.socket, service: str = "lab") -> None:
        """As gears-relay does with a client it accepted."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as feed:
            feed.connect(str(self.feed_path))
            fields = {"TARGET_PATH": str(target), "SERVICE": service}
            socket.send_fds(feed, [frame("TUNNEL_OPEN", 0, fields)], [client.fileno()])
        client.close()

    def connect(self, target: Path | str, tcp: bool = False) -> socket.socket:
        """A client's end of a connection to the target."""
        if tcp:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                mine = socket.create_connection(listener.getsockname())
                theirs, _ = listener.accept()
        else:
            mine, theirs = socket.socketpair()
        mine.settimeout(60)
        self.hand_over(target, theirs)
        return mine

    # The process.

    def counters(self) -> dict[str, int]:
        return link_frames.counters(self.memory)

    def exit_record(self) -> dict[str, str]:
        lines = self.record.read_text().splitlines()
        return dict(line.split("=", 1) for line in lines[1:-1])

    def settle(self) -> None:
        """Wait until it sleeps, its first question to the server answered."""
        wait_until(lambda: self.now().get("RTT_US"), "the first answer")
        super().settle()

    def finish(self) -> None:
        if not self.has_ended():
            self.order("TUNNEL_CLOSE", CAUSE=NUMBERS["CAUSE_CANCELLED"], TEXT="the test is over")
            self.wait_end()
        self.check_logs()
        assert not self.link_path.exists() and not self.feed_path.exists()
