"""Other ssh: a script in its place changes something and becomes it."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from openssh_tunnel import SystemSsh, answer, cancel, down, end
from processes import tell
from sshd import Sshd, needs_sshd, new_key

pytestmark = needs_sshd


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
