"""A gearsd of another build, as far as a client can tell."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from processes import wait_until


@contextmanager
def other_daemon(gears: Any, answers: dict[str, Any]) -> Iterator[None]:
    """A gearsd of another build: answers these methods, knows no others."""
    host = json.loads(gears.run("version", "--json").stdout)
    assert host["daemon"] is None
    gears.run("daemon", "start")
    path = next(gears.home.glob("run/*/gearsd.sck"))
    gears.run("daemon", "stop", "--services", "--yes")
    wait_until(lambda: not gears.processes(), "the end of the real one")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(8)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                buffer = b""
                while data := connection.recv(65536):
                    *messages, buffer = (buffer + data).split(b"\0")
                    for message in messages:
                        method = json.loads(message)["method"].rsplit(".", 1)[1]
                        unknown = {
                            "error": "org.varlink.service.MethodNotFound",
                            "parameters": {"method": method},
                        }
                        answer = answers.get(method, unknown)
                        text = answer if isinstance(answer, str) else json.dumps(answer)
                        connection.sendall(text.encode() + b"\0")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(20)
        path.unlink()


OLD = {
    "version": "0.0.9",
    "build": "0.0.9-0123456789ab",
    "host": "h",
    "boot_id": "b",
    "pid": 1,
    "started_at": 1,
    "capabilities": ["services"],
    "home": "/",
}
