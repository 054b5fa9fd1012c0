"""The servers and networks that other tests rely on, proved with OpenSSH's own client."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Gears
from processes import alive, wait_until
from ssh_user import SshUser
from sshd import Sshd, needs_sshd, new_key, server_environment

pytestmark = needs_sshd
REFUSED = 255
ONCE = ("-o", "NumberOfPasswordPrompts=1")


@pytest.fixture
def master(sshd: Sshd, ssh_user: SshUser, tmp_path: Path) -> Iterator[list[str]]:
    """A connection whose one session is taken; the words of ssh that use it, or fail."""
    control = Path("/tmp") / f"{sshd.name}.ctl"
    words = ssh_user.to(sshd, "-S", str(control), "-o", "ServerAliveInterval=1")
    words += ["-o", "ServerAliveCountMax=5"]
    process = ssh_user.start(
        "-M", *words, "echo up; exec cat", answers=(sshd.fresh_code(),), stdin=subprocess.PIPE
    )
    assert process.stdout and process.stdout.readline() == "up\n"
    try:
        yield ["-o", "ProxyCommand=false", *words]
    finally:
        process.communicate()


def test_a_code_works_once(sshd: Sshd, ssh_user: SshUser) -> None:
    code = sshd.fresh_code()
    words = ssh_user.to(sshd, *ONCE)
    first = ssh_user.run(*words, "echo in", answers=(code,))
    assert (first.returncode, first.stdout) == (0, "in\n"), first.stderr
    again = ssh_user.run(*words, "echo in", answers=(code,))
    assert (again.returncode, again.stdout) == (REFUSED, "")
    assert [event.what for event in sshd.passcodes.events(sshd.name)] == [
        "asked passcode",
        "accepted",
        "asked passcode",
        "refused",
    ]
    assert (sshd.connections(), sshd.passcodes_asked(), sshd.passcodes.left()) == (2, 2, 0)
    assert all(question.endswith("Enter PASSCODE: ") for question in ssh_user.questions())


def test_a_wrong_code_is_asked_again(sshd: Sshd, ssh_user: SshUser) -> None:
    answers = ("1111", sshd.fresh_code())
    assert ssh_user.run(*ssh_user.to(sshd), "true", answers=answers).returncode == 0
    assert (sshd.connections(), sshd.passcodes_asked()) == (1, 2)


def test_dialogues_of_several_rounds(sshd: Sshd, ssh_user: SshUser) -> None:
    words = ssh_user.to(sshd, *ONCE)
    next_token = sshd.passcodes.fresh_with_next()
    assert ssh_user.run(*words, "true", answers=next_token).returncode == 0
    assert "then enter the new tokencode: " in ssh_user.questions()[1]
    first_login = (sshd.passcodes.fresh_first_login(), "1234", "1234", "y")
    assert ssh_user.run(*words, "true", answers=first_login).returncode == 0
    another = (sshd.passcodes.fresh_first_login(), "1234", "4321", "y")
    assert ssh_user.run(*words, "true", answers=another).returncode == REFUSED
    assert sshd.passcodes.count("asked confirm") == 2
    assert sshd.passcodes_asked() == 3


def test_a_banner_comes_as_it_is(gears: Gears, ssh_user: SshUser) -> None:
    with Sshd(gears.home / "user", banner="\x1b[31mred\x07") as server:
        result = ssh_user.run(*ssh_user.to(server), "true", answers=(server.fresh_code(),))
        assert result.returncode == 0, result.stderr
    # OpenSSH makes them visible before it asks.
    assert "\\033[31mred\\007" in ssh_user.questions()[0]


@pytest.mark.parametrize(
    "auth", ["publickey", "password", "passcode+publickey", "passcode/publickey"]
)
def test_ways_to_log_in(gears: Gears, ssh_user: SshUser, tmp_path: Path, auth: str) -> None:
    key = tmp_path / "key"
    with Sshd(gears.home / "user", auth) as server:
        server.authorize(new_key(key))
        password = server.set_password("open-sesame")
        answers = {
            "publickey": [()],
            "password": [(password,), (password,)],
            "passcode+publickey": [(server.fresh_code(),)],
            "passcode/publickey": [()],
        }
        words = ssh_user.to(server, "-i", str(key), *ONCE)
        for given in answers[auth]:
            result = ssh_user.run(*words, "true", answers=given)
            assert result.returncode == 0, result.stderr
        without = ssh_user.to(server, "-o", "IdentityAgent=none", "-i", "/nonexistent", *ONCE)
        code = server.fresh_code()
        by_code = ssh_user.run(*without, "true", answers=(code,)).returncode == 0
        assert by_code == (auth in ("password", "passcode/publickey"))


def test_one_session_and_any_number_of_forwards(
    gears: Gears, sshd: Sshd, ssh_user: SshUser, master: list[str]
) -> None:
    far, near = str(gears.home / "far"), str(gears.home / "near")
    assert ssh_user.run(*master, "true").returncode == REFUSED
    assert "no more sessions" in sshd.log
    assert ssh_user.run("-O", "forward", "-L", f"{near}:{far}", *master).returncode == 0
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(far)
        listener.listen()
        for _ in range(3):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(near)
                peer = listener.accept()[0]
                client.sendall(b"through")
                assert peer.recv(7) == b"through"
                peer.close()
    assert (sshd.connections(), sshd.passcodes_asked()) == (1, 1)


def test_no_forwards_where_the_site_forbids_them(gears: Gears, ssh_user: SshUser) -> None:
    far, near = gears.home / "far", gears.home / "near"
    with (
        Sshd(gears.home / "user", stream_forwarding=False) as server,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        listener.bind(str(far))
        listener.listen()
        words = ssh_user.to(server, "-N", "-L", f"{near}:{far}")
        process = ssh_user.start(*words, answers=(server.fresh_code(),))
        wait_until(near.exists, "the forward")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(near))
            assert client.recv(1) == b""
        assert process.stderr and "open failed" in process.stderr.readline()
        process.kill()  # OpenSSH 9.2 may miss a milder signal
        process.communicate()


def test_a_frozen_server_is_silent_and_goes_on(
    sshd: Sshd, ssh_user: SshUser, master: list[str]
) -> None:
    sshd.freeze()
    control = next(word for word in master if word.endswith(".ctl"))
    wait_until(lambda: not Path(control).exists(), "the end of the master's patience")
    new = ssh_user.run(*ssh_user.to(sshd), "true", answers=(sshd.fresh_code(),))
    assert new.returncode == 0  # who listens goes on
    sshd.thaw()
    wait_until(lambda: not sshd.serving(), "the end of what was frozen")
    sshd.freeze(listener=True)
    words = ssh_user.to(sshd, "-o", "ConnectTimeout=1")
    assert "timed out" in ssh_user.run(*words, "true").stderr
    sshd.thaw()
    code = sshd.fresh_code()
    assert ssh_user.run(*ssh_user.to(sshd), "true", answers=(code,)).returncode == 0


def test_restarts_and_disconnects(sshd: Sshd, ssh_user: SshUser) -> None:
    words = ssh_user.to(sshd)

    def log_in() -> subprocess.Popen[str]:
        answers = (sshd.fresh_code(),)
        process = ssh_user.start(*words, "echo up; cat", answers=answers, stdin=subprocess.PIPE)
        assert process.stdout and process.stdout.readline() == "up\n"
        return process

    stays = log_in()
    sshd.restart(disconnect=False)
    goes = log_in()
    assert stays.poll() is None
    sshd.disconnect()
    assert (stays.wait(60), goes.wait(60)) == (REFUSED, REFUSED)
    goes = log_in()
    sshd.restart()
    assert goes.wait(60) == REFUSED
    sshd.stop()
    assert "refused" in ssh_user.run(*words, "true").stderr
    sshd.start()
    assert ssh_user.run(*words, "true", answers=(sshd.fresh_code(),)).returncode == 0
    for process in (stays, goes):
        process.communicate()


def test_host_keys_and_algorithms(gears: Gears, ssh_user: SshUser) -> None:
    home = gears.home / "user"
    with Sshd(home, host_keys=("rsa",), extra=["Ciphers aes256-gcm@openssh.com"]) as server:
        words = ssh_user.to(server)
        assert "ssh-rsa" in server.known_hosts()
        assert server.fingerprint("rsa").startswith("SHA256:")
        refused = ssh_user.run("-c", "aes128-ctr", *words, "true")
        assert "no matching cipher" in refused.stderr
        assert ssh_user.run(*words, "true", answers=(server.fresh_code(),)).returncode == 0
        server.change_keys(["ed25519", "ecdsa"])
        server.restart()
        changed = ssh_user.run(*words, "true", answers=(server.fresh_code(),))
        assert "Host key verification failed" in changed.stderr
        again = ssh_user.run(*ssh_user.to(server), "true", answers=(server.fresh_code(),))
        assert again.returncode == 0, again.stderr
        assert server.passcodes_asked() == 2


@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/tcsh"])
def test_what_a_command_finds(gears: Gears, ssh_user: SshUser, shell: str) -> None:
    if not os.access(shell, os.X_OK):
        pytest.skip(f"needs {shell}")
    home = gears.home / "user"
    before = Path("/etc/passwd").read_bytes()
    with Sshd(home, environment=server_environment(gears), shell=shell) as server:
        words = ssh_user.to(server)
        command = 'printf "%s " $GEARS_HOME $HOME $SHELL $PATH; pwd'
        result = ssh_user.run(*words, command, answers=(server.fresh_code(),))
        gears_home, user_home, its_shell, path, folder = result.stdout.split()
        assert (gears_home, user_home, its_shell) == (str(gears.home), str(home), shell)
        assert path.split(":")[0] == f"{gears.venv}/bin"
        assert folder == str(home)
    assert Path("/etc/passwd").read_bytes() == before


def test_a_second_user(gears: Gears, ssh_user: SshUser) -> None:
    with Sshd(gears.home / "user") as server:
        home = server.folder / "other"
        server.folder.chmod(0o711)
        server.etc.add_user("other", 4242, home)
        words = [*ssh_user.to(server, *ONCE)[:-1], f"other@{server.address}"]
        mine = server.fresh_code()
        assert ssh_user.run(*words, "true", answers=(mine,)).returncode == REFUSED
        command = f"id -un; pwd; ls {gears.home}"
        result = ssh_user.run(*words, command, answers=(server.fresh_code("other"),))
        assert result.stdout.split() == ["other", str(home)]
        assert "denied" in result.stderr


def test_nothing_is_left_of_a_server(gears: Gears, ssh_user: SshUser) -> None:
    with Sshd(gears.home / "user") as server:
        command = "sleep 1000 >/dev/null 2>&1 & echo $!"
        result = ssh_user.run(*ssh_user.to(server), command, answers=(server.fresh_code(),))
        left = int(result.stdout)
        server.restart()
        assert alive(left)  # what a session leaves lives on, until the test ends
        assert not (Path("/etc/pam.d") / server.name).exists()
    assert not alive(left)
    assert not server.processes()
    assert not server.folder.exists()
    assert server.name not in Path("/proc/self/mounts").read_text()


def test_two_users_with_one_code(sshd: Sshd, gears: Gears) -> None:
    """Whoever comes first has it: it is taken out under a lock."""
    code = sshd.fresh_code()
    users = [SshUser(gears.home) for _ in range(4)]
    results: list[int] = []

    def log_in(user: SshUser) -> None:
        words = user.to(sshd, *ONCE)
        results.append(user.run(*words, "true", answers=(code,)).returncode)

    threads = [threading.Thread(target=log_in, args=(user,)) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [0, REFUSED, REFUSED, REFUSED]
