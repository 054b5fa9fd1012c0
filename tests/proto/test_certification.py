"""The protocol code is judged by others' clients, and by hostile ones."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

BIN = Path(os.environ.get("GEARS_BIN", Path(__file__).parents[2] / "build/release/bin"))


@pytest.fixture
def address() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="c", dir="/tmp")
    path = f"{folder}/s"
    server = subprocess.Popen([BIN / "certification-server", path], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield path
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder)


def connect(path: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(20)
    client.connect(path)
    return client


def receive(client: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\0"):
        piece = client.recv(65536)
        if not piece:
            return data
        data += piece
    return data


def test_the_go_client_certifies(address: str) -> None:
    client = shutil.which("varlink-go-certification")
    assert client, "install the Debian package varlink-go"
    result = subprocess.run(
        [client, "-client", "-varlink", f"unix:{address}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    words = result.stdout + result.stderr
    assert result.returncode == 0, words
    assert "true" in words.lower() or "ok" in words.lower(), words


def test_the_python_client_reads_and_calls(address: str) -> None:
    import varlink

    with varlink.Client.new_with_address(f"unix:{address}") as client:
        info = client.get_interfaces()
        assert "org.varlink.certification" in info
        with client.open("org.varlink.certification") as connection:
            client_id = connection.Start()["client_id"]
            assert connection.Test01(client_id)["bool"] is True


@pytest.mark.parametrize(
    "hostile",
    [b"not json\0", b"[" * 100_000 + b"\0", b'{"method":1}\0', b'"x"\0', b"\0", b"\xff\xfe\0"],
)
def test_garbage_ends_the_connection_only(address: str, hostile: bytes) -> None:
    with connect(address) as client:
        client.sendall(hostile)
        assert receive(client) == b""
    with connect(address) as client:
        client.sendall(b'{"method":"org.varlink.service.GetInfo"}\0')
        assert json.loads(receive(client)[:-1])["parameters"]["vendor"] == "Gears"


def test_a_message_without_end_is_cut_at_one_mebibyte(address: str) -> None:
    with connect(address) as client:
        sent = 0
        with pytest.raises(OSError):
            while sent < 1 << 30:
                sent += client.send(b"x" * 65536)
        assert sent < 4 << 20


def test_pipelined_calls_are_answered_in_order(address: str) -> None:
    with connect(address) as client:
        unknown = b'{"method":"org.varlink.certification.Nope"}\0'
        info = b'{"method":"org.varlink.service.GetInfo"}\0'
        client.sendall(unknown + info)
        data = b""
        while data.count(b"\0") < 2:
            data += client.recv(65536)
        first, second, _ = data.split(b"\0")
        assert json.loads(first)["error"] == "org.varlink.service.MethodNotFound"
        assert "vendor" in json.loads(second)["parameters"]


def test_wrong_parameters_are_named(address: str) -> None:
    with connect(address) as client:
        client.sendall(
            b'{"method":"org.varlink.certification.Test02",'
            b'"parameters":{"client_id":"client-1","bool":3}}\0'
        )
        reply = json.loads(receive(client)[:-1])
        assert reply["error"] == "org.varlink.service.InvalidParameter"
        assert reply["parameters"] == {"parameter": "bool"}
