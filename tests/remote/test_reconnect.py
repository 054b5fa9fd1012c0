"""Lost and silent connections: keys reconnect by themselves, paid hops are kept and parked."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Gears
from hub_user import HubUser
from olcf import Olcf
from processes import wait_until
from sshd import WHY_NOT, Sshd, new_key
from tunnel_link import frame

QUICK = "keepalive = 2s\nkeepalive_count = 3\nconnect_timeout = 5s\n"


def configure(gears: Gears, lines: str) -> None:
    """More lines for [cluster:andes]."""
    with (gears.home / "etc/gears.conf").open("a") as conf:
        conf.write(f"[cluster:andes]\n{lines}")


WAYS = ["libssh2", "openssh"]


@pytest.fixture(params=WAYS)
def user(olcf: Olcf, request: pytest.FixtureRequest) -> Iterator[HubUser]:
    """At hub1, with PASSCODEs."""
    configure(olcf.gears, f"{QUICK}transport = {request.param}\n")
    with HubUser(olcf, olcf.hub1) as user:
        yield user


@contextlib.contextmanager
def with_key(gears: Gears, transport: str, auth: str) -> Iterator[HubUser]:
    if WHY_NOT:
        pytest.skip(WHY_NOT)
    configure(gears, f"{QUICK}transport = {transport}\n")
    with Olcf(gears, andes_auth=auth) as olcf:
        olcf.give_key()
        with HubUser(olcf, olcf.hub1) as user:
            yield user


@pytest.fixture(params=WAYS)
def keys(gears: Gears, request: pytest.FixtureRequest) -> Iterator[HubUser]:
    """At hub1, where a key without a passphrase opens the cluster."""
    with with_key(gears, request.param, "publickey") as user:
        yield user


def reached(user: HubUser) -> Sshd:
    """The server that the hop leads to."""
    host = user.tunnel()["host"]
    node = next(n for n in user.olcf.andes if n.name.startswith(f"{host}."))
    assert node.sshd
    return node.sshd


def connections(olcf: Olcf) -> int:
    return sum(node.sshd.connections() for node in olcf.andes if node.sshd)


def test_keys_need_nobody(keys: HubUser) -> None:
    assert keys.run("start", "lab@andes").returncode == 0
    client = keys.lab()
    _, kernel = client.start_notebook("a.ipynb")
    client.run(kernel, "x = 7")
    reached(keys).disconnect()
    wait_until(lambda: keys.tunnel()["reconnects"] == 1, "the reconnection")
    assert keys.await_tunnel("up")["cause"] is None
    assert client.run(kernel, "print(x)") == "7\n"
    for pid in keys.tunnel_processes():
        keys.kill(pid, signal.SIGKILL)
    wait_until(lambda: keys.tunnel()["reconnects"] == 2, "the reconnection")
    keys.await_tunnel("up")
    assert client.run(kernel, "print(x)") == "7\n"
    keys.run("logout", "andes")
    wait_until(lambda: not keys.tunnel_processes(), "the end of the tunnel")


def test_keys_wait_for_a_network_that_is_gone(keys: HubUser) -> None:
    keys.run("login", "andes")
    keys.olcf.hub1.cut()
    reached(keys).disconnect()
    for pid in keys.tunnel_processes():  # as a dropped line would, much later
        keys.kill(pid, signal.SIGKILL)
    wait_until(lambda: keys.tunnel()["cause"] == "network-down", "that the network is missed")
    keys.olcf.hub1.mend()
    began = time.monotonic()
    keys.await_tunnel("up")
    assert time.monotonic() - began < 20  # the figure stands in tests/bench


def test_a_silent_server_is_kept(user: HubUser) -> None:
    user.login()
    user.run("start", "lab@andes")
    client = user.lab()
    _, kernel = client.start_notebook("a.ipynb")
    client.run(kernel, "x = 8")
    server = reached(user)
    before = connections(user.olcf)
    server.freeze()
    tunnel = user.await_tunnel("degraded")
    assert tunnel["message"]
    status = user.run("status", check=False).stdout
    assert "degraded" in status
    server.thaw()
    user.await_tunnel("up")
    assert client.run(kernel, "print(x)") == "8\n"
    assert connections(user.olcf) == before and user.olcf.passcodes_asked() == 1


def test_a_new_client_finds_the_silence(olcf: Olcf) -> None:
    """With the default half a minute between keepalives: who needs the hop hears soon."""
    with HubUser(olcf, olcf.hub1) as user:
        user.login()
        server = reached(user)
        server.freeze()
        wait_until(lambda: user.tunnel()["state"] == "up", "nothing yet")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(olcf.gears.home / "run/andes.sck"))
            client.sendall(b"GET /api HTTP/1.0\r\n\r\n")
            user.await_tunnel("degraded")
        server.thaw()
        user.await_tunnel("up")


# As long as ten rounds of the backoff that keys have: 0.25 s and doubling, 12 s at most.
OUTAGE = sum(min(0.25 * 2**n, 12) for n in range(10))


@pytest.mark.long
@pytest.mark.parametrize("user", ["libssh2"], indirect=True)
def test_no_connection_without_the_human(user: HubUser) -> None:
    user.login()
    server = reached(user)
    server.disconnect()
    tunnel = user.await_tunnel("auth-needed")
    assert "gearsctl login andes" in tunnel["message"]
    before = connections(user.olcf)
    # What would make a key login connect: a network change, a demand, a new gearsd.
    user.olcf.hub1.cut()
    user.olcf.hub1.mend()
    assert user.run("start", "lab@andes", check=False).returncode == 7
    user.kill_daemon()
    assert user.tunnel()["state"] == "auth-needed"
    time.sleep(OUTAGE)  # nothing may happen: there is no event to wait for
    assert connections(user.olcf) == before
    events = user.run("events").stdout
    assert "auth-needed" in events


def test_restarted_sshd_ends_nothing(user: HubUser) -> None:
    user.login()
    server = reached(user)
    server.restart(disconnect=False)
    user.run("start", "lab@andes")
    assert user.tunnel()["state"] == "up" and user.olcf.passcodes_asked() == 1


@pytest.mark.long
def test_policy_ends_a_hop_in_time(olcf: Olcf) -> None:
    configure(olcf.gears, "max_age = 20s\n")
    with HubUser(olcf, olcf.hub1) as user:
        user.login()
        assert user.tunnel()["expires_at"]
        tunnel = user.await_tunnel("auth-needed", 90)
        assert tunnel["cause"] == "policy" and "PASSCODE" in tunnel["message"]
        wait_until(lambda: not user.tunnel_processes(), "the end of the tunnel")


def test_changed_host_key_is_refused(keys: HubUser) -> None:
    known = Path(keys.olcf.home / ".ssh/known_hosts")
    other = keys.olcf.folder / "other"
    new_key(other)
    key = other.with_suffix(".pub").read_text().split()[:2]
    lines = [line.split() for line in known.read_text().splitlines()]
    known.write_text("".join(f"{line[0]} {' '.join(key)}\n" for line in lines))
    result = keys.run("login", "andes", check=False)
    assert result.returncode == 1
    shown = 1 if keys.tunnel()["transport"] == "openssh" else 2  # ssh tells only the new one
    assert result.stderr.count("SHA256:") == shown and str(known) in result.stderr
    assert keys.tunnel()["cause"] == "host-key-changed"


def test_an_agent_reconnects_too(gears: Gears) -> None:
    """With keys that are nowhere on disk, also under a gearsd that nobody logged in."""
    if WHY_NOT:
        pytest.skip(WHY_NOT)
    configure(gears, QUICK)
    with Olcf(gears, andes_auth="publickey") as olcf, HubUser(olcf, olcf.hub1) as user:
        key = olcf.folder / "agent-key"
        new_key(key)
        olcf.authorize(key, olcf.andes)
        path = str(olcf.folder / "agent")
        agent = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
        try:
            wait_until(Path(path).exists, "the agent")
            lent = {**os.environ, "SSH_AUTH_SOCK": path}
            subprocess.run(["ssh-add", "-q", str(key)], env=lent, check=True)
            key.unlink()
            olcf.hub1.environment["SSH_AUTH_SOCK"] = path
            user.run("login", "andes")
            del olcf.hub1.environment["SSH_AUTH_SOCK"]
            user.kill_daemon()
            assert user.tunnel()["state"] == "up"
            reached(user).disconnect()
            wait_until(lambda: user.tunnel()["reconnects"] == 1, "the reconnection")
            user.await_tunnel("up")
        finally:
            agent.kill()
            agent.wait()


@pytest.fixture(params=WAYS)
def either(gears: Gears, request: pytest.FixtureRequest) -> Iterator[HubUser]:
    """At hub1, where a key opens the cluster, and a PASSCODE does too."""
    with with_key(gears, request.param, "passcode/publickey") as user:
        yield user


def withdraw_keys(olcf: Olcf) -> None:
    for node in olcf.andes:
        assert node.sshd
        node.sshd.authorized.write_text("")


def test_a_prompt_is_remembered(either: HubUser) -> None:
    """From the moment a human is asked, no successor of gearsd connects by itself."""
    either.run("login", "andes")
    assert not either.tunnel()["human"]
    withdraw_keys(either.olcf)
    with either.at("login", "andes", "--force") as terminal:
        terminal.expect("PASSCODE")
        before = connections(either.olcf)
        either.kill_daemon()
        for pid in either.tunnel_processes():
            either.kill(pid, signal.SIGKILL)
        wait_until(lambda: not either.tunnel_processes(), "the end of the tunnel")
        terminal.wait()
    tunnel = either.tunnel()
    assert tunnel["state"] == "auth-needed" and tunnel["human"]
    assert either.run("login", "andes", check=False).returncode == 7
    assert connections(either.olcf) == before


def test_a_full_disk_denies_nobody_a_login(either: HubUser) -> None:
    """What cannot be recorded must not be denied by an older record, so that one goes."""
    either.run("login", "andes")
    record = either.olcf.gears.home / "state/hub1.ccs/hop/andes.rec"
    assert "human=0" in record.read_text()
    withdraw_keys(either.olcf)
    folder = record.with_suffix(".d")
    folder.mkdir()
    either.olcf.hub1.inside("mount", "-t", "tmpfs", "-o", "nr_inodes=3", "none", str(folder))
    either.olcf.hub1.inside("cp", str(record), str(folder / record.name))
    either.olcf.hub1.inside("touch", str(folder / "last"))
    either.olcf.hub1.inside("mount", "--move", str(folder), str(record.parent))
    shown = either.login("--force")
    assert "open" in shown
    assert either.olcf.hub1.inside("ls", str(record.parent)).split() == ["last"]
    assert "will not know that it was wanted" in either.run("events").stdout
    assert either.tunnel()["human"]
    # What is open is found all the same, and keeps its right to the name.
    tunnels = either.tunnel_processes()
    lease = either.olcf.gears.home / "run/andes.lease"
    before = lease.read_text()
    either.run("daemon", "upgrade")
    assert either.tunnel()["human"] and either.await_tunnel("up")["socket"]
    assert either.tunnel_processes() == tunnels and lease.read_text() == before


def test_a_human_helps_where_keys_fail(either: HubUser) -> None:
    """Who logs in while keys are tried by themselves is asked what those cannot answer."""
    either.run("login", "andes")
    server = reached(either)
    server.freeze(listener=True)
    wait_until(
        lambda: either.tunnel()["cause"] == "network-down" and either.tunnel_processes(),
        "another try",
    )
    withdraw_keys(either.olcf)
    with either.at("login", "andes") as terminal:
        terminal.expect("andes: ")
        server.thaw()
        terminal.expect("PASSCODE")
        terminal.type(f"{either.olcf.fresh_code()}\n")
        assert terminal.wait() == 0, terminal.output
    assert either.tunnel()["state"] == "up" and either.tunnel()["human"]


def test_keys_go_on_after_another_gearsd(keys: HubUser) -> None:
    """In an outage nearly always some try is under way, which the one before led."""
    with (keys.olcf.gears.home / "etc/gears.conf").open("a") as conf:
        conf.write("wait = 2s\n")
    keys.run("login", "andes")
    server = reached(keys)
    server.freeze(listener=True)
    wait_until(
        lambda: keys.tunnel()["cause"] == "network-down" and keys.tunnel_processes(),
        "another try",
    )
    keys.kill_daemon()
    assert keys.tunnel()["state"] in ("down", "connecting")
    server.thaw()
    keys.await_tunnel("up", 30)
    # Who cannot be asked hears of an outage in time.
    server.freeze(listener=True)
    keys.await_tunnel("degraded", 30)
    result = keys.run("start", "lab@andes", check=False)
    assert result.returncode == 1 and "the hop to andes is" in result.stderr, result.stderr
    server.thaw()
    keys.await_tunnel("up", 30)


def test_force_without_a_terminal(keys: HubUser) -> None:
    keys.run("login", "andes")
    (tunnel,) = keys.tunnel_processes()
    keys.run("login", "andes", "--force")
    assert keys.tunnel()["state"] == "up" and tunnel not in keys.tunnel_processes()
    assert connections(keys.olcf) == 2


def test_force_does_not_cost_a_passcode(user: HubUser) -> None:
    user.login()
    result = user.run("login", "andes", "--force", check=False)
    assert result.returncode == 7 and "login --force andes" in result.stderr
    assert user.tunnel()["state"] == "up" and connections(user.olcf) == 1


def test_demands_do_not_hammer_the_server(keys: HubUser) -> None:
    """Clients that come again and again, and a network that changes all the time."""
    keys.run("login", "andes")
    rule = ["-p", "tcp", "--dport", "22", "--syn", "-j", "REJECT", "--reject-with", "tcp-reset"]
    for node in keys.olcf.andes:
        node.inside("iptables", "-w", "-I", "INPUT", *rule)
    began = time.monotonic()
    reached(keys).disconnect()
    wait_until(lambda: keys.tunnel()["cause"] == "refused", "a refusal")
    while time.monotonic() - began < 8:
        for order in ("add", "del"):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(keys.olcf.gears.home / "run/andes.sck"))
                client.sendall(b"GET /api HTTP/1.0\r\n\r\n")
                keys.olcf.hub1.inside("ip", "address", order, "10.99.0.1/32", "dev", "lo")
    assert keys.tunnel()["cause"] == "refused"
    counted = []
    for node in keys.olcf.andes:
        rules = node.inside("iptables", "-w", "-nvxL", "INPUT").splitlines()
        counted.append(int(rules[2].split()[0]))
        node.inside("iptables", "-w", "-D", "INPUT", *rule)
    # A try asks one node, or each that the name leads to.
    assert 1 <= max(counted) <= 4 + time.monotonic() - began
    keys.await_tunnel("up", 30)


def test_what_is_missing_there_is_said_until_it_is_mended(gears: Gears) -> None:
    program = gears.home / "gearsctl-there"
    program.write_text("#!/bin/sh\nexit 127\n")
    program.chmod(0o755)
    configure(gears, f"{QUICK}program = {program}\n")
    with Olcf(gears) as olcf, HubUser(olcf, olcf.hub1) as user:
        with user.at("login", "andes") as terminal:
            terminal.expect("Enter PASSCODE: ")
            terminal.type(f"{olcf.fresh_code()}\n")
            assert terminal.wait() == 1, terminal.output
        assert "Gears is not installed there" in user.tunnel()["message"]
        olcf.hub1.inside("ip", "address", "add", "10.99.0.1/32", "dev", "lo")
        time.sleep(0.5)  # nothing may happen: there is no event to wait for
        assert "Gears is not installed there" in user.tunnel()["message"]
        program.write_text(f'#!/bin/sh\nexec {gears.bin}/gearsctl "$@"\n')
        server = olcf.andes[0].sshd
        assert server
        server.freeze()
        user.await_tunnel("degraded", 20)
        server.thaw()
        wait_until(lambda: user.tunnel().get("remote_build"), "the answer of gearsd there")
        assert user.tunnel()["state"] == "up" and not user.tunnel().get("message")
        assert olcf.passcodes_asked() == 1


def test_why_a_tunnel_cannot_start(keys: HubUser) -> None:
    keys.run("status")
    feed = keys.olcf.gears.home / "run/hub1.ccs/link/f-andes.sck"
    (feed / "in-the-way").mkdir(parents=True)
    result = keys.run("login", "andes", check=False)
    assert result.returncode == 1 and "gears-tunnel cannot start: " in result.stderr
    assert keys.tunnel()["cause"] == "failed"
    (feed / "in-the-way").rmdir()
    feed.rmdir()
    keys.run("login", "andes")
    assert keys.tunnel()["state"] == "up"


def test_a_tunnel_that_gave_up_on_gearsd_is_found_again(user: HubUser) -> None:
    """Who says hello to it is its leader now, until the one before says so again."""
    user.login()
    tunnels = user.tunnel_processes()
    link = user.olcf.gears.home / "run/hub1.ccs/link/t-andes.sck"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
        other.connect(str(link))
        other.sendall(frame("HELLO", 1, {}))
        other.settimeout(20)
        while other.recv(65536):
            pass
    assert user.tunnel()["state"] == "up" and user.tunnel_processes() == tunnels
    assert user.run("start", "lab@andes").returncode == 0
    assert user.olcf.passcodes_asked() == 1
    # One that is dead is not looked for, as the home may hang that holds its socket.
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
        beside = link.with_name("beside")
        other.bind(str(beside))
        other.listen()
        beside.rename(link)
        for pid in tunnels:
            user.kill(pid, signal.SIGKILL)
        user.await_tunnel("auth-needed")
        other.settimeout(0)
        with pytest.raises(BlockingIOError):
            other.accept()
    link.unlink()
