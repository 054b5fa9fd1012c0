"""The relay as gearsd leads it: upgrades, deaths, starts and the numbers in status."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from pathlib import Path

import pytest
from conftest import Gears
from processes import alive, tell, wait_until
from relay_ends import Pattern, Task, read_pattern, send_pattern

MB = 1 << 20
# Says back what it hears, on the socket it is given, when there is something to read in the fifo.
ECHO = """
import socket, sys, threading

def serve(end):
    with end:
        while piece := end.recv(65536):
            end.sendall(piece)

if len(sys.argv) > 2:
    open(sys.argv[2]).read()
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(100)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


def configure(gears: Gears, *words: str) -> None:
    (gears.home / "echo.py").write_text(ECHO)
    (gears.home / "etc/gears.conf").write_text(
        "[service:echo]\nkind = command\n"
        f"command = python3 {gears.home}/echo.py {{socket}} {' '.join(words)}\n"
    )


def relays(gears: Gears) -> list[int]:
    found = []
    for pid in gears.processes():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text() == "gears-relay\n" and alive(pid):
                found.append(pid)
    return found


def connect(path: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(30)
    client.connect(path)
    return client


def echoes(client: socket.socket, text: bytes) -> bool:
    client.sendall(text)
    return client.recv(len(text), socket.MSG_WAITALL) == text


def served(path: str) -> bool:
    with contextlib.suppress(OSError), connect(path) as client:
        return echoes(client, b"hello")
    return False


def test_an_upgrade_drains_the_old_relay(gears: Gears) -> None:
    configure(gears)
    gears.run("start", "echo")
    path = gears.status("echo")["socket"]
    (old,) = relays(gears)
    text = Pattern("through the upgrade")
    with connect(path) as client:
        sending = Task(lambda: send_pattern(client, text, 64 * MB))
        got = read_pattern(client, text, 8 * MB)
        gears.run("daemon", "upgrade")
        wait_until(lambda: set(relays(gears)) - {old}, "the new relay")
        wait_until(lambda: served(path), "service by the new relay")
        assert old in relays(gears)
        assert read_pattern(client, text, 56 * MB, at=got) == 56 * MB
        assert sending.result() == 64 * MB
        assert echoes(client, b"still by the old one")
    wait_until(lambda: old not in relays(gears), "the end of the old relay")
    assert len(relays(gears)) == 1
    assert served(path)


def test_a_killed_relay_is_back_at_once(gears: Gears) -> None:
    configure(gears)
    gears.run("start", "echo")
    before = gears.status("echo")
    path = before["socket"]
    port = int(gears.run("forward", "echo", "--yes").stdout)
    (old,) = relays(gears)
    with connect(path) as client:
        assert echoes(client, b"x" * 1000)
        os.kill(old, signal.SIGKILL)
        assert client.recv(1) == b""
    wait_until(lambda: served(path), "the Unix socket")

    def forwarded() -> bool:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), 10) as client,
        ):
            return echoes(client, b"hello")
        return False

    wait_until(forwarded, "the forward's port")
    after = gears.status("echo")
    assert (after["socket"], after["pid"]) == (path, before["pid"])
    assert after["bytes_in"] >= 1000  # those of the dead one too


def test_a_daemon_s_death_touches_no_connection(gears: Gears) -> None:
    configure(gears)
    gears.run("start", "echo")
    path = gears.status("echo")["socket"]
    (relay,) = relays(gears)
    with connect(path) as client:
        assert echoes(client, b"before")
        gears.kill_daemon()
        assert echoes(client, b"meanwhile")
        wait_until(lambda: gears.status("echo")["connections"] == 1, "the counters' return")
        assert echoes(client, b"after")
        assert relays(gears) == [relay]
        numbers = gears.status("echo")
        said = len(b"beforemeanwhileafter")
        assert (numbers["bytes_in"], numbers["bytes_out"]) == (said, said)
    wait_until(lambda: gears.status("echo")["connections"] == 0, "the connection's end")


def test_who_connects_while_the_service_starts_waits(gears: Gears) -> None:
    fifo = gears.home / "go"
    os.mkfifo(fifo)
    configure(gears, str(fifo))
    gears.run("start", "echo", "--no-wait")
    status = wait_until(
        lambda: (s := gears.status("echo"))["state"] == "starting" and s["socket"] and s,
        "the start",
    )
    wait_until(Path(status["socket"]).exists, "the public socket")
    with connect(status["socket"]) as client:
        client.sendall(b"patient")
        tell(fifo, "go\n")
        assert client.recv(7, socket.MSG_WAITALL) == b"patient"
    wait_until(lambda: gears.status("echo")["state"] == "ready", "ready")


def test_a_stopped_service_is_told_and_its_return_served(gears: Gears) -> None:
    configure(gears)
    gears.run("start", "echo")
    path = gears.status("echo")["socket"]
    gears.run("stop", "echo")
    with connect(path) as browser, connect(path) as other:
        browser.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert browser.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 503"
        other.sendall(b"EHLO x\r\n")
        assert other.recv(1) == b""
    gears.run("start", "echo")
    assert served(path)


def test_a_stopped_relay_stops_no_control(gears: Gears) -> None:
    configure(gears)
    gears.run("start", "echo")
    path = gears.status("echo")["socket"]
    (relay,) = relays(gears)
    with connect(path) as client:
        os.kill(relay, signal.SIGSTOP)
        try:
            client.sendall(b"held")
            assert gears.status("echo")["state"] == "ready"
            gears.run("run", "other", "--", "sleep", "1000")
            assert gears.status("other")["state"] == "ready"
        finally:
            os.kill(relay, signal.SIGCONT)
        assert client.recv(4, socket.MSG_WAITALL) == b"held"
        assert echoes(client, b"on")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_forward_is_for_its_user_only(gears: Gears) -> None:
    configure(gears)
    gears.run("start", "echo")
    port = int(gears.run("forward", "echo", "--yes").stdout)
    os.seteuid(65534)
    try:  # as plainly as can be: nobody may not be able to import a module
        client = socket.socket(socket.AF_INET)
        client.connect(("127.0.0.1", port))
    finally:
        os.seteuid(0)
    client.settimeout(30)
    with client, contextlib.suppress(ConnectionError):
        client.sendall(b"mine?")
        assert client.recv(1) == b""
    with socket.create_connection(("127.0.0.1", port), 30) as mine:
        assert echoes(mine, b"mine")


def test_each_of_many_services_is_counted(gears: Gears) -> None:
    """More of them than a gearsd that knew answers by a small number could tell apart."""
    count = 300
    (gears.home / "etc/gears.conf").write_text(
        "".join(
            f"[service:s{i}]\nkind = command\nready = started\nenabled = yes\n"
            "command = sh -c 'exec sleep 1000' {socket}\n"
            for i in range(count)
        )
    )

    def services() -> list[dict[str, object]]:
        found = json.loads(gears.run("status", "--json").stdout)["services"]
        return [service for service in found if service["kind"] == "command"]

    wait_until(lambda: all(one["state"] == "ready" for one in services()), "every service")
    os.kill(gears.daemon_pid(), signal.SIGKILL)  # the successor tells the relay of all at once
    with contextlib.ExitStack() as stack:
        for one in services():
            stack.enter_context(connect(str(one["socket"])))
        wait_until(lambda: all(one["connections"] == 1 for one in services()), "every count")
    os.kill(relays(gears)[0], signal.SIGKILL)  # a new one has to be told of all sockets

    def reachable(path: str) -> bool:
        with contextlib.suppress(OSError), connect(path):
            return True
        return False

    wait_until(lambda: all(reachable(str(one["socket"])) for one in services()), "every socket")
