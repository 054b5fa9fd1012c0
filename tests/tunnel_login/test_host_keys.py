"""Who the server is: known, unknown, changed, revoked, published."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from login_driver import OLD, Hop, Login, run
from sshd import Sshd, needs_sshd, new_key

pytestmark = needs_sshd

ALL = ("ed25519", "ecdsa", "rsa")
QUESTION = {"text": "Is this the server's key? (yes/no) ", "echo": True}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    with Sshd(tmp_path, "publickey", host_keys=ALL) as sshd:
        sshd.authorize(new_key(tmp_path / "key"))
        yield sshd


def hop(server: Sshd, folder: Path, known: str | None, **fields: object) -> Hop:
    path = folder / "ssh/known_hosts"
    if known is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(known)
    key = {"identity": [str(folder / "key")]}
    return Hop(server, **{"known_hosts": [str(path)], **key, **fields})


def lines(server: Sshd, kind: str, *names: str) -> str:
    """What is known of its key of this type."""
    word = {"ed25519": "ssh-ed25519", "ecdsa": "ecdsa-", "rsa": "ssh-rsa"}[kind]
    known = server.known_hosts(*names).splitlines()
    return "".join(f"{line}\n" for line in known if line.split()[1].startswith(word))


def test_unknown_and_confirmed(server: Sshd, tmp_path: Path) -> None:
    with Login(tmp_path, hop(server, tmp_path, None)) as login:
        prompt = login.prompt()
        assert prompt["name"] == "host key" and prompt["prompts"] == [QUESTION]
        place = f"[{server.address}]:{server.port}"
        for words in (place, "Ed25519", server.fingerprint()):
            assert words in prompt["instruction"]
        login.say("yes")
        done = login.done()
        assert done["up"] and not done["human"], "a host key alone is no login by a human"
    path = tmp_path / "ssh/known_hosts"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    # OpenSSH reads what was recorded, and the next login does not ask.
    words = ["ssh-keygen", "-F", place, "-f", str(path)]
    assert subprocess.run(words, capture_output=True, check=False).returncode == 0
    assert run(tmp_path, hop(server, tmp_path, None), words=("--unattended",))["up"]


@pytest.mark.parametrize("answer", ["no", "y", "", "Yes"])
def test_unknown_and_not_confirmed(server: Sshd, tmp_path: Path, answer: str) -> None:
    with Login(tmp_path, hop(server, tmp_path, None)) as login:
        login.prompt()
        login.say(answer)
        done = login.done()
        assert done["cause"] == "host-key-unknown" and "not confirmed" in done["text"]
    assert not (tmp_path / "ssh").exists() and "Accepted" not in server.log


def test_unknown_and_unattended(server: Sshd, tmp_path: Path) -> None:
    done = run(tmp_path, hop(server, tmp_path, "# nothing\n"), words=("--unattended",))
    assert done["cause"] == "host-key-unknown" and server.fingerprint() in done["text"]
    assert "gearsctl login andes" in done["text"]


def test_cancel_and_close_while_asked(server: Sshd, tmp_path: Path) -> None:
    with Login(tmp_path, hop(server, tmp_path, None)) as login:
        login.prompt()
        login.cancel()
        assert login.done()["cause"] == "cancelled"
    with Login(tmp_path, hop(server, tmp_path, None)) as login:
        login.prompt()
        server.disconnect()
        done = login.done()
        assert not done["up"] and "closed the connection" in done["text"]


def test_a_torn_last_line(server: Sshd, tmp_path: Path) -> None:
    with Login(tmp_path, hop(server, tmp_path, "other ssh-ed25519 AAAA")) as login:
        login.prompt()
        login.say("yes")
        assert login.done()["up"]
    text = (tmp_path / "ssh/known_hosts").read_text()
    assert text.startswith("other ssh-ed25519 AAAA\n[127") and text.endswith("\n")


def test_a_file_that_cannot_be_written(server: Sshd, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    fields = {"known_hosts": [str(tmp_path / "plain/known_hosts")]}
    with Login(tmp_path, hop(server, tmp_path, None, **fields)) as login:
        login.prompt()
        login.say("yes")
        assert login.done()["up"]
        assert any("could not be recorded" in step for step in login.steps)


def test_published(server: Sshd, tmp_path: Path) -> None:
    fields = {"fingerprint": ["SHA256:other", server.fingerprint()]}
    done = run(tmp_path, hop(server, tmp_path, None, **fields), words=("--unattended",))
    assert done["up"] and any("the site publishes" in step for step in done["steps"])
    assert run(tmp_path, hop(server, tmp_path, None), words=("--unattended",))["up"]
    (tmp_path / "ssh/known_hosts").unlink()
    with Login(tmp_path, hop(server, tmp_path, None, fingerprint=["SHA256:other"])) as login:
        assert "none of those that the site publishes" in login.prompt()["instruction"]
        login.say("no")
        assert not login.done()["up"]


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])
def test_the_known_type_is_asked_for(server: Sshd, tmp_path: Path, kind: str) -> None:
    known = lines(server, kind)
    assert run(tmp_path, hop(server, tmp_path, known), words=("--unattended",))["up"]


def test_hashed(server: Sshd, tmp_path: Path) -> None:
    hashed = hop(server, tmp_path, server.known_hosts())
    path = tmp_path / "ssh/known_hosts"
    subprocess.run(["ssh-keygen", "-H", "-f", str(path)], check=True, capture_output=True)
    assert server.address not in path.read_text() and "|1|" in path.read_text()
    path.write_text("garbage\n|1|x|y ssh-rsa z\n" + path.read_text())
    assert run(tmp_path, hashed, words=("--unattended",))["up"]


def test_an_alias_and_patterns(server: Sshd, tmp_path: Path) -> None:
    fields = {"alias": "andes.olcf.ornl.gov"}
    known = lines(server, "ed25519", "andes*.olcf.ornl.gov,!andes-old.olcf.ornl.gov")
    aliased = hop(server, tmp_path, known, **fields)
    assert run(tmp_path, aliased, words=("--unattended",))["up"]
    other = hop(server, tmp_path, known, alias="andes-old.olcf.ornl.gov")
    assert run(tmp_path, other, words=("--unattended",))["cause"] == "host-key-unknown"


def test_changed(server: Sshd, tmp_path: Path) -> None:
    known = "# first\n" + server.known_hosts()
    before = server.fingerprint()
    server.stop()
    server.change_keys(ALL)
    server.start()
    for words in ((), ("--unattended",)):
        done = run(tmp_path, hop(server, tmp_path, known), words=words)
        assert done["cause"] == "host-key-changed" and "nothing was sent" in done["text"]
        assert before in done["text"] and server.fingerprint() in done["text"]
        number = known.splitlines().index(lines_with(known, "ssh-ed25519")) + 1
        assert f"ssh/known_hosts:{number} knows" in done["text"]
    assert "publickey" not in server.log.split("Server listening")[-1]


def lines_with(text: str, word: str) -> str:
    return next(line for line in text.splitlines() if word in line)


@pytest.mark.skipif(not OLD, reason="this libssh2 can use RSA keys")
def test_known_by_another_type_only(server: Sshd, tmp_path: Path) -> None:
    done = run(tmp_path, hop(server, tmp_path, lines(server, "rsa")))
    assert done["cause"] == "host-key-changed" and "transport = openssh" in done["text"]
    assert "knows RSA" in done["text"] and "shows Ed25519" in done["text"]


def test_revoked(server: Sshd, tmp_path: Path) -> None:
    known = server.known_hosts() + "@revoked " + lines(server, "ed25519", "*")
    done = run(tmp_path, hop(server, tmp_path, known))
    assert done["cause"] == "host-key-changed" and "revoked" in done["text"]


def test_an_authority(server: Sshd, tmp_path: Path) -> None:
    known = "@cert-authority " + lines(server, "ecdsa", "*")
    done = run(tmp_path, hop(server, tmp_path, known))
    assert done["cause"] == "host-key-unknown"
    assert "authority" in done["text"] and "transport = openssh in [cluster:andes]" in done["text"]


def test_many_record_at_once(tmp_path: Path) -> None:
    """Lines of several writers stay whole."""
    with Sshd(tmp_path, "publickey") as first, Sshd(tmp_path, "publickey") as second:
        servers = [first, second] * 4
        logins = [Login(tmp_path, hop(server, tmp_path, None)) for server in servers]
        for login in logins:
            login.prompt()
        for login in logins:
            login.say("yes")
        for login in logins:
            with login:
                login.done()
        written = (tmp_path / "ssh/known_hosts").read_text().splitlines()
        valid = {*first.known_hosts().splitlines(), *second.known_hosts().splitlines()}
        assert len(written) == 8 and set(written) == valid
    assert os.path.getsize(tmp_path / "ssh/known_hosts")
