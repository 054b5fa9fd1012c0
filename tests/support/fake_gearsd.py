"""gearsds made of Python functions: the one of this host, and those behind its hops."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


class Call:
    """One call: what was said, and ways to answer it."""

    def __init__(self, connection: socket.socket, message: dict[str, Any]) -> None:
        self.connection = connection
        self.method = message["method"].rsplit(".", 1)[1]
        self.parameters: dict[str, Any] = message.get("parameters") or {}
        self.more = bool(message.get("more"))
        self.closed = False

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self.connection.sendall(json.dumps(message).encode() + b"\0")
        except OSError:
            self.closed = True

    def reply(self, continues: bool = False, **parameters: Any) -> None:
        self._send({"parameters": parameters, "continues": continues})

    def error(self, name: str, /, **parameters: Any) -> None:
        name = name if "." in name else f"org.gears.Manager.{name}"
        self._send({"error": name, "parameters": parameters})

    def wait_closed(self) -> None:
        """Until the client has left, as it does when it is interrupted."""
        with suppress(OSError):
            while self.connection.recv(4096):
                pass
        self.closed = True


class FakeGearsd:
    """Serves at `path`: every method is a function of a Call; all calls are kept in `calls`."""

    def __init__(self, path: Path, methods: dict[str, Callable[[Call], None]]) -> None:
        self.path = path
        self.methods = methods
        self.calls: list[Call] = []
        self.connections: list[socket.socket] = []
        self.threads: list[threading.Thread] = []

    def __enter__(self) -> FakeGearsd:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen(16)
        self._spawn(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        for item in (self.listener, *self.connections):
            with suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)
        for thread in list(self.threads):
            thread.join(20)
        for item in (self.listener, *self.connections):
            item.close()
        self.path.unlink(missing_ok=True)

    def named(self, method: str) -> list[dict[str, Any]]:
        """The parameters of each call of a method so far."""
        return [call.parameters for call in self.calls if call.method == method]

    def _spawn(self, function: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        buffer = b""
        with suppress(OSError):
            while data := connection.recv(65536):
                *messages, buffer = (buffer + data).split(b"\0")
                for message in messages:
                    call = Call(connection, json.loads(message))
                    self.calls.append(call)
                    self._answer(call)

    def _answer(self, call: Call) -> None:
        function = self.methods.get(call.method)
        if function:
            function(call)
        else:
            call.error("org.varlink.service.MethodNotFound", method=call.method)


def socket_path(gears: Any) -> Path:
    """Where this host's gearsd would listen; its folders are made, and nobody is started."""
    entry = gears.run("ssh-config").stdout
    match = re.search(r"LocalForward \d+ (\S+)/lab\.sck", entry)
    assert match
    folder = Path(match[1])
    (folder / "link").mkdir(parents=True, mode=0o700)
    return folder / "gearsd.sck"


def tunnel(cluster: str = "andes", state: str = "up", **changes: Any) -> dict[str, Any]:
    """A Tunnel of the protocol."""
    return {
        "cluster": cluster,
        "host": "andes-login3.olcf",
        "address": "10.0.0.3:22",
        "transport": "libssh2",
        "wanted": True,
        "state": state,
        "cause": None,
        "message": None,
        "since": 1_790_000_000_000_000,
        "reconnects": 0,
        "rtt_ms": 31.4,
        "connections": 2,
        "bytes_in": 10,
        "bytes_out": 20,
        "authenticated_at": 1_790_000_000_000_000,
        "expires_at": None,
        "human": True,
        "pid": 77,
        "build": None,
        "remote_build": None,
        "control": None,
        "socket": None,
        "service": "lab",
        "port": 38888,
        "held_by": None,
        **changes,
    }


def service(name: str = "lab", state: str = "ready", **changes: Any) -> dict[str, Any]:
    """A Service of the protocol."""
    return {
        "name": name,
        "cluster": None,
        "host": "andes-login3.olcf",
        "kind": "jupyter",
        "wanted": "start",
        "state": state,
        "since": 1_790_000_000_000_000,
        "enabled": False,
        "health": {"layer": "http", "ok": True},
        "pid": 4242,
        "restarts": 0,
        "connections": 1,
        "bytes_in": 1,
        "bytes_out": 2,
        **changes,
    }


class Hop:
    """This host's gearsd with one cluster, andes, and the gearsd behind its hop."""

    def __init__(self, gears: Any) -> None:
        self.gears = gears
        self.build = json.loads(gears.run("version", "--json").stdout)["build"]
        path = socket_path(gears)
        self.control = path.parent / "link" / "gearsd@andes.sck"
        self.tunnel = tunnel(control=str(self.control), remote_build=self.build)
        self.cluster: dict[str, Any] = {
            "name": "andes",
            "host": "andes.example.org",
            "hub": None,
            "direct": False,
            "port": 38888,
            "service": "lab",
            "transport": "libssh2",
            "members": ["andes-login1.example.org", "andes-login2.example.org"],
            "node": None,
        }
        self.services = [service("lab", url=None)]
        self.local = FakeGearsd(
            path,
            {
                "Hello": lambda call: call.reply(**self.hello("hub.test")),
                "Cluster": self._cluster,
                "Status": self._status,
                "Login": lambda call: call.reply(tunnel=self.tunnel),
            },
        )
        self.far = FakeGearsd(
            self.control,
            {
                "Hello": lambda call: call.reply(**self.hello("andes-login3.olcf")),
                "Status": self._far_status,
            },
        )

    def hello(self, host: str) -> dict[str, Any]:
        return {
            "version": "0.1.0",
            "build": self.build,
            "host": host,
            "boot_id": "b",
            "pid": 99,
            "started_at": 1_790_000_000_000_000,
            "capabilities": [],
            "home": str(self.gears.home),
        }

    def _cluster(self, call: Call) -> None:
        name = call.parameters["cluster"]
        if name == "andes":
            call.reply(**self.cluster, tunnel=self.tunnel)
        else:
            call.error("NoSuchCluster", name=name, hint="andes" if name == "ands" else None)

    def _status(self, call: Call) -> None:
        local = service("docs", kind="command", host="hub.test")
        call.reply(call.more, epoch="e", seq=1, services=[local], tunnels=[self.tunnel])

    def _far_status(self, call: Call) -> None:
        name = call.parameters.get("name")
        found = [item for item in self.services if name in (None, item["name"])]
        if found:
            call.reply(call.more, epoch="f", seq=1, services=found, tunnels=[])
        else:
            call.error("NoSuchService", name=name, hint="lab")


@contextmanager
def hop(gears: Any) -> Iterator[Hop]:
    pair = Hop(gears)
    with pair.local, pair.far:
        yield pair
