"""Logging in to a cluster from a hub: who is asked, what is said, what stays behind."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_user import HubUser
from lab_client import LabClient
from olcf import Olcf
from processes import wait_until


@pytest.fixture(params=["libssh2", "openssh"])
def user(olcf: Olcf, request: pytest.FixtureRequest) -> Iterator[HubUser]:
    """Somebody at a terminal of hub1, by either way of connecting."""
    with (olcf.gears.home / "etc/gears.conf").open("a") as conf:
        conf.write(f"[cluster:andes]\ntransport = {request.param}\n")
    with HubUser(olcf, olcf.hub1) as user:
        yield user


def test_one_passcode_leads_to_a_kernel(olcf: Olcf, user: HubUser) -> None:
    with user.at("start", "lab@andes") as terminal:
        terminal.expect("Enter PASSCODE: ")
        assert not terminal.echoes()
        code = olcf.fresh_code()
        terminal.type(f"{code}\n")
        assert terminal.wait() == 0, terminal.output
        assert code not in terminal.output
    assert olcf.passcodes_asked() == 1
    client = user.lab()
    _, kernel = client.start_notebook("a.ipynb")
    assert client.run(kernel, "x = 41; print(x + 1)") == "42\n"
    # All of these go over the one connection, and nobody is asked again.
    status = user.status()
    assert [(t["cluster"], t["state"]) for t in status["tunnels"]] == [("andes", "up")]
    lab = user.far_service()
    assert lab["state"] == "ready" and lab["host"].startswith("andes-login")
    assert "token=" in user.run("url", "lab@andes").stdout
    assert user.run("logs", "lab@andes", "-n", "5").stdout
    assert user.run("start", "lab@andes").returncode == 0
    assert user.run("login", "andes").returncode == 0
    assert user.run("stop", "lab@andes").returncode == 0
    assert user.run("start", "lab@andes").returncode == 0
    assert olcf.passcodes_asked() == 1
    user.run("logout", "andes")
    assert user.status()["tunnels"] == []
    assert not (olcf.gears.home / "run/andes.sck").exists()
    assert code not in olcf.gears.explain()


def test_without_a_terminal_nobody_is_asked(olcf: Olcf, user: HubUser) -> None:
    result = user.run("start", "lab@andes", check=False)
    assert result.returncode == 7, result.stderr
    assert "needs your PASSCODE; run: gearsctl login andes" in result.stderr
    before = [server.connections() for server in olcf.servers]
    for words in (("start", "lab@andes"), ("login", "andes"), ("status", "lab@andes")):
        assert user.run(*words, check=False).returncode == 7, words
    # It is known by now that a human is needed, so no connection is even tried.
    assert [server.connections() for server in olcf.servers] == before
    assert olcf.passcodes_asked() == 0


def test_wrong_code_and_next_token(olcf: Olcf, user: HubUser) -> None:
    with user.at("login", "andes") as terminal:
        terminal.expect("Enter PASSCODE: ")
        terminal.type("0000\n")
        terminal.forget()
        terminal.expect("Enter PASSCODE: ")
        first, second = olcf.passcodes.fresh_with_next()
        terminal.type(f"{first}\n")
        terminal.expect("then enter the new tokencode: ")
        terminal.type(f"{second}\n")
        assert terminal.wait() == 0, terminal.output
    user.run("logout", "andes")


def test_interrupt_at_the_prompt(olcf: Olcf, user: HubUser) -> None:
    with user.at("login", "andes") as terminal:
        terminal.expect("Enter PASSCODE: ")
        terminal.type("\x03")
        assert terminal.wait() == 130, terminal.output
        wait_until(terminal.echoes, "the terminal as it was")
    wait_until(lambda: not user.tunnel_processes(), "the end of the tunnel")
    status = user.status()
    assert status["tunnels"] == [] or status["tunnels"][0]["state"] != "up"
    user.login()
    assert user.status()["tunnels"][0]["state"] == "up"


def test_a_second_terminal_takes_the_place_of_the_first(olcf: Olcf, user: HubUser) -> None:
    with user.at("login", "andes") as first:
        first.expect("Enter PASSCODE: ")
        with user.at("login", "andes") as second:
            second.expect("waits for an answer at a terminal")
            tunnels = user.tunnel_processes()
            first.type("\x03")
            assert first.wait() == 130, first.output
            second.expect("Enter PASSCODE: ")
            assert user.tunnel_processes() == tunnels
            second.type(f"{olcf.fresh_code()}\n")
            assert second.wait() == 0, second.output
    assert user.tunnel()["state"] == "up" and olcf.passcodes_asked() == 1
    # The last one to leave takes the login along.
    user.run("logout", "andes")
    with user.at("login", "andes") as first:
        first.expect("Enter PASSCODE: ")
        with user.at("login", "andes") as second:
            second.expect("waits for an answer at a terminal")
            for terminal in (second, first):
                terminal.type("\x03")
                assert terminal.wait() == 130, terminal.output
    wait_until(lambda: not user.tunnel_processes(), "the end of the tunnel")


def test_cron_beside_a_prompt(olcf: Olcf, user: HubUser) -> None:
    """Who cannot be asked waits for somebody else's answer, for a while, and costs no code."""
    start = [*user.hub.prefix, str(user.hub.bin / "gearsctl"), "start", "lab@andes"]
    conf = olcf.gears.home / "etc/gears.conf"
    before = conf.read_text()
    conf.write_text(f"{before}wait = 1s\n")
    with user.at("login", "andes") as terminal:
        terminal.expect("Enter PASSCODE: ")
        result = user.run("start", "lab@andes", check=False)
        assert result.returncode == 7, result.stderr
        assert "its login waits for an answer at a terminal; answer there" in result.stderr
        conf.write_text(f"{before}wait = 10m\n")
        user.run("call", "Reload")
        with subprocess.Popen(start, env=user.hub.environment, stdin=subprocess.DEVNULL) as cron:
            wait_until(lambda: olcf.gears.explain().count("attended=0") == 2, "that it waits")
            terminal.type(f"{olcf.fresh_code()}\n")
            assert terminal.wait() == 0, terminal.output
            assert cron.wait(60) == 0
    assert user.far_service()["state"] == "ready" and olcf.passcodes_asked() == 1


def test_gearsd_dies_and_the_hop_stays(olcf: Olcf, user: HubUser) -> None:
    user.login()
    user.run("start", "lab@andes")
    client = user.lab()
    _, kernel = client.start_notebook("a.ipynb")
    client.run(kernel, "x = 5")
    channels = client.open_channels(kernel, "open")
    user.kill_daemon()
    client.send(channels, "print(x)", "open")
    while True:
        message = json.loads(channels.recv())
        if message["msg_type"] == "stream":
            assert message["content"]["text"] == "5\n"
            break
    channels.close()
    assert user.status()["tunnels"][0]["state"] == "up"
    user.run("daemon", "upgrade")
    assert user.status()["tunnels"][0]["state"] == "up"
    assert client.run(kernel, "print(x)") == "5\n"
    assert olcf.passcodes_asked() == 1


def test_tunnel_killed_needs_the_human(olcf: Olcf, user: HubUser) -> None:
    user.login()
    user.run("start", "lab@andes")
    client = user.lab()
    _, kernel = client.start_notebook("a.ipynb")
    client.run(kernel, "x = 6")
    before = [server.connections() for server in olcf.servers]
    for pid in user.tunnel_processes():
        user.kill(pid, signal.SIGKILL)
    wait_until(lambda: user.tunnel()["state"] == "auth-needed", "that it needs the human")
    assert user.run("status", "lab@andes", check=False).returncode == 7
    status, page, _ = LabClient(Path(olcf.gears.home / "run/andes.sck"), "").raw("GET", "/lab")
    assert status == 503 and b"gearsctl login andes" in page and b"PASSCODE" in page
    user.kill_daemon()
    assert user.tunnel()["state"] == "auth-needed"
    assert [server.connections() for server in olcf.servers] == before
    user.login()
    assert client.run(kernel, "print(x)") == "6\n"
    assert olcf.passcodes_asked() == 2
