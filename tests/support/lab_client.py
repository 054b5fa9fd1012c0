"""A small Jupyter client on a Unix socket, for tests: REST by http.client, kernels by WebSocket."""

from __future__ import annotations

import http.client
import json
import socket
import uuid
from pathlib import Path
from typing import Any

import websocket
from processes import wait_until as wait_until


class UnixHTTPConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class LabClient:
    """Talks to one lab behind one socket with one token."""

    def __init__(self, path: Path, token: str, timeout: float = 60) -> None:
        self.path = path
        self.token = token
        self.timeout = timeout

    def request(
        self, method: str, url: str, headers: dict[str, str], data: bytes | None = None
    ) -> tuple[int, bytes, Any]:
        connection = UnixHTTPConnection(self.path, self.timeout)
        try:
            connection.request(method, url, data, headers)
            reply = connection.getresponse()
            return reply.status, reply.read(), reply.headers
        finally:
            connection.close()

    def raw(
        self, method: str, url: str, body: Any = None, token: bool = True
    ) -> tuple[int, bytes, Any]:
        headers = {"Authorization": f"token {self.token}"} if token else {}
        return self.request(
            method, url, headers, None if body is None else json.dumps(body).encode()
        )

    def call(self, method: str, url: str, body: Any = None) -> Any:
        status, data, _ = self.raw(method, url, body)
        assert status < 300, f"{method} {url}: {status} {data[:500]!r}"
        return json.loads(data) if data else None

    def start_notebook(self, path: str) -> tuple[str, str]:
        """Start a session of a notebook: (session id, kernel id)."""
        model = self.call(
            "POST",
            "/api/sessions",
            {"path": path, "name": path, "type": "notebook", "kernel": {"name": "python3"}},
        )
        return model["id"], model["kernel"]["id"]

    def open_channels(self, kernel_id: str, session: str) -> websocket.WebSocket:
        plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        plain.settimeout(self.timeout)
        plain.connect(str(self.path))
        return websocket.create_connection(
            f"ws://localhost/api/kernels/{kernel_id}/channels?session_id={session}",
            socket=plain,
            header=[f"Authorization: token {self.token}"],
            timeout=self.timeout,
        )

    def send(self, channels: websocket.WebSocket, code: str, session: str) -> str:
        header = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": "execute_request",
            "username": "test",
            "session": session,
            "version": "5.3",
            "date": "2024-01-01T00:00:00Z",
        }
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
        message = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}}
        channels.send(json.dumps({**message, "content": content, "buffers": []}))
        return header["msg_id"]

    def run(self, kernel_id: str, code: str) -> str:
        """Run code, wait for its end, return what it printed."""
        session = uuid.uuid4().hex
        channels = self.open_channels(kernel_id, session)
        try:
            asked = self.send(channels, code, session)
            text = ""
            idle = replied = False
            while not (idle and replied):
                message = json.loads(channels.recv())
                if message["parent_header"].get("msg_id") != asked:
                    continue
                kind, content = message["msg_type"], message["content"]
                text += content["text"] if kind == "stream" else ""
                idle = idle or (kind == "status" and content["execution_state"] == "idle")
                if kind == "execute_reply":
                    assert content["status"] == "ok", content
                    replied = True
            return text
        finally:
            channels.close()
