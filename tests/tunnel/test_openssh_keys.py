"""Logging in with the system's ssh and a key: in a file, lent, signed; and what libssh2 lacks."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from openssh_tunnel import SystemSsh, answer, down, end
from processes import wait_until
from sshd import Sshd, needs_sshd, new_key

pytestmark = needs_sshd


def test_unattended_with_a_key(tmp_path: Path) -> None:
    with Sshd(tmp_path, "publickey") as server, SystemSsh(server) as ssh:
        server.authorize(new_key(ssh.folder / "key"))
        tunnel = ssh.start(UNATTENDED=1)
        up = tunnel.wait_state("UP")
        assert (up["HUMAN"], up["AUTH_METHOD"]) == (0, "publickey")
        end(tunnel)


def test_a_passphrase_is_asked_from_a_human(tmp_path: Path) -> None:
    with Sshd(tmp_path, "publickey") as server, SystemSsh(server) as ssh:
        server.authorize(new_key(ssh.folder / "key", passphrase="open sesame"))
        tunnel = ssh.start()
        assert "passphrase" in str(answer(tunnel, "open sesame")["PROMPT_TEXT"])
        assert tunnel.wait_state("UP")["HUMAN"] == 1
        end(tunnel)
        assert down(ssh.start(UNATTENDED=1))["CAUSE"] == "AUTH_NEEDED"


def test_an_agent_that_was_lent(tmp_path: Path) -> None:
    with Sshd(tmp_path, "publickey") as server, SystemSsh(server) as ssh:
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


def test_a_certificate(tmp_path: Path) -> None:
    authority = tmp_path / "ca"
    new_key(authority)
    trust = [f"TrustedUserCAKeys {authority}.pub"]
    with Sshd(tmp_path, "publickey", extra=trust) as server, SystemSsh(server) as ssh:
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
    with Sshd(tmp_path, "publickey", **server_words) as server, SystemSsh(server) as ssh:
        server.authorize(new_key(ssh.folder / "key"))
        tunnel = ssh.start()
        tunnel.wait_state("UP")
        end(tunnel)
