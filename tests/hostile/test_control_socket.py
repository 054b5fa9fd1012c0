"""What a hostile or broken program of the same user may do to the control socket. gearsd says
why it ends a connection, stays small, serves others meanwhile and rests afterwards."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Gears, private_gears
from processes import wait_until
from raw_peer import (
    MANAGER,
    NOBODY,
    Peer,
    connections,
    cpu_ticks,
    knock_as_nobody,
    memory,
    wait_until_idle,
)

MIB = 1 << 20
CLIENTS_MOST = 256
GROWTH_MOST = 16 * MIB
INVALID = "org.varlink.service.InvalidParameter"


class Victim:
    """A gearsd, its control socket and its process."""

    def __init__(self, gears: Gears) -> None:
        self.gears = gears
        gears.run("status")
        (self.path,) = gears.home.glob("run/*/gearsd.sck")
        self.pid = gears.daemon_pid()

    def peer(self) -> Peer:
        return Peer(self.path)

    def serves(self) -> None:
        """Another client is answered, also while the machine is loaded."""
        begin = time.monotonic()
        with self.peer() as peer:
            reply = peer.ask(f"{MANAGER}.Hello")
        assert reply and reply["parameters"]["pid"] == self.pid
        assert time.monotonic() - begin < 20

    def refuses(self, said: bytes, reason: str) -> None:
        with self.peer() as peer:
            # Ended in the middle of our words: the reason may still be read.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                peer.socket.sendall(said)
            assert peer.hear() == {"error": INVALID, "parameters": {"parameter": reason}}
            assert peer.hear() is None


@pytest.fixture(scope="module")
def module_victim() -> Iterator[Victim]:
    with private_gears() as gears:
        yield Victim(gears)


@pytest.fixture
def victim(module_victim: Victim) -> Iterator[Victim]:
    """One gearsd bears it all; after each attack it serves, rests and is still the same."""
    yield module_victim
    module_victim.serves()
    wait_until_idle(module_victim.pid)
    assert module_victim.gears.daemon_pid() == module_victim.pid


@contextlib.contextmanager
def nofile(count: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        if os.geteuid() != 0:
            pytest.skip(f"needs {count} descriptors, only {hard} are allowed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))
    elif soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, max(soft, hard) if hard > 0 else hard))


@pytest.mark.parametrize(
    "said",
    [
        b"\0",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n\0",
        b"{}\0",
        b"[]\0",
        b'{"method":1}\0',
        b'{"method":"org.gears.Manager.Hello"}}\0',
        b'{"method":"org.gears.Manager.Hello","parameters":[]}\0',
        b'{"method":"org.gears.Manager.Hello","more":"yes"}\0',
        b'{"method":"org.gears.Manager.Hello","upgrade":1}\0',
        b'{"method":"\xff\xfe"}\0',
        bytes(range(255, 0, -1)) * 100 + b"\0",
        b'{"method":"org.gears.Manager.Hello","parameters":' + b"[" * 500_000 + b"\0",
        b'{"method":"org.gears.Manager.Hello","parameters":{"a":' + b'{"a":' * 40 + b"\0",
    ],
    ids=lambda said: repr(said[:24]),
)
def test_garbage_is_refused_with_the_reason(victim: Victim, said: bytes) -> None:
    victim.refuses(said, "message: not a Varlink call")


def test_deep_nesting_inside_a_good_call(victim: Victim) -> None:
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        deep = opening * 100_000 + b"1" + closing * 100_000
        call = b'{"method":"org.gears.Manager.Status","parameters":{"name":' + deep + b"}}\0"
        victim.refuses(call, "message: not a Varlink call")


def test_a_gibibyte_without_an_end(victim: Victim) -> None:
    """Eight at once; each is ended at 1 MiB and none of it stays."""
    before = memory(victim.pid)
    taken: list[int] = []

    def pour() -> None:
        block = b" " * MIB
        with victim.peer() as peer:
            sent = 0
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                while sent < 1024 * MIB:
                    sent += peer.socket.send(block)
            reply = peer.hear()
            assert reply and reply["parameters"]["parameter"] == "message: longer than 1 MiB"
            assert peer.hear() is None
            taken.append(sent)

    threads = [threading.Thread(target=pour) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 8, "a sender failed; see its traceback"
    assert max(taken) < 3 * MIB
    victim.serves()
    assert memory(victim.pid) - before < GROWTH_MOST


def test_one_byte_at_a_time(victim: Victim) -> None:
    """Slow ones, silent in the middle or not, have ten seconds; others are served meanwhile."""
    call = b'{"method":"org.gears.Manager.Hello"' + b" " * 100_000
    ticks = cpu_ticks(victim.pid)
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(victim.peer()) for _ in range(20)]
        begin = time.monotonic()
        for peer in slow:
            peer.socket.send(b"{")
        ended: dict[int, float] = {}
        for i in range(1, len(call)):
            for index, peer in enumerate(slow):
                if index in ended:
                    continue
                if not peer.says_nothing():
                    reply = peer.hear()
                    words = "message: not whole within 10 seconds"
                    assert reply == {"error": INVALID, "parameters": {"parameter": words}}
                    assert peer.hear() is None
                    ended[index] = time.monotonic() - begin
                elif index % 2:
                    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                        peer.socket.send(call[i : i + 1])
            if len(ended) == len(slow):
                break
            victim.serves()
            time.sleep(0.1)
    assert len(ended) == len(slow)
    assert min(ended.values()) > 9
    assert max(ended.values()) < 60  # ten, and what a loaded machine adds
    assert cpu_ticks(victim.pid) - ticks < 2 * os.sysconf("SC_CLK_TCK")


def test_ten_thousand_idle_connections(victim: Victim) -> None:
    """The longest idle make room: whoever comes is served, all the while."""
    before = memory(victim.pid)
    with nofile(10_300), contextlib.ExitStack() as stack:
        peers = []
        for i in range(10_000):
            peers.append(stack.enter_context(victim.peer()))
            if i % 500 == 0:
                victim.serves()
                # The kernel's table is no snapshot.
                wait_until(lambda: connections(victim.path) <= CLIENTS_MOST, "no more than allowed")
        assert victim.gears.run("status", "--json").returncode == 0
        wait_until_idle(victim.pid)  # while they are all there
        assert peers[0].hear() is None
        reply = peers[-1].ask(f"{MANAGER}.Hello")
        assert reply and reply["parameters"]["pid"] == victim.pid
        assert memory(victim.pid) - before < GROWTH_MOST
    wait_until(lambda: not connections(victim.path), "the end of the crowd")


def test_a_house_full_of_busy_clients(victim: Victim) -> None:
    """Streams are not ended for newcomers; who comes waits in the backlog for the first place."""
    with nofile(1000), contextlib.ExitStack() as stack:
        streams = []
        for _ in range(CLIENTS_MOST):
            streams.append(stack.enter_context(victim.peer()))
            reply = streams[-1].ask(f"{MANAGER}.Events", {"follow": True}, more=True)
            assert reply and reply["continues"]
        late = [stack.enter_context(victim.peer()) for _ in range(3)]
        for peer in late:
            peer.call(f"{MANAGER}.Hello")
        wait_until_idle(victim.pid)
        wait_until(lambda: connections(victim.path) == CLIENTS_MOST, "a full house")
        assert all(peer.says_nothing() for peer in late)
        for index, peer in enumerate(late):
            streams[index].socket.close()
            reply = peer.hear()
            assert reply and reply["parameters"]["pid"] == victim.pid
            peer.socket.close()
        assert all(peer.says_nothing() for peer in streams[3:])


def test_half_closed(victim: Victim) -> None:
    with victim.peer() as peer:  # has asked and says no more: still answered
        peer.call(f"{MANAGER}.Hello")
        peer.socket.shutdown(socket.SHUT_WR)
        reply = peer.hear()
        assert reply and reply["parameters"]["pid"] == victim.pid
        assert peer.hear() is None
    with victim.peer() as peer:  # never asked
        peer.socket.shutdown(socket.SHUT_WR)
        assert peer.hear() is None
    with victim.peer() as peer:  # in the middle of a message
        peer.socket.send(b'{"method":')
        peer.socket.shutdown(socket.SHUT_WR)
        assert peer.hear() is None
    with victim.peer() as peer:  # reads no more: nothing of the stream is kept for it
        peer.call(f"{MANAGER}.Events", {"follow": True}, more=True)
        peer.hear()
        peer.socket.shutdown(socket.SHUT_RD)
        victim.serves()


def test_who_left_behind_a_long_queue_is_noticed(victim: Victim) -> None:
    for _ in range(20):
        with victim.peer() as peer:
            peer.call(f"{MANAGER}.Events", {"follow": True}, more=True)
            peer.hear()
            peer.socket.send(b'{"method":"' + b"x" * 60_000)  # more than is read ahead
    wait_until(lambda: not connections(victim.path), "the end of who left")


def test_a_slow_reader_is_dropped(victim: Victim) -> None:
    """A stream nobody reads ends with an error, at a bound; the others of it go on."""
    before = memory(victim.pid)
    (victim.gears.home / "flood.py").write_text(
        "import sys, time\n"
        "for i in range(1000):\n"
        "    print('x' * 10000, i, flush=True)\n"
        "    time.sleep(0.005)\n"
        "time.sleep(1000)\n"
    )
    victim.gears.run("run", "flood", "--no-wait", "--", "python3", f"{victim.gears.home}/flood.py")
    parameters: dict[str, Any] = {"name": "flood", "follow": True, "lines": 10}
    with victim.peer() as slow, victim.peer() as quick:
        for peer in (slow, quick):
            peer.call(f"{MANAGER}.Logs", parameters, more=True)
        last = None
        while last != "x" * 10000 + " 999":
            reply = quick.hear()
            assert reply and reply.get("continues"), f"the quick reader: {reply}"
            lines = reply["parameters"]["lines"]
            last = lines[-1]["text"] if lines else last
        heard = 0
        while (reply := slow.hear()) and "error" not in reply:
            heard += 1
        assert reply and reply["error"] == f"{MANAGER}.SlowReader", f"after {heard}: {reply}"
        assert "too slow" in reply["parameters"]["message"]
        assert slow.hear() is None
        assert heard > 1
    assert memory(victim.pid) - before < 2 * GROWTH_MOST
    victim.gears.run("stop", "flood")
    victim.gears.run("remove", "flood")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_foreign_user_hears_nothing(victim: Victim) -> None:
    said = b'{"method":"org.gears.Manager.Hello"}\0'
    for _ in range(3):
        assert knock_as_nobody(victim.path, socket.SOCK_STREAM, said) == "b''"
    log = victim.gears.run("logs", "gearsd", "-n", "1000").stdout
    assert f"refused uid={NOBODY}" in log


@pytest.mark.parametrize(
    ("method", "parameters", "error", "words"),
    [
        ("Status", {"name": 1}, INVALID, {"parameter": "name"}),
        ("Status", {"name": None, "usage": "yes"}, INVALID, {"parameter": "usage"}),
        ("Status", {"nome": "lab"}, INVALID, {"parameter": "nome"}),
        ("Start", {}, INVALID, {"parameter": "name"}),
        ("Start", {"name": "lab", "timeout": "1s"}, INVALID, {"parameter": "timeout"}),
        ("Start", {"name": "lab", "timeout": 1.5}, INVALID, {"parameter": "timeout"}),
        ("Signal", {"name": "lab", "signal": 9}, INVALID, {"parameter": "signal"}),
        ("Logs", {"name": ["lab"]}, INVALID, {"parameter": "name"}),
        ("Absent", {}, "org.varlink.service.MethodNotFound", {"method": "Absent"}),
    ],
)
def test_wrong_calls(
    victim: Victim, method: str, parameters: Any, error: str, words: dict[str, str]
) -> None:
    with victim.peer() as peer:
        reply = peer.ask(f"{MANAGER}.{method}", parameters)
        assert reply == {"error": error, "parameters": words}
        reply = peer.ask(f"{MANAGER}.Hello")  # the connection is none the worse
        assert reply and reply["parameters"]["pid"] == victim.pid


@pytest.mark.parametrize("name", ["org.gears.Nothing.Hello", "Hello", "", "...", "a" * 1000])
def test_unknown_interfaces(victim: Victim, name: str) -> None:
    with victim.peer() as peer:
        reply = peer.ask(name)
        assert reply and reply["error"] == "org.varlink.service.InterfaceNotFound"
        assert len(reply["parameters"]["interface"]) < 300


@pytest.mark.parametrize("value", [2**63, -(2**63), 1e300, -1e300, 2**53 + 1])
def test_numbers_out_of_range(victim: Victim, value: float) -> None:
    with victim.peer() as peer:
        for parameters in ({"lines": value}, {"since": value}):
            reply = peer.ask(f"{MANAGER}.Logs", {"name": "gearsd", **parameters})
            assert reply is not None
        reply = peer.ask(f"{MANAGER}.Events", {"after": value})
        assert reply is not None
        assert peer.ask(f"{MANAGER}.Hello") is not None


def test_oneway_calls_are_never_answered(victim: Victim) -> None:
    with victim.peer() as peer:
        for _ in range(50):
            peer.call(f"{MANAGER}.Hello", oneway=True)
            peer.call(f"{MANAGER}.Absent", oneway=True)
            peer.call(f"{MANAGER}.Status", {"name": 1}, oneway=True)
            peer.call(f"{MANAGER}.Events", {"follow": True}, oneway=True, more=True)
        reply = peer.ask(f"{MANAGER}.Hello")
        assert reply and reply["parameters"]["pid"] == victim.pid
        assert peer.says_nothing()


def test_upgrade_is_refused(victim: Victim) -> None:
    with victim.peer() as peer:
        reply = peer.ask(f"{MANAGER}.Hello", upgrade=True)
        assert reply == {"error": INVALID, "parameters": {"parameter": "upgrade"}}
        assert peer.ask(f"{MANAGER}.Hello", upgrade=False)


def test_few_descriptors(gears: Gears) -> None:
    """With 64 descriptors in all, a crowd of 500 leaves gearsd able to serve and to start."""
    subprocess.run(
        ["prlimit", "--nofile=64:64", str(gears.bin / "gearsctl"), "daemon", "start"],
        env=gears.environment,
        check=True,
        capture_output=True,
        timeout=60,
    )
    victim = Victim(gears)
    limits = Path(f"/proc/{victim.pid}/limits").read_text()
    assert any(line.split()[:4] == ["Max", "open", "files", "64"] for line in limits.splitlines())
    with nofile(700), contextlib.ExitStack() as stack:
        for i in range(500):
            stack.enter_context(victim.peer())
            if i % 50 == 0:
                victim.serves()
        wait_until_idle(victim.pid)
        gears.run("run", "quiet", "--no-wait", "--", "sleep", "1000")
        gears.run("wait", "quiet", "--for", "ready")
    gears.run("stop", "quiet")
