"""What servers do by themselves: new keys, prompts, an end."""

from __future__ import annotations

import contextlib
import selectors
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from relay_ends import Pattern, Task, read_pattern, send_pattern
from sshd import WHY_NOT, Sshd
from tunnel_link import Tunnel, hop_record

MB = 1 << 20
Special = Callable[..., Tunnel]


@pytest.fixture
def forgetful_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """libssh2 1.10 loses the host key it had, 51 bytes, whenever keys are exchanged anew."""
    (tmp_path / "known").write_text("leak:libssh2.so\n")
    options = f"suppressions={tmp_path}/known:print_suppressions=0"
    monkeypatch.setenv("LSAN_OPTIONS", options)


@pytest.mark.usefixtures("forgetful_library")
def test_new_keys_under_load(special: Special, target) -> None:
    """Every megabyte, both ways full, and others come and go."""
    tunnel = special(extra=["RekeyLimit 1M"])
    client = tunnel.connect(target.path)
    end = target.accept()
    target.echo()
    up, down, size = Pattern("up"), Pattern("down"), 24 * MB
    with client, end:
        tasks = [
            Task(lambda: send_pattern(client, up, size)),
            Task(lambda: send_pattern(end, down, size)),
            Task(lambda: read_pattern(client, down, size)),
            Task(lambda: read_pattern(end, up, size)),
        ]
        others = 0
        while any(task.is_alive() for task in tasks):
            with tunnel.connect(target.path) as other:
                other.sendall(b"x" * 1000)
                assert other.recv(1) == b"x"
                others += 1
        assert [task.result() for task in tasks] == [size] * 4
        assert others > 3


def fill(clients: list[socket.socket], size: int) -> None:
    for client in clients:
        client.setblocking(False)
        left = size
        with contextlib.suppress(BlockingIOError):
            while left:
                left -= client.send(b"x" * left)
        assert not left, "it fits into the socket"


@pytest.mark.usefixtures("forgetful_library")
def test_new_keys_with_many_uploads(special: Special, target) -> None:
    """What each has to say meanwhile is kept, and is together more than may be unsent."""
    tunnel = special(extra=["RekeyLimit 1M"])
    count, size = 300, 128 << 10
    pairs = [(tunnel.connect(target.path), target.accept()) for _ in range(count)]
    fill([client for client, _ in pairs], size)
    for client, _ in pairs:
        client.shutdown(socket.SHUT_WR)
    with selectors.DefaultSelector() as selector:
        for _, end in pairs:
            selector.register(end, selectors.EVENT_READ)
        got, open_ends = 0, count
        while open_ends:
            for key, _ in selector.select(30) or pytest.fail(f"{got} bytes came"):
                piece = key.fileobj.recv(1 << 16)
                got += len(piece)
                if not piece:
                    selector.unregister(key.fileobj)
                    open_ends -= 1
    assert got == count * size
    assert tunnel.now()["TUNNEL_STATE"] == "UP"
    for pair in pairs:
        for end in pair:
            end.close()


@pytest.mark.usefixtures("forgetful_library")
def test_new_keys_while_idle(special: Special, target) -> None:
    """By the server's clock, without any channel that would make libssh2 read."""
    tunnel = special(extra=["RekeyLimit default 1s"])
    time.sleep(4)
    assert tunnel.order("TUNNEL_PROBE")["TUNNEL_STATE"] == "UP"
    target.echo()
    with tunnel.connect(target.path) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"


def test_it_may_end_what_is_unused(special: Special) -> None:
    """A site's policy: that is told like any end that the server wanted."""
    tunnel = special(extra=["UnusedConnectionTimeout 1"])
    tunnel.wait_end()
    assert tunnel.exit_record()["text"] == "andes closed the connection"


@pytest.fixture
def asking() -> Iterator[tuple[Tunnel, Sshd]]:
    """A tunnel to a server that asks for a PASSCODE."""
    if WHY_NOT:
        pytest.skip(WHY_NOT)
    folder = Path(tempfile.mkdtemp(prefix="gt", dir="/tmp"))
    try:
        with Sshd(folder, "passcode") as sshd:
            tunnel = Tunnel(folder, [hop_record(sshd, folder)])
            try:
                yield tunnel, sshd
                tunnel.finish()
            finally:
                tunnel.close()
    finally:
        shutil.rmtree(folder)


def test_a_prompt_waits_for_whoever_leads(asking: tuple[Tunnel, Sshd]) -> None:
    """It is told again to a later controller, and its answer counts once."""
    tunnel, sshd = asking
    first = tunnel.wait_told("TUNNEL_PROMPT")
    assert "PASSCODE" in first["PROMPT_TEXT"][0]
    assert first["PROMPT_ECHO"] == [0]
    tunnel.take_over()
    assert tunnel.status["TUNNEL_STATE"] == "PROMPTING"
    again = tunnel.wait_told("TUNNEL_PROMPT")
    assert again == first
    code = sshd.fresh_code()
    tunnel.order("TUNNEL_ANSWER", PROMPT_ID=again["PROMPT_ID"], ANSWER=code)
    up = tunnel.wait_state("UP")
    assert (up["HUMAN"], up["AUTH_METHOD"]) == (1, "keyboard-interactive")
    memory = memory_of(tunnel.pid)
    assert code.encode() not in memory, "the PASSCODE is still in memory"
    tunnel.finish()
    assert tunnel.exit_record()["human"] == "1"


@pytest.mark.parametrize("end", ["order", "server"])
def test_an_answer_is_told_of_whatever_comes_next(asking: tuple[Tunnel, Sshd], end: str) -> None:
    """It may have cost a PASSCODE: nothing may log in again by itself."""
    tunnel, sshd = asking
    prompt = tunnel.wait_told("TUNNEL_PROMPT")
    code = sshd.fresh_code()
    with sshd.passcodes.undecided():
        tunnel.order("TUNNEL_ANSWER", PROMPT_ID=prompt["PROMPT_ID"], ANSWER=code)
        while (told := tunnel.wait_told("TUNNEL_STATE"))["TEXT"] != "answered, logging in":
            assert told["HUMAN"] == 0
        assert told["HUMAN"] == 1
        if end == "order":
            tunnel.order("TUNNEL_CLOSE")
        else:
            sshd.disconnect()
        while told["TUNNEL_STATE"] != "DOWN":
            told = tunnel.wait_told("TUNNEL_STATE")
            assert told["HUMAN"] == 1
    tunnel.wait_end()
    assert tunnel.exit_record()["human"] == "1"


def memory_of(pid: int) -> bytes:
    """All it may write to."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights = line.split()[:2]
            if rights.startswith("rw"):
                start, end = (int(part, 16) for part in span.split("-"))
                if end - start < 64 * MB:  # not the sanitizers' shadows
                    memory.seek(start)
                    found.append(memory.read(end - start))
    return b"".join(found)
