"""What a server asks a human: PASSCODEs in any number of rounds, passwords, and giving up."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from login_driver import Hop, Login, run
from passcodes import Passcodes
from processes import wait_until
from sshd import Sshd, needs_sshd, new_key

pytestmark = needs_sshd


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    with Sshd(tmp_path) as sshd:
        yield sshd


def hop(server: Sshd, folder: Path, **fields: object) -> Hop:
    (folder / "known").write_text(server.known_hosts())
    return Hop(server, known_hosts=[str(folder / "known")], **fields)


def test_one_code(server: Sshd, tmp_path: Path) -> None:
    code = server.fresh_code()
    words = ("--run", "echo $((6*7))")
    with Login(tmp_path, hop(server, tmp_path), words=words) as login:
        prompt = login.prompt()
        assert prompt["prompts"] == [{"text": "Enter PASSCODE: ", "echo": False}]
        assert len(prompt["id"]) == 32
        login.say(code)
        done = login.done()
        assert done["up"] and done["human"] and done["method"] == "keyboard-interactive"
        assert login.next("ran") == "42\n"
        assert code not in login.output
    assert server.passcodes_asked() == 1 and code not in server.log


def test_rounds(server: Sshd, tmp_path: Path) -> None:
    code, token = server.passcodes.fresh_with_next()
    with Login(tmp_path, hop(server, tmp_path)) as login:
        login.texts()
        login.say(code)
        assert "\n" in login.texts()[0], "the newline in the prompt stays"
        login.say(token)
        assert login.done()["up"]


def test_a_first_login_shows_what_may_be_seen(server: Sshd, tmp_path: Path) -> None:
    code = server.passcodes.fresh_first_login()
    echoes = []
    with Login(tmp_path, hop(server, tmp_path)) as login:
        login.texts()
        login.say(code)
        for answer in ("4321", "4321", "y"):
            echoes += [question["echo"] for question in login.prompt()["prompts"]]
            login.say(answer)
        done = login.done()
        assert done["up"], done
    assert echoes == [False, False, True]


def test_a_wrong_code_is_asked_again(server: Sshd, tmp_path: Path) -> None:
    code = server.fresh_code()
    with Login(tmp_path, hop(server, tmp_path)) as login:
        login.texts()
        login.say("000000")
        login.texts()
        assert "andes refused the answer" in login.steps
        login.say(code)
        assert login.done()["up"]
    assert server.passcodes_asked() == 2


def test_wrong_codes_up_to_the_servers_limit(tmp_path: Path) -> None:
    with Sshd(tmp_path, extra=["MaxAuthTries 3"]) as server:
        with Login(tmp_path, hop(server, tmp_path)) as login:
            for _ in range(3):
                login.texts()
                login.say("000000")
            done = login.done()
        assert done["cause"] == "auth-failed", done
        assert "refusing 3 answers" in done["text"] and "Too many" in done["text"]
        assert server.passcodes_asked() == 3 and server.connections() == 1


def test_nothing_stays_in_memory(server: Sshd, tmp_path: Path) -> None:
    """Neither ours, nor libssh2's copies, nor what the failed attempt left."""
    wrong, code = "777333555111", server.fresh_code()
    with Login(tmp_path, hop(server, tmp_path)) as login:
        login.texts()
        login.say(wrong)
        login.texts()
        login.say(code)
        assert login.done()["up"]
        pid = login.process.pid
        found = []
        with open(f"/proc/{pid}/mem", "rb", 0) as memory:
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                low, high = (int(end, 16) for end in line.split()[0].split("-"))
                if "w" not in line.split()[1] or high - low > 2**28:  # a sanitizer's shadow
                    continue
                content = b""
                with contextlib.suppress(OSError):  # a sanitizer's, too
                    memory.seek(low)
                    content = memory.read(high - low)
                found += [(line, word) for word in (wrong, code) if word.encode() in content]
        assert not found


def test_a_password(tmp_path: Path) -> None:
    with Sshd(tmp_path, "password") as server:
        server.set_password("correct-horse")
        with Login(tmp_path, hop(server, tmp_path)) as login:
            question = {"text": "root@andes's password: ", "echo": False}
            assert login.prompt()["prompts"] == [question]
            login.say("wrong-horse")
            login.texts()
            assert "andes refused the answer" in login.steps
            login.say("correct-horse")
            done = login.done()
            assert done["up"] and done["human"] and done["method"] == "password"
            assert "horse" not in login.output


@pytest.mark.parametrize("key_first", [True, False])
def test_a_key_and_a_code(tmp_path: Path, key_first: bool) -> None:
    order = "publickey,keyboard-interactive" if key_first else "keyboard-interactive,publickey"
    extra = [f"AuthenticationMethods {order}"]
    with Sshd(tmp_path, "passcode+publickey", extra=extra) as server:
        server.authorize(new_key(tmp_path / "key"))
        new_key(tmp_path / "other")
        keys = [str(tmp_path / "other"), str(tmp_path / "key")]
        code = server.fresh_code()
        with Login(tmp_path, hop(server, tmp_path, identity=keys)) as login:
            login.texts()
            login.say(code)
            done = login.done()
            assert done["up"] and done["human"], done
        assert server.passcodes_asked() == 1


def test_a_password_and_a_code(tmp_path: Path) -> None:
    extra = ["AuthenticationMethods password,keyboard-interactive", "PasswordAuthentication yes"]
    with Sshd(tmp_path, extra=extra) as server:
        server.set_password("secret")
        with Login(tmp_path, hop(server, tmp_path)) as login:
            assert login.texts() == ["root@andes's password: "]
            login.say("secret")
            assert login.texts() == ["Enter PASSCODE: "]
            login.say("secret")
            assert login.done()["up"]
            assert not any("refused" in step for step in login.steps)


def test_a_banner_round_is_told(tmp_path: Path) -> None:
    with Sshd(tmp_path, banner="Unauthorized use\nis forbidden.\x1b[2J\n") as server:
        code = server.fresh_code()
        with Login(tmp_path, hop(server, tmp_path)) as login:
            prompt = login.prompt()
            login.say(code)
            assert login.done()["up"]
        shown = prompt["instruction"] + prompt["prompts"][0]["text"] + " ".join(login.steps)
        assert "Unauthorized use" in shown and "\x1b" not in login.output


def test_unattended(server: Sshd, tmp_path: Path) -> None:
    done = run(tmp_path, hop(server, tmp_path), words=("--unattended",))
    assert done["cause"] == "auth-needed" and "gearsctl login andes" in done["text"]
    assert server.passcodes_asked() == 0


def test_cancel_while_asked(server: Sshd, tmp_path: Path) -> None:
    with Login(tmp_path, hop(server, tmp_path)) as login:
        login.texts()
        login.cancel()
        assert login.done()["cause"] == "cancelled"
    wait_until(lambda: not server.serving(), "the end of the connection")
    assert server.passcodes.count("refused") == 0, "no empty answer is sent"


def test_the_driver_is_gone_while_asked(server: Sshd, tmp_path: Path) -> None:
    with Login(tmp_path, hop(server, tmp_path)) as login:
        login.texts()
    wait_until(lambda: not server.serving(), "the end of the connection")
    assert server.passcodes.count("refused") == 0


def test_the_server_is_tired_of_waiting(tmp_path: Path) -> None:
    with (
        Sshd(tmp_path, extra=["LoginGraceTime 10"]) as server,
        Login(tmp_path, hop(server, tmp_path)) as login,
    ):
        login.texts()
        done = login.done()
        assert done["cause"] == "auth-needed", done
        assert "closed the connection while it waited" in done["text"]
        assert "gearsctl login andes" in done["text"]


def test_nobody_answers(server: Sshd, tmp_path: Path) -> None:
    with Login(tmp_path, hop(server, tmp_path), words=("--human", "700")) as login:
        prompt = login.prompt()
        done = login.done()
        assert done["cause"] == "auth-needed" and "within 700ms" in done["text"], done
        assert prompt["id"]


def test_no_verdict(server: Sshd, tmp_path: Path) -> None:
    code = server.fresh_code()
    words = ("--step", "5000", "--verdict", "6000")
    with Login(tmp_path, hop(server, tmp_path), words=words) as login:
        login.texts()
        with server.passcodes.undecided():
            login.say(code)
            done = login.done()
        assert done["cause"] == "auth-failed" and "andes gave no verdict" in done["text"], done
        assert done["human"]


def test_a_verdict_that_takes_its_time(server: Sshd, tmp_path: Path) -> None:
    """Longer than a step may, and longer than the loop waits beyond it for a file server."""
    code = server.fresh_code()
    with Login(tmp_path, hop(server, tmp_path), words=("--step", "5000")) as login:
        login.texts()
        with server.passcodes.undecided():
            login.say(code)
            with pytest.raises(queue.Empty):
                login.events.get(timeout=16)
        assert login.done()["up"]


def test_the_server_dies_after_the_answer(server: Sshd, tmp_path: Path) -> None:
    with Login(tmp_path, hop(server, tmp_path)) as login:
        login.texts()
        server.freeze()
        login.say("123456")
        wait_until(server.has_unread, "that the answer is there")
        for pid in server.serving():
            os.kill(pid, signal.SIGKILL)
        done = login.done()
        assert done["cause"] == "network-down" and "while logging in" in done["text"], done


def test_two_servers_share_no_answer(tmp_path: Path) -> None:
    passcodes = Passcodes(tmp_path)
    with (
        Sshd(tmp_path, passcodes=passcodes) as hub,
        Sshd(tmp_path, passcodes=passcodes) as andes,
    ):
        (tmp_path / "known").write_text(hub.known_hosts() + andes.known_hosts())
        both = {"known_hosts": [str(tmp_path / "known")]}
        hops = (Hop(hub, name="hub", **both), Hop(andes, **both))
        words = ("--run", "echo through")
        with Login(tmp_path, *hops, words=words) as login:
            for server in (hub, andes):
                login.texts()
                login.say(server.fresh_code())
            done = login.done()
            assert done["up"] and done["human"] and not done["address"], done
            assert login.next("ran") == "through\n"
        assert hub.passcodes_asked() == andes.passcodes_asked() == 1
        # Cancelled inside, closed inside.
        with Login(tmp_path, *hops) as login:
            login.texts()
            login.say(hub.fresh_code())
            login.texts()
            login.cancel()
            assert login.done()["cause"] == "cancelled"
        with Login(tmp_path, *hops) as login:
            login.texts()
            login.say(hub.fresh_code())
            login.texts()
            andes.disconnect()
            done = login.done()
            assert done["cause"] == "auth-needed" and "andes closed" in done["text"], done


def test_a_jump_host_that_wants_signs_of_life(tmp_path: Path) -> None:
    """It gets them while a human takes his time; when it ends, it is named."""
    extra = ["LogLevel DEBUG3", "ClientAliveInterval 1", "ClientAliveCountMax 5"]
    with Sshd(tmp_path, "publickey", extra=extra) as jump, Sshd(tmp_path) as andes:
        jump.authorize(new_key(tmp_path / "key"))
        (tmp_path / "known").write_text(jump.known_hosts() + andes.known_hosts())
        both = {"known_hosts": [str(tmp_path / "known")]}
        key = str(tmp_path / "key")
        hops = (Hop(jump, name="jump", identity=[key], **both), Hop(andes, **both))
        with Login(tmp_path, *hops) as login:
            login.texts()
            # 80 asks for one, 100 and 82 are the answers.
            answers = re.compile(r"receive packet: type (100|82)\b")
            wait_until(
                lambda: (
                    len(answers.findall(jump.log)) >= 4
                    or "Timeout, client not responding" in jump.log
                ),
                "signs of life",
            )
            login.say(andes.fresh_code())
            assert login.done()["up"]
        with Login(tmp_path, *hops) as login:
            login.texts()
            jump.disconnect()
            done = login.done()
            assert done["cause"] == "auth-needed", done
            assert "jump closed the connection while andes waited" in done["text"]
