"""The system's ssh behind a jump host, which it reaches by an ssh of its own."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from openssh_tunnel import SystemSsh, answer, cancel, down, end, processes, tcp_sockets
from processes import alive, wait_until
from sshd import Sshd, needs_sshd, new_key
from tunnel_link import hop_record

pytestmark = needs_sshd


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[Sshd, Sshd, SystemSsh]]:
    """A jump host and a server behind it, both ask PASSCODEs."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with Sshd(tmp_path / "a") as jump, Sshd(tmp_path / "b") as server:
        lines = ["Host andes", "ProxyJump jump", "Host jump", f"HostName {jump.address}"]
        lines += [f"Port {jump.port}", "User root"]
        with SystemSsh(server, lines) as ssh:
            ssh.hop = hop_record(server, ssh.folder, proxied=1)
            with ssh.known_hosts.open("a") as file:
                file.write(jump.known_hosts())
            yield jump, server, ssh


def test_through_a_jump_host(hosts: tuple[Sshd, Sshd, SystemSsh]) -> None:
    jump, server, ssh = hosts
    tunnel = ssh.start()
    answer(tunnel, jump.fresh_code())
    answer(tunnel, server.fresh_code())
    assert tunnel.wait_state("UP")["HUMAN"] == 1
    wait_until(lambda: tunnel.now().get("RTT_US"), "a round trip")
    assert (jump.connections(), server.connections()) == (1, 1)
    patience = []
    for pid in processes(tunnel):
        for end_of in tcp_sockets(pid):
            with end_of:
                patience.append(end_of.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
    assert patience == [600000 + 3 * 30000 + 60000], "the kernel waits as long as we do"
    end(tunnel)


def test_a_human_takes_longer_than_a_step(hosts: tuple[Sshd, Sshd, SystemSsh]) -> None:
    """The ssh for the server waits for its jump host meanwhile."""
    jump, server, ssh = hosts
    tunnel = ssh.start(STEP_MS=1000)
    prompt = tunnel.wait_told("TUNNEL_PROMPT")
    time.sleep(3)
    tunnel.order("TUNNEL_ANSWER", PROMPT_ID=prompt["PROMPT_ID"], ANSWER=jump.fresh_code())
    answer(tunnel, server.fresh_code())
    tunnel.wait_state("UP")
    end(tunnel)


@pytest.mark.long
def test_each_server_has_its_own_time(tmp_path: Path) -> None:
    """Both are slow, though neither too slow: together they need more than one may."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with (
        Sshd(tmp_path / "a", "publickey") as jump,
        Sshd(tmp_path / "b", "publickey") as server,
        SystemSsh(server) as ssh,
    ):
        public = new_key(ssh.folder / "key")
        ssh.more = ["Host andes", "ProxyJump jump", "Host jump", f"HostName {jump.address}"]
        ssh.more += [f"Port {jump.port}", "User root", f"IdentityFile {ssh.folder}/key"]
        ssh.hop = hop_record(server, ssh.folder, proxied=1)
        ssh.known_hosts.write_text(server.known_hosts() + jump.known_hosts())
        for host in (jump, server):
            host.authorize(public)
            host.freeze(listener=True)
        tunnel = ssh.start(STEP_MS=5000, UNATTENDED=1)
        time.sleep(7)
        jump.thaw()
        time.sleep(7)
        server.thaw()
        assert tunnel.wait_state("UP")["HUMAN"] == 0
        end(tunnel)


@pytest.mark.parametrize("how", ["cancelled", "killed", "unattended"])
def test_given_up_at_the_jump_host(hosts: tuple[Sshd, Sshd, SystemSsh], how: str) -> None:
    """ssh's own ssh for it ends too, and answers nothing."""
    jump, server, ssh = hosts
    tunnel = ssh.start(UNATTENDED=int(how == "unattended"))
    pids = []
    if how == "unattended":
        assert down(tunnel)["CAUSE"] == "AUTH_NEEDED"
    else:
        tunnel.wait_told("TUNNEL_PROMPT")
        pids = processes(tunnel)
        assert len(pids) == 3, "ssh, ssh for the jump host, askpass"
    if how == "cancelled":
        cancel(tunnel)
        assert down(tunnel)["CAUSE"] == "CANCELLED"
    elif how == "killed":
        os.kill(tunnel.pid, signal.SIGKILL)
    wait_until(lambda: not any(map(alive, pids or processes(tunnel))), "the end of all")
    wait_until(lambda: len(jump.processes()) == 1, "the end of the server's side")
    assert "Failed keyboard-interactive" not in jump.log
    assert server.connections() == 0


# What ssh_config says of sessions and forwards is for neither.


def test_a_users_own_settings_do_not_matter(
    hosts: tuple[Sshd, Sshd, SystemSsh], tmp_path: Path
) -> None:
    jump, server, ssh = hosts
    agent = socket.socket(socket.AF_UNIX)
    agent.bind(str(tmp_path / "agent"))
    agent.listen()
    ssh.more += [
        "Host *",
        "ControlMaster auto",
        f"ControlPath {tmp_path}/theirs",
        "ControlPersist yes",
        "ForwardAgent yes",
        "PermitLocalCommand yes",
        f"LocalCommand touch {tmp_path}/ran",
        "RemoteCommand cat",
        "RequestTTY force",
        f"LocalForward {tmp_path}/forward /nowhere",
        "ServerAliveInterval 1",
        "BatchMode yes",
        "LogLevel QUIET",
        "StreamLocalBindMask 0000",
        "AddKeysToAgent yes",
    ]
    ssh.environment = {"SSH_AUTH_SOCK": str(tmp_path / "agent")}
    assert down(ssh.start(UNATTENDED=1))["CAUSE"] == "AUTH_NEEDED"
    tunnel = ssh.start()
    answer(tunnel, jump.fresh_code())
    answer(tunnel, server.fresh_code())
    assert "ADDRESS" not in tunnel.wait_state("UP"), "that of the jump host is not its own"
    assert len(processes(tunnel)) == 2, "ssh, and its own for the jump host"
    for pid in processes(tunnel):
        assert b"SSH_AUTH_SOCK" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert tunnel.run("printf '\\n@gears-report 1 {}\\n'") == {"REPORT": "{}"}
    for name in ("theirs", "ran", "forward"):
        assert not (tmp_path / name).exists(), name
    jump.freeze()
    time.sleep(5)  # their ServerAliveInterval gives up after 4
    jump.thaw()
    assert tunnel.order("TUNNEL_PROBE")["TUNNEL_STATE"] == "UP"
    assert (jump.connections(), server.connections()) == (2, 1)
    end(tunnel)
    agent.close()
