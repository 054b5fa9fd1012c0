"""The system's ssh that does not get on: host keys, and why not, in words."""

from __future__ import annotations

from pathlib import Path

from openssh_tunnel import SystemSsh, answer, down, end
from sshd import Sshd, needs_sshd, new_key

pytestmark = needs_sshd


def test_an_unknown_host_key_is_confirmed(tmp_path: Path) -> None:
    with Sshd(tmp_path, "publickey") as server, SystemSsh(server) as ssh:
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
    with Sshd(tmp_path, "publickey") as server, SystemSsh(server) as ssh:
        server.authorize(new_key(ssh.folder / "key"))
        lines = ssh.hop.splitlines()
        lines[-1:] = [f"fingerprint={server.fingerprint()}", f"end {len(lines) - 1}"]
        ssh.hop = "\n".join(lines) + "\n"
        ssh.known_hosts.write_text("")
        tunnel = ssh.start()
        assert tunnel.wait_state("UP")["HUMAN"] == 0
        end(tunnel)


def test_a_changed_host_key_is_refused(tmp_path: Path) -> None:
    with Sshd(tmp_path, "publickey") as server, SystemSsh(server) as ssh:
        server.authorize(new_key(ssh.folder / "key"))
        server.change_keys(["ed25519"])
        server.restart()
        told = down(ssh.start())
        assert told["CAUSE"] == "HOST_KEY_CHANGED"
        assert server.fingerprint() in str(told["TEXT"])
        assert "known_hosts:1" in str(told["TEXT"])
        assert "Accepted" not in server.log


def test_why_it_cannot_connect(tmp_path: Path) -> None:
    with Sshd(tmp_path, "publickey") as server, SystemSsh(server) as ssh:
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
