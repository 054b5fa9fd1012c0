"""{port} programs: who holds the port is checked, never assumed."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

from conftest import Gears


class Thief:
    """Listens on every port whose number is written into a FIFO, before the service can."""

    def __init__(self, fifo: Path, most: int, done: Path | None = None) -> None:
        os.mkfifo(fifo)
        self.fifo = fifo
        self.most = most
        self.done = done  # made before the last theft
        self.ports: list[int] = []
        self.listeners: list[socket.socket] = []
        self.thread = threading.Thread(target=self.steal, daemon=True)
        self.thread.start()

    def steal(self) -> None:
        while len(self.ports) < self.most:
            port = int(self.fifo.read_text())
            if self.done and len(self.ports) + 1 == self.most:
                self.done.touch()
            self.listeners.append(socket.create_server(("127.0.0.1", port)))
            self.ports.append(port)

    def close(self) -> None:
        self.thread.join(10)
        for listener in self.listeners:
            listener.close()


def define(gears: Gears, fifo: Path) -> None:
    """A service that tells its port, then takes it in its own process when it still can."""
    program = gears.home / "served.py"
    program.write_text(
        "import http.server, sys, time\n"
        f"if not __import__('os').path.exists('{gears.home}/honest'):\n"
        f"    open('{fifo}', 'w').write(sys.argv[1])\n"
        "    time.sleep(1000)\n"
        "http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])),"
        " http.server.SimpleHTTPRequestHandler).serve_forever()\n"
    )
    (gears.home / "etc/gears.conf").write_text(
        f"[service:web]\nkind = command\ncommand = python3 {program} {{port}}\nrestart = no\n"
    )


def test_a_stolen_port_is_never_served(gears: Gears) -> None:
    fifo = gears.home / "ports"
    define(gears, fifo)
    thief = Thief(fifo, 5)
    try:
        result = gears.run("start", "web", check=False)
    finally:
        thief.close()
    assert result.returncode == 1
    assert f"port {thief.ports[-1]} is held by a program that is not this service's" in (
        result.stderr
    )
    assert len(thief.ports) == 5
    status = gears.status("web")
    assert (status["state"], status["pid"]) == ("failed", None)


def test_a_fresh_port_is_taken_after_a_theft(gears: Gears) -> None:
    fifo = gears.home / "ports"
    define(gears, fifo)
    thief = Thief(fifo, 1, gears.home / "honest")
    gears.run("start", "web")
    thief.close()
    assert gears.status("web")["state"] == "ready"
    events = gears.run("events", "--json").stdout
    assert f"port {thief.ports[0]} is held" in events
