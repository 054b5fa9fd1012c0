"""A session inside a session: the same promises through a jump host."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import wait_until
from relay_ends import Pattern, Task, exchange, read_pattern, send_pattern
from sshd import Sshd
from tunnel_link import Tunnel, hop_record

MB = 1 << 20
Start = Callable[..., Tunnel]


@pytest.fixture
def jump(server: Sshd, home: Path) -> Iterator[Start]:
    """Starts tunnels that are up, through the server to itself."""
    folder = Path(tempfile.mkdtemp(prefix="gt", dir="/tmp"))
    for name in ("key", "key.pub"):
        shutil.copy(home / name, folder / name)
    hops = [hop_record(server, folder, name=name) for name in ("hub", "andes")]
    made: list[Tunnel] = []

    def make(**settings: int) -> Tunnel:
        made.append(Tunnel(folder, hops, **settings))
        made[-1].wait_state("UP")
        wait_until(lambda: made[-1].now().get("RTT_US"), "the first answer")
        return made[-1]

    try:
        yield make
        for tunnel in made:
            tunnel.finish()
    finally:
        server.thaw()
        for tunnel in made:
            tunnel.close()
        wait_until(lambda: not server.serving(), "the end of the server's side")
        shutil.rmtree(folder)


def test_bytes_each_way(jump: Start, target) -> None:
    tunnel = jump()
    client = tunnel.connect(target.path)
    end = target.accept()
    up, down, size = Pattern("up"), Pattern("down"), 32 * MB
    with client, end:
        tasks = [
            Task(lambda: send_pattern(client, up, size)),
            Task(lambda: send_pattern(end, down, size)),
            Task(lambda: read_pattern(client, down, size)),
            Task(lambda: read_pattern(end, up, size)),
        ]
        assert [task.result() for task in tasks] == [size] * 4


def test_many_clients_and_a_command(jump: Start, target) -> None:
    tunnel = jump()
    target.echo()

    def talk(number: int) -> int:
        pattern = Pattern(number)
        with tunnel.connect(target.path) as client:
            sending = Task(lambda: send_pattern(client, pattern, MB))
            got = read_pattern(client, pattern, MB)
            sending.result()
            return got

    tasks = [Task(lambda number=number: talk(number)) for number in range(20)]
    assert tunnel.run("echo '@gears-report 1 {}'") == {"REPORT": "{}"}
    assert [task.result() for task in tasks] == [MB] * 20


def test_idle_and_frozen(jump: Start, server: Sshd, target) -> None:
    tunnel = jump(KEEPALIVE_MS=400)
    client = tunnel.connect(target.path)
    end = target.accept()
    with client, end:
        server.freeze()
        tunnel.wait_state("DEGRADED")
        client.sendall(b"into the freeze")
        time.sleep(1)
        server.thaw()
        tunnel.wait_state("UP")
        assert end.recv(100) == b"into the freeze"


def test_it_sleeps_when_idle(jump: Start, target) -> None:
    tunnel = jump()
    client = tunnel.connect(target.path)
    with client, target.accept() as end:
        exchange(client, end)
        tunnel.settle()
        before = tunnel.wakeups()
        time.sleep(2)
        assert tunnel.wakeups() == before


def test_the_jump_host_dies(jump: Start, server: Sshd, target) -> None:
    tunnel = jump()
    client = tunnel.connect(target.path)
    with client, target.accept():
        server.disconnect()
        assert client.recv(1) == b""
        tunnel.wait_end()
    assert tunnel.exit_record()["cause"] == "1"
