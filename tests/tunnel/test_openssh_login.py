"""Logging in with the system's ssh: its questions, its host keys, its ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from link_frames import NUMBERS
from openssh_tunnel import SystemSsh, answer, down, master, processes, tcp_sockets
from processes import alive, tell, wait_until
from sshd import Sshd, needs_sshd, new_key
from tunnel_link import Tunnel

pytestmark = needs_sshd


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    """Asks PASSCODEs."""
    with Sshd(tmp_path) as server:
        yield server


@pytest.fixture
def ssh(sshd: Sshd) -> Iterator[SystemSsh]:
    with SystemSsh(sshd) as made:
        yield made


def words(pid: int) -> bytes:
    """What everybody of this uid can see of a process."""
    folder = Path(f"/proc/{pid}")
    return (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()


def end(tunnel: Tunnel) -> None:
    pids = processes(tunnel)
    tunnel.finish()
    # It waits for its own ssh; that of a jump host is only told to end.
    wait_until(lambda: not any(map(alive, pids)), "the end of ssh")


def cancel(tunnel: Tunnel) -> None:
    tunnel.order("TUNNEL_CLOSE", CAUSE=NUMBERS["CAUSE_CANCELLED"], TEXT="^C")


def test_a_code_and_the_next_tokencode(ssh: SystemSsh, sshd: Sshd) -> None:
    code, token = sshd.passcodes.fresh_with_next()
    tunnel = ssh.start()
    first = tunnel.wait_told("TUNNEL_PROMPT")
    assert first["PROMPT_TEXT"][0].endswith("Enter PASSCODE: ")
    assert first["PROMPT_ECHO"] == [0]
    tunnel.order("TUNNEL_ANSWER", PROMPT_ID=first["PROMPT_ID"], ANSWER=code)
    second = tunnel.wait_told("TUNNEL_PROMPT")
    assert "\nthen enter the new tokencode: " in second["PROMPT_TEXT"][0]
    for pid in [tunnel.pid, *processes(tunnel)]:
        assert code.encode() not in words(pid)
    while (told := tunnel.wait_told("TUNNEL_STATE"))["TEXT"] != "answered, logging in":
        assert told["HUMAN"] == 0
    assert told["HUMAN"] == 1, "from the answer on, whatever comes of it"
    tunnel.order("TUNNEL_ANSWER", PROMPT_ID=second["PROMPT_ID"], ANSWER=token)
    up = tunnel.wait_state("UP")
    assert up["HUMAN"] == 1
    assert up["AUTH_METHOD"] == "keyboard-interactive"
    assert up["ADDRESS"] == "127.0.0.1"
    assert (sshd.connections(), sshd.passcodes_asked()) == (1, 1)
    assert tunnel.run("printf '\\n@gears-report 1 {}\\n'") == {"REPORT": "{}"}
    assert code not in sshd.log
    end(tunnel)
    assert (sshd.connections(), sshd.passcodes.left()) == (1, 0)


def test_a_wrong_code_is_asked_again(ssh: SystemSsh, sshd: Sshd) -> None:
    """In the same connection, until the server has enough."""
    tunnel = ssh.start()
    for wrong in ("1111", "2222"):
        answer(tunnel, wrong)
    answer(tunnel, sshd.fresh_code())
    assert tunnel.wait_state("UP")["HUMAN"] == 1
    assert (sshd.connections(), sshd.passcodes_asked()) == (1, 3)
    end(tunnel)


def test_wrong_codes_only(ssh: SystemSsh, sshd: Sshd) -> None:
    sshd.extra = ["MaxAuthTries 2"]
    sshd.restart()
    tunnel = ssh.start()
    for wrong in ("1111", "2222"):
        answer(tunnel, wrong)
    told = down(tunnel)
    assert told["CAUSE"] == "AUTH_FAILED"
    assert "Too many authentication failures" in str(told["TEXT"])
    assert told["HUMAN"] == 1
    assert sshd.connections() == 1
    assert tunnel.exit_record()["cause"] == str(NUMBERS["CAUSE_AUTH_FAILED"])


def test_several_rounds(ssh: SystemSsh, sshd: Sshd) -> None:
    tunnel = ssh.start()
    for text in (sshd.passcodes.fresh_first_login(), "1234", "1234", "y"):
        answer(tunnel, text)
    tunnel.wait_state("UP")
    assert sshd.passcodes.count("asked confirm") == 1
    end(tunnel)


def test_what_the_server_says_before_is_shown_once(tmp_path: Path) -> None:
    with (
        Sshd(tmp_path, banner="\x1b[31mWelcome\x07\nto Andes") as server,
        SystemSsh(server) as ssh,
    ):
        tunnel = ssh.start()
        first = answer(tunnel, "1111")
        said = str(first["INSTRUCTION"]) + str(first["PROMPT_TEXT"])
        assert "Welcome" in said and "to Andes" in said
        assert "\x1b" not in said and "\x07" not in said
        answer(tunnel, server.fresh_code())
        tunnel.wait_state("UP")
        end(tunnel)


def test_an_answer_to_nothing(ssh: SystemSsh, sshd: Sshd) -> None:
    tunnel = ssh.start()
    prompt = tunnel.wait_told("TUNNEL_PROMPT")
    ident = prompt["PROMPT_ID"]
    for fields in (
        {"PROMPT_ID": "0" * 32, "ANSWER": "1"},
        {"PROMPT_ID": ident, "ANSWER": ["1", "2"]},
        {"PROMPT_ID": ident},
    ):
        kind, _ = tunnel.answer_to(tunnel.send("TUNNEL_ANSWER", **fields))
        assert kind == "ERROR"
    tunnel.order("TUNNEL_ANSWER", PROMPT_ID=ident, ANSWER=sshd.fresh_code())
    tunnel.wait_state("UP")
    end(tunnel)


def test_a_later_gearsd_is_told_the_question(ssh: SystemSsh, sshd: Sshd) -> None:
    tunnel = ssh.start()
    prompt = tunnel.wait_told("TUNNEL_PROMPT")
    tunnel.take_over()
    assert answer(tunnel, sshd.fresh_code())["PROMPT_ID"] == prompt["PROMPT_ID"]
    tunnel.wait_state("UP")
    end(tunnel)


# Giving up: no empty answer is sent, which would count as a try.


def test_cancelled_at_the_prompt(ssh: SystemSsh, sshd: Sshd) -> None:
    tunnel = ssh.start()
    tunnel.wait_told("TUNNEL_PROMPT")
    pids = processes(tunnel)
    assert len(pids) == 2, "ssh and askpass"
    cancel(tunnel)
    assert down(tunnel)["CAUSE"] == "CANCELLED"
    wait_until(lambda: not any(map(alive, pids)), "the end of ssh and askpass")
    wait_until(lambda: len(sshd.processes()) == 1, "the end of the server's side")
    assert "Failed keyboard-interactive" not in sshd.log
    assert not ssh.folders()


def test_cancelled_while_it_connects(ssh: SystemSsh, sshd: Sshd) -> None:
    sshd.freeze(listener=True)
    tunnel = ssh.start()
    pids = wait_until(lambda: processes(tunnel), "ssh")
    cancel(tunnel)
    assert down(tunnel)["CAUSE"] == "CANCELLED"
    wait_until(lambda: not any(map(alive, pids)), "the end of ssh")
    sshd.thaw()


def test_a_tunnel_killed_at_the_prompt(ssh: SystemSsh, sshd: Sshd) -> None:
    tunnel = ssh.start()
    tunnel.wait_told("TUNNEL_PROMPT")
    pids = processes(tunnel)
    os.kill(tunnel.pid, signal.SIGKILL)
    tunnel.wait_end()
    wait_until(lambda: not any(map(alive, pids)), "the end of ssh and askpass")
    wait_until(lambda: len(sshd.processes()) == 1, "the end of the server's side")
    assert "Failed keyboard-interactive" not in sshd.log
    again = ssh.start(NONCE="f" * 32)
    answer(again, sshd.fresh_code())
    again.wait_state("UP")
    assert [path.name for path in ssh.folders()] == ["x-andes.ffffff"]
    end(again)


def test_what_sees_answers_cannot_be_dumped(ssh: SystemSsh, sshd: Sshd) -> None:
    tunnel = ssh.start()
    tunnel.wait_told("TUNNEL_PROMPT")
    for pid in processes(tunnel):
        limits = Path(f"/proc/{pid}/limits").read_text()
        line = next(line for line in limits.splitlines() if line.startswith("Max core file"))
        assert line.split()[4:6] == ["0", "0"]
    cancel(tunnel)
    tunnel.wait_end()


def test_a_verdict_may_take_its_time(ssh: SystemSsh, sshd: Sshd) -> None:
    """Somebody confirms on another device: longer than all steps."""
    tunnel = ssh.start(STEP_MS=2000)
    prompt = tunnel.wait_told("TUNNEL_PROMPT")
    os.kill(master(tunnel), signal.SIGSTOP)  # sshd ends a login whose helper stops
    tunnel.order("TUNNEL_ANSWER", PROMPT_ID=prompt["PROMPT_ID"], ANSWER=sshd.fresh_code())
    time.sleep(7)
    os.kill(master(tunnel), signal.SIGCONT)
    tunnel.wait_state("UP")
    end(tunnel)


def test_closed_after_an_answer(ssh: SystemSsh, sshd: Sshd) -> None:
    """What a human did for it is told."""
    tunnel = ssh.start()
    answer(tunnel, "1111")
    tunnel.wait_told("TUNNEL_PROMPT")
    cancel(tunnel)
    assert down(tunnel)["HUMAN"] == 1
    assert tunnel.exit_record()["human"] == "1"


# Nobody is there.


def test_unattended_where_codes_are_asked(ssh: SystemSsh, sshd: Sshd) -> None:
    tunnel = ssh.start(UNATTENDED=1)
    told = down(tunnel)
    assert told["CAUSE"] == "AUTH_NEEDED"
    assert "gearsctl login andes" in str(told["TEXT"])
    assert sshd.passcodes_asked() == 0


def key_login(tmp_path: Path, **more: Any) -> Sshd:
    return Sshd(tmp_path, "publickey", **more)


def test_unattended_with_a_key(tmp_path: Path) -> None:
    with key_login(tmp_path) as server, SystemSsh(server) as ssh:
        server.authorize(new_key(ssh.folder / "key"))
        tunnel = ssh.start(UNATTENDED=1)
        up = tunnel.wait_state("UP")
        assert (up["HUMAN"], up["AUTH_METHOD"]) == (0, "publickey")
        end(tunnel)


def test_a_passphrase_is_asked_from_a_human(tmp_path: Path) -> None:
    with key_login(tmp_path) as server, SystemSsh(server) as ssh:
        server.authorize(new_key(ssh.folder / "key", passphrase="open sesame"))
        tunnel = ssh.start()
        assert "passphrase" in str(answer(tunnel, "open sesame")["PROMPT_TEXT"])
        assert tunnel.wait_state("UP")["HUMAN"] == 1
        end(tunnel)
        assert down(ssh.start(UNATTENDED=1))["CAUSE"] == "AUTH_NEEDED"


# What libssh2 lacks.


def test_a_certificate(tmp_path: Path) -> None:
    authority = tmp_path / "ca"
    new_key(authority)
    trust = [f"TrustedUserCAKeys {authority}.pub"]
    with key_login(tmp_path, extra=trust) as server, SystemSsh(server) as ssh:
        new_key(ssh.folder / "key")
        sign = ["ssh-keygen", "-q", "-s", str(authority), "-I", "me", "-n", "root"]
        subprocess.run([*sign, str(ssh.folder / "key.pub")], check=True)
        tunnel = ssh.start()
        assert tunnel.wait_state("UP")["AUTH_METHOD"] == "publickey"
        wait_until(lambda: "Accepted publickey for root" in server.log, "sshd's line")
        assert "ED25519-CERT" in server.log
        end(tunnel)


@pytest.mark.parametrize(
    "server_words",
    [
        {"host_keys": ("rsa",)},
        {"extra": ["Ciphers aes256-gcm@openssh.com,chacha20-poly1305@openssh.com"]},
        {"extra": ["MACs hmac-sha2-256-etm@openssh.com", "Ciphers aes256-ctr"]},
    ],
    ids=["rsa", "aead", "etm"],
)
def test_servers_beyond_libssh2(tmp_path: Path, server_words: dict[str, Any]) -> None:
    with key_login(tmp_path, **server_words) as server, SystemSsh(server) as ssh:
        server.authorize(new_key(ssh.folder / "key"))
        tunnel = ssh.start()
        tunnel.wait_state("UP")
        end(tunnel)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[Sshd, Sshd, SystemSsh]]:
    """A jump host and a server behind it, both ask PASSCODEs."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with Sshd(tmp_path / "a") as jump, Sshd(tmp_path / "b") as server:
        lines = ["Host andes", "ProxyJump jump", "Host jump", f"HostName {jump.address}"]
        lines += [f"Port {jump.port}", "User root"]
        with SystemSsh(server, lines) as ssh:
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


# Host keys.


def test_an_unknown_host_key_is_confirmed(tmp_path: Path) -> None:
    with key_login(tmp_path) as server, SystemSsh(server) as ssh:
        server.authorize(new_key(ssh.folder / "key"))
        ssh.known_hosts.write_text("")
        assert down(ssh.start(UNATTENDED=1))["CAUSE"] == "HOST_KEY_UNKNOWN"
        refusing = ssh.start()
        prompt = answer(refusing, "no")
        assert server.fingerprint() in str(prompt["INSTRUCTION"])
        assert prompt["PROMPT_ECHO"] == [1]
        assert str(prompt["PROMPT_TEXT"]).count("continue connecting") == 1
        assert down(refusing)["CAUSE"] == "HOST_KEY_UNKNOWN"
        tunnel = ssh.start()
        answer(tunnel, "yes")
        assert tunnel.wait_state("UP")["HUMAN"] == 0
        end(tunnel)
        again = ssh.start()
        again.wait_state("UP")
        end(again)


def test_a_published_fingerprint_is_enough(tmp_path: Path) -> None:
    with key_login(tmp_path) as server, SystemSsh(server) as ssh:
        server.authorize(new_key(ssh.folder / "key"))
        lines = ssh.hop.splitlines()
        lines[-1:] = [f"fingerprint={server.fingerprint()}", f"end {len(lines) - 1}"]
        ssh.hop = "\n".join(lines) + "\n"
        ssh.known_hosts.write_text("")
        tunnel = ssh.start()
        assert tunnel.wait_state("UP")["HUMAN"] == 0
        end(tunnel)


def test_a_changed_host_key_is_refused(tmp_path: Path) -> None:
    with key_login(tmp_path) as server, SystemSsh(server) as ssh:
        server.authorize(new_key(ssh.folder / "key"))
        server.change_keys(["ed25519"])
        server.restart()
        told = down(ssh.start())
        assert told["CAUSE"] == "HOST_KEY_CHANGED"
        assert server.fingerprint() in str(told["TEXT"])
        assert "known_hosts:1" in str(told["TEXT"])
        assert "Accepted" not in server.log


# Why not, in words.


def test_why_it_cannot_connect(tmp_path: Path) -> None:
    with key_login(tmp_path) as server, SystemSsh(server) as ssh:
        server.authorize(new_key(ssh.folder / "key"))
        ssh.more = ["Host andes", "Ciphers aes256-ctr"]
        server.extra = ["Ciphers aes128-ctr"]
        server.restart()
        told = down(ssh.start())
        assert told["CAUSE"] == "NO_COMMON_ALGORITHM"
        assert "aes128-ctr" in str(told["TEXT"])
        ssh.more = []
        server.authorized.write_text("")
        told = down(ssh.start())
        assert told["CAUSE"] == "AUTH_FAILED"
        assert "Permission denied (publickey)" in str(told["TEXT"])
        server.stop()
        told = down(ssh.start())
        assert told["CAUSE"] == "REFUSED" and "Connection refused" in str(told["TEXT"])
        ssh.hop = ssh.hop.replace(f"host={server.address}", "host=nowhere.invalid")
        told = down(ssh.start())
        assert told["CAUSE"] == "NETWORK_DOWN" and "nowhere.invalid" in str(told["TEXT"])


def test_a_server_that_says_nothing(ssh: SystemSsh, sshd: Sshd) -> None:
    sshd.freeze(listener=True)
    told = down(ssh.start(STEP_MS=1000))
    assert told["CAUSE"] == "NETWORK_DOWN"
    assert "timed out" in str(told["TEXT"])
    sshd.thaw()


def test_without_any_ssh(ssh: SystemSsh) -> None:
    ssh.environment = {"PATH": str(ssh.folder)}
    told = down(ssh.start())
    assert told["CAUSE"] == "FAILED"
    assert "cannot run ssh" in str(told["TEXT"])


# Other ssh: a script in its place changes something and becomes it.


@pytest.fixture
def in_its_place(ssh: SystemSsh) -> Callable[[str], None]:
    """Runs these words of sh first."""

    def put(script: str) -> None:
        program = ssh.folder / "bin/ssh"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nPATH={os.environ["PATH"]}\n{script}\nexec ssh "$@"\n')
        program.chmod(0o700)
        ssh.environment = {"PATH": f"{program.parent}:{os.environ['PATH']}"}

    return put


def test_an_ssh_that_knows_no_require(
    ssh: SystemSsh, sshd: Sshd, in_its_place: Callable[[str], None]
) -> None:
    """Before 8.4 it asks askpass where there is a display and no terminal."""
    in_its_place("unset SSH_ASKPASS_REQUIRE")
    tunnel = ssh.start()
    answer(tunnel, sshd.fresh_code())
    tunnel.wait_state("UP")
    end(tunnel)


TWO = """
"$SSH_ASKPASS" "one: " >{folder}/one &
"$SSH_ASKPASS" "two: " >{folder}/two &
wait
"""


def test_two_questions_at_once(ssh: SystemSsh, in_its_place: Callable[[str], None]) -> None:
    """Each is told when the one before is answered."""
    in_its_place(TWO.format(folder=ssh.folder))
    tunnel = ssh.start()
    asked = [str(answer(tunnel, f"to {i}")["PROMPT_TEXT"]) for i in range(2)]
    assert sorted(asked) == ["['one: ']", "['two: ']"]
    tunnel.wait_told("TUNNEL_PROMPT")
    said = [(ssh.folder / name).read_text() for name in ("one", "two")]
    assert sorted(said) == ["to 0\n", "to 1\n"]
    cancel(tunnel)
    tunnel.wait_end()


TOUCH = """
SSH_ASKPASS_PROMPT=none "$SSH_ASKPASS" "Confirm user presence for key ED25519-SK SHA256:x" &
read -r touched <{folder}/touch
kill $!
wait
"""
OLD_TOUCH = """
echo "Confirm user presence for key ECDSA-SK SHA256:x" >&2
read -r touched <{folder}/touch
"""


@pytest.mark.parametrize("script", [TOUCH, OLD_TOUCH], ids=["8.4", "8.2"])
def test_a_key_that_wants_to_be_touched(
    ssh: SystemSsh, in_its_place: Callable[[str], None], script: str
) -> None:
    os.mkfifo(ssh.folder / "touch")
    in_its_place(script.format(folder=ssh.folder))
    ssh.server.auth = "publickey"
    ssh.server.restart()
    ssh.server.authorize(new_key(ssh.folder / "key"))
    tunnel = ssh.start()
    while "user presence" not in tunnel.wait_told("TUNNEL_STATE")["TEXT"]:
        pass
    tell(ssh.folder / "touch", "now\n")
    assert tunnel.wait_state("UP")["HUMAN"] == 1
    end(tunnel)
    told = down(ssh.start(UNATTENDED=1))
    assert told["CAUSE"] == "AUTH_NEEDED" and "user presence" in str(told["TEXT"])


# What ssh_config says of sessions and forwards is not for this ssh, nor for that of a jump host.


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


def test_an_agent_that_was_lent(tmp_path: Path) -> None:
    with key_login(tmp_path) as server, SystemSsh(server) as ssh:
        key = tmp_path / "lent"
        server.authorize(new_key(key))
        socket_path = tmp_path / "agent"
        agent = subprocess.Popen(
            ["ssh-agent", "-D", "-a", str(socket_path)], stdout=subprocess.DEVNULL
        )
        try:
            wait_until(socket_path.exists, "the agent")
            words = {**os.environ, "SSH_AUTH_SOCK": str(socket_path)}
            subprocess.run(["ssh-add", "-q", str(key)], check=True, env=words)
            ssh.more = ["Host andes", "IdentitiesOnly no"]
            assert down(ssh.start())["CAUSE"] == "AUTH_FAILED"
            lines = ssh.hop.splitlines()
            lines[-1:] = [f"agent={socket_path}", f"end {len(lines) - 1}"]
            ssh.hop = "\n".join(lines) + "\n"
            tunnel = ssh.start()
            tunnel.wait_state("UP")
            end(tunnel)
        finally:
            agent.terminate()
            agent.wait()
