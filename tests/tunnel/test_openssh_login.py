"""Logging in with the system's ssh: what the server asks, and who gives up."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from link_frames import NUMBERS
from openssh_tunnel import SystemSsh, answer, cancel, down, end, master, processes
from processes import alive, wait_until
from sshd import Sshd, needs_sshd

pytestmark = needs_sshd


def words(pid: int) -> bytes:
    """What everybody of this uid can see of a process."""
    folder = Path(f"/proc/{pid}")
    return (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()


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


def test_unattended_where_codes_are_asked(ssh: SystemSsh, sshd: Sshd) -> None:
    tunnel = ssh.start(UNATTENDED=1)
    told = down(tunnel)
    assert told["CAUSE"] == "AUTH_NEEDED"
    assert "gearsctl login andes" in str(told["TEXT"])
    assert sshd.passcodes_asked() == 0


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


def test_closed_after_an_answer(ssh: SystemSsh, sshd: Sshd) -> None:
    """What a human did for it is told."""
    tunnel = ssh.start()
    answer(tunnel, "1111")
    tunnel.wait_told("TUNNEL_PROMPT")
    cancel(tunnel)
    assert down(tunnel)["HUMAN"] == 1
    assert tunnel.exit_record()["human"] == "1"


def test_what_sees_answers_cannot_be_dumped(ssh: SystemSsh, sshd: Sshd) -> None:
    tunnel = ssh.start()
    tunnel.wait_told("TUNNEL_PROMPT")
    for pid in processes(tunnel):
        limits = Path(f"/proc/{pid}/limits").read_text()
        line = next(line for line in limits.splitlines() if line.startswith("Max core file"))
        assert line.split()[4:6] == ["0", "0"]
    cancel(tunnel)
    tunnel.wait_end()
