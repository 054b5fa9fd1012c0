"""Logging in by keys: files, passphrases, agents."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from login_driver import OLD, Hop, Login, run
from processes import connects, wait_until
from sshd import Sshd, needs_sshd, new_key

pytestmark = needs_sshd


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    with Sshd(tmp_path, "publickey") as sshd:
        yield sshd


def known(server: Sshd, folder: Path) -> list[str]:
    path = folder / "known"
    path.write_text(server.known_hosts())
    return [str(path)]


@contextlib.contextmanager
def agent(folder: Path, *keys: Path) -> Iterator[str]:
    path = folder / "agent.sck"
    process = subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: connects(Path(path)), "the agent's socket")
        environment = {**os.environ, "SSH_AUTH_SOCK": str(path)}
        for key in keys:
            words = ["ssh-add", "-q", str(key)]
            subprocess.run(words, env=environment, check=True)
        yield str(path)
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_a_key_file(server: Sshd, tmp_path: Path, kind: str) -> None:
    server.authorize(new_key(tmp_path / "key", kind))
    keys = [str(tmp_path / "missing"), str(tmp_path / "key")]
    hop = Hop(server, known_hosts=known(server, tmp_path), identity=keys)
    words = ("--unattended", "--run", "echo in as $USER")
    with Login(tmp_path, hop, words=words, leaks=kind == "ecdsa") as login:
        done = login.done()
        assert done["up"] and done["cause"] == "none" and not done["human"], done
        assert done["method"] == "publickey" and done["address"] == server.address
        assert login.next("ran") == "in as root\n"
    assert login.steps[0] == f"looking up {server.address}"
    assert server.connections() == 1


def test_no_key_is_accepted(server: Sshd, tmp_path: Path) -> None:
    new_key(tmp_path / "key")
    new_key(tmp_path / "rsa", "rsa")
    keys = [str(tmp_path / "key"), str(tmp_path / "rsa")]
    done = run(tmp_path, Hop(server, known_hosts=known(server, tmp_path), identity=keys))
    assert done["cause"] == "auth-failed" and "none of the keys was accepted" in done["text"]
    told = [step for step in done["steps"] if "/rsa" in step]
    assert any("rsa is passed over" in step and "RSA" in step for step in told) == OLD, told


def test_no_key_is_there(server: Sshd, tmp_path: Path) -> None:
    done = run(tmp_path, Hop(server, known_hosts=known(server, tmp_path)))
    assert done["cause"] == "auth-failed" and "no key to offer" in done["text"]


def test_a_key_that_others_may_read(server: Sshd, tmp_path: Path) -> None:
    server.authorize(new_key(tmp_path / "key"))
    (tmp_path / "key").chmod(0o644)
    hop = Hop(server, known_hosts=known(server, tmp_path), identity=[str(tmp_path / "key")])
    done = run(tmp_path, hop)
    assert not done["up"] and any("chmod 600" in step for step in done["steps"])


def encrypted(folder: Path, kind: str, pem: bool) -> str:
    line = new_key(folder / "key", kind, "open sesame")
    if pem:
        words = ["ssh-keygen", "-q", "-p", "-m", "PEM", "-P", "open sesame", "-N", "open sesame"]
        subprocess.run([*words, "-f", str(folder / "key")], check=True, capture_output=True)
        assert "ENCRYPTED" in (folder / "key").read_text()
    return line


@pytest.mark.parametrize(
    ("kind", "pem"), [("ed25519", False), ("ecdsa", False), ("ecdsa", True)], ids=str
)
def test_a_passphrase(server: Sshd, tmp_path: Path, kind: str, pem: bool) -> None:
    server.authorize(encrypted(tmp_path, kind, pem))
    key = str(tmp_path / "key")
    hop = Hop(server, known_hosts=known(server, tmp_path), identity=[key])
    with Login(tmp_path, hop, leaks=kind == "ecdsa") as login:
        prompt = login.prompt()
        assert prompt["prompts"] == [{"text": f"Passphrase for {key}: ", "echo": False}]
        login.say("wrong")
        assert login.texts() == [f"Passphrase for {key}: "]
        assert f"the passphrase does not open {key}" in login.steps
        login.say("open sesame")
        done = login.done()
        assert done["up"] and done["human"] and done["method"] == "publickey"
    assert "sesame" not in login.output and "sesame" not in server.log


def test_a_passphrase_is_not_asked_in_vain(server: Sshd, tmp_path: Path) -> None:
    encrypted(tmp_path, "ed25519", False)
    hop = Hop(server, known_hosts=known(server, tmp_path), identity=[str(tmp_path / "key")])
    done = run(tmp_path, hop)
    assert done["cause"] == "auth-failed" and "none of the keys" in done["text"]


def test_a_passphrase_unattended(server: Sshd, tmp_path: Path) -> None:
    server.authorize(encrypted(tmp_path, "ed25519", False))
    hop = Hop(server, known_hosts=known(server, tmp_path), identity=[str(tmp_path / "key")])
    done = run(tmp_path, hop, words=("--unattended",))
    assert done["cause"] == "auth-needed"
    assert "passphrase" in done["text"] and "gearsctl login andes" in done["text"]


def test_an_agent(server: Sshd, tmp_path: Path) -> None:
    new_key(tmp_path / "other")
    server.authorize(new_key(tmp_path / "key"))
    with agent(tmp_path, tmp_path / "other", tmp_path / "key") as path:
        (tmp_path / "key").unlink()
        (tmp_path / "other").unlink()
        hop = Hop(server, known_hosts=known(server, tmp_path), agent=path)
        done = run(tmp_path, hop, words=("--unattended",))
        assert done["up"] and not done["human"], done
        assert "offering the agent's key key to andes" in done["steps"]
        # Of the agent's keys only those named: the public half says which.
        hop = Hop(server, **only(hop, [str(tmp_path / "other")]))
        done = run(tmp_path, hop, words=("--unattended",))
        assert not done["up"] and "offering the agent's key key to andes" not in done["steps"]
        hop = Hop(server, **only(hop, [str(tmp_path / "key.pub")]))
        done = run(tmp_path, hop, words=("--unattended",))
        assert done["up"] and "offering the agent's key other to andes" not in done["steps"]


def only(hop: Hop, keys: list[str]) -> dict[str, object]:
    return {**hop.fields, "identities_only": 1, "identity": keys}


@pytest.mark.skipif(OLD, reason="this libssh2 knows RSA only with SHA-1")
@pytest.mark.parametrize("by_agent", [True, False])
def test_an_rsa_key(server: Sshd, tmp_path: Path, by_agent: bool) -> None:
    server.authorize(new_key(tmp_path / "key", "rsa"))
    fields = {"known_hosts": known(server, tmp_path)}
    if not by_agent:
        assert run(tmp_path, Hop(server, identity=[str(tmp_path / "key")], **fields))["up"]
        return
    with agent(tmp_path, tmp_path / "key") as path:
        done = run(tmp_path, Hop(server, agent=path, **fields))
        assert done["up"], done


def test_an_agent_that_is_gone_or_stuck(server: Sshd, tmp_path: Path) -> None:
    server.authorize(new_key(tmp_path / "key"))
    fields = {"known_hosts": known(server, tmp_path), "identity": [str(tmp_path / "key")]}
    done = run(tmp_path, Hop(server, agent=str(tmp_path / "none.sck"), **fields))
    assert done["up"] and any("none.sck does not answer" in step for step in done["steps"])
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.bind(str(tmp_path / "stuck.sck"))
        stuck.listen()
        hop = Hop(server, agent=str(tmp_path / "stuck.sck"), **fields)
        done = run(tmp_path, hop, words=("--step", "5000"))
        assert any("stuck.sck does not answer" in step for step in done["steps"]), done
        assert done["up"]
        with Login(tmp_path, hop) as login:
            login.step("publickey")
            login.cancel()
            assert login.done()["cause"] == "cancelled"


def test_too_many_keys(tmp_path: Path) -> None:
    keys = [tmp_path / f"key{n}" for n in range(4)]
    for key in keys:
        new_key(key)
    with Sshd(tmp_path, "publickey", extra=["MaxAuthTries 3"]) as server:
        hop = Hop(server, known_hosts=known(server, tmp_path), identity=[str(k) for k in keys])
        done = run(tmp_path, hop)
    assert done["cause"] == "auth-failed" and "Too many authentication failures" in done["text"]
    assert "IdentitiesOnly" in done["text"]
