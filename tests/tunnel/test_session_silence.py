"""A connection is not thrown away for silence, and not taken for alive either."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import wait_until
from relay_ends import Pattern, Task, exchange, read_pattern, send_pattern
from sshd import Sshd
from tunnel_link import Tunnel

Start = Callable[..., Tunnel]
KEEPALIVE_MS = 200


@pytest.fixture
def quick(start: Start) -> Tunnel:
    """Asks every 200 ms, and is degraded after 600 ms."""
    tunnel = start(KEEPALIVE_MS=KEEPALIVE_MS)
    tunnel.wait_state("UP")
    wait_until(lambda: tunnel.now().get("RTT_US"), "the first answer")
    return tunnel


def test_a_freeze_of_more_than_20_keepalives_costs_nothing(
    quick: Tunnel, server: Sshd, target
) -> None:
    """The same connection goes on, and the bytes sent into the freeze arrive."""
    client = quick.connect(target.path)
    end = target.accept()
    with client, end:
        began = time.time()
        serving = server.serving()
        server.freeze()
        told = quick.wait_state("DEGRADED")
        heard = told["SINCE"] / 1e6
        assert heard >= began - KEEPALIVE_MS / 1000 - 1, "since it was last heard"
        assert time.time() - heard > 0.5, "degraded after three intervals"
        assert told["CAUSE"] == "NETWORK_DOWN"
        assert told["TEXT"].startswith("nothing was heard from the server for ")
        client.sendall(b"into the freeze")
        waiting = quick.connect(target.path)
        waiting.sendall(b"new")
        time.sleep(25 * KEEPALIVE_MS / 1000)
        assert quick.now()["TUNNEL_STATE"] == "DEGRADED"
        server.thaw()
        assert quick.wait_state("UP")["CAUSE"] == "NONE"
        assert end.recv(100) == b"into the freeze"
        end.sendall(b"kept")
        assert client.recv(100) == b"kept"
        with waiting, target.accept() as late:
            assert late.recv(100) == b"new"
        assert server.serving() == serving, "the session is still the same"


def test_a_freeze_in_the_middle_of_much(quick: Tunnel, server: Sshd, target) -> None:
    client = quick.connect(target.path)
    end = target.accept()
    up, down = Pattern("up"), Pattern("down")
    size = 40 << 20
    with client, end:
        tasks = [
            Task(lambda: send_pattern(client, up, size)),
            Task(lambda: read_pattern(end, up, size)),
            Task(lambda: send_pattern(end, down, size)),
            Task(lambda: read_pattern(client, down, size)),
        ]
        wait_until(lambda: quick.counters()["bytes_out"] > size // 10, "much under way")
        server.freeze()
        quick.wait_state("DEGRADED")
        server.thaw()
        quick.wait_state("UP")
        assert [task.result() for task in tasks] == [size] * 4


def test_given_up_at_last(start: Start, server: Sshd, target) -> None:
    tunnel = start(KEEPALIVE_MS=KEEPALIVE_MS, DEAD_AFTER_MS=1500)
    tunnel.wait_state("UP")
    client = tunnel.connect(target.path)
    with client, target.accept():
        server.freeze()
        heard = tunnel.wait_state("DEGRADED")["SINCE"]
        told = tunnel.wait_told("TUNNEL_STATE")
        assert told["TUNNEL_STATE"] == "DOWN"
        assert told["SINCE"] - heard > 2_000_000, "after 600 ms, and 1500 more"
        assert told["CAUSE"] == "NETWORK_DOWN"
        assert told["TEXT"].startswith("given up: nothing was heard from the server for ")
        assert client.recv(1) == b""
        tunnel.wait_end()
        assert tunnel.exit_record()["text"] == told["TEXT"]


@pytest.mark.parametrize("days", [30, 3660, 1 << 60])
def test_a_patience_of_months(start: Start, server: Sshd, days: int) -> None:
    """It is the one that was asked for: the keepalive's timer says for how long."""
    wanted = min(days * 86400 * 1000, (1 << 63) - 1)
    tunnel = start(KEEPALIVE_MS=100, KEEPALIVE_COUNT=1, DEAD_AFTER_MS=wanted)
    tunnel.wait_state("UP")
    server.freeze()
    tunnel.wait_state("DEGRADED")

    def days_left() -> float:
        texts = [path.read_text() for path in Path(f"/proc/{tunnel.pid}/fdinfo").iterdir()]
        return max(int(s) for s in re.findall(r"it_value: \((\d+),", "".join(texts))) / 86400

    wait_until(lambda: days_left() > min(days, 36600) - 1, "the timer")


def test_a_dead_server_is_seen_at_once(tunnel: Tunnel, server: Sshd, target, home) -> None:
    """Clients are closed, the command is answered for, the exit is recorded."""
    client = tunnel.connect(target.path)
    running = tunnel.send("TUNNEL_RUN", COMMAND=f"echo >{home}/runs; sleep 9", TIMEOUT_MS=20000)
    with client, target.accept():
        wait_until((home / "runs").exists, "the command's start")
        for pid in server.serving():
            os.kill(pid, signal.SIGKILL)
        assert client.recv(1) == b""
        _, told = tunnel.answer_to(running)
        assert "the connection ended" in told["TEXT"]
        while (told := tunnel.wait_told("TUNNEL_STATE"))["TUNNEL_STATE"] != "DOWN":
            pass
        assert told["CAUSE"] == "NETWORK_DOWN"
        assert "andes" in told["TEXT"]
        tunnel.wait_end()
    record = tunnel.exit_record()
    assert record["text"] == told["TEXT"]
    assert (record["cause"], record["human"]) == ("1", "0")
    assert int(record["at"]) == told["SINCE"]


def test_probes(tunnel: Tunnel, server: Sshd) -> None:
    """An answer tells the state at once; none, after two seconds."""
    tunnel.settle()
    told = tunnel.order("TUNNEL_PROBE")
    assert told["TUNNEL_STATE"] == "UP"
    assert 0 < told["RTT_US"] < 2_000_000
    server.freeze()
    asked = time.monotonic()
    assert tunnel.order("TUNNEL_PROBE")["TUNNEL_STATE"] == "UP"
    assert time.monotonic() - asked > 1.5


def test_an_idle_connection_sleeps(tunnel: Tunnel, target) -> None:
    """Channels are open, nobody says anything: nothing wakes it."""
    clients = [tunnel.connect(target.path) for _ in range(5)]
    ends = [target.accept() for _ in clients]
    for client, end in zip(clients, ends):
        exchange(client, end)
    tunnel.settle()
    before = tunnel.wakeups()
    time.sleep(3)
    assert tunnel.wakeups() == before
    for end in clients + ends:
        end.close()


def test_a_stalled_or_half_closed_one_sleeps(tunnel: Tunnel, target) -> None:
    """So does one with a client that takes nothing, and with one that has said all."""
    stalled, said = tunnel.connect(target.path), tunnel.connect(target.path)
    ends = [target.accept(), target.accept()]
    for client, end in zip((stalled, said), ends):
        exchange(client, end)
    ends[0].settimeout(1)
    with pytest.raises(TimeoutError):
        while True:
            ends[0].send(b"x" * (1 << 20))
    said.shutdown(1)
    assert ends[1].recv(1) == b"" or ends[1].recv(1) == b""
    tunnel.settle()
    before = tunnel.wakeups()
    time.sleep(2)
    assert tunnel.wakeups() == before
    for end in [stalled, said, *ends]:
        end.close()


def test_keepalives_leave_nothing_behind(start: Start) -> None:
    """libssh2 would keep each answer to its own; hundreds are asked here."""
    tunnel = start(KEEPALIVE_MS=10, KEEPALIVE_COUNT=1000)
    tunnel.wait_state("UP")
    time.sleep(2)
    memory, wakeups = tunnel.memory_kb("Private_Dirty"), tunnel.wakeups()
    wait_until(lambda: tunnel.wakeups() > wakeups + 1000, "500 questions and answers")
    if not tunnel.is_sanitized():
        assert tunnel.memory_kb("Private_Dirty") - memory <= 8


def test_a_server_that_asks_is_answered(special: Callable[..., Tunnel]) -> None:
    """Without any channel: who never answers is thrown out after six seconds."""
    tunnel = special(extra=["ClientAliveInterval 1", "ClientAliveCountMax 5"])
    time.sleep(8)
    assert tunnel.now()["TUNNEL_STATE"] == "UP"
