"""login, logout, takeover: prompts on a terminal, answers that stay secret, and who is asked."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Gears
from fake_gearsd import Call, Hop, hop, tunnel
from processes import wait_until
from terminal import Terminal


@pytest.fixture
def andes(gears: Gears) -> Iterator[Hop]:
    with hop(gears) as pair:
        pair.tunnel.update(state="down", cause="auth-needed")
        yield pair


class Login:
    """A Login that asks `prompts`, one after another, and opens the hop when all were answered."""

    def __init__(self, andes: Hop, prompts: list[dict[str, Any]]) -> None:
        self.andes = andes
        self.prompts = prompts
        self.answers: list[Any] = []
        self.answered = threading.Semaphore(0)
        self.call: Call | None = None
        andes.local.methods["Login"] = self.login
        andes.local.methods["AnswerPrompt"] = self.answer

    def login(self, call: Call) -> None:
        self.call = call
        if not call.parameters.get("interactive"):
            call.error("HumanNeeded", cluster="andes", message="")
            return
        down = {**self.andes.tunnel, "state": "connecting", "cause": None}
        call.reply(True, tunnel={**down, "message": "connecting to andes (10.0.0.3:22)"})
        for prompt in self.prompts:
            asking = {**down, "state": "auth-needed", "message": None}
            call.reply(True, tunnel=asking, prompt=prompt)
            if not self.answered.acquire(timeout=60):
                return
        self.andes.tunnel.update(state="up", cause=None)
        call.reply(tunnel=self.andes.tunnel)

    def answer(self, call: Call) -> None:
        self.answers.append(call.parameters)
        call.reply()
        self.answered.release()


def ask(name: str = "", instruction: str = "", **prompts: bool) -> dict[str, Any]:
    lines = [
        {"text": text.replace("_", " ") + ": ", "echo": echo} for text, echo in prompts.items()
    ]
    identity = f"id-{name}-{len(instruction)}-{'-'.join(prompts)}"
    return {"prompt_id": identity, "name": name, "instruction": instruction, "prompts": lines}


def terminal(gears: Gears, *words: str, **environment: str) -> Terminal:
    return Terminal([str(gears.bin / "gearsctl"), *words], {**gears.environment, **environment})


def test_rounds_of_prompts(gears: Gears, andes: Hop) -> None:
    first = ask("OLCF", "Wait for the\ntokencode\\x1b[2J \x1b[31mred", Enter_PASSCODE=False)
    second = ask("", "", User=True, New_PIN=False)
    login = Login(andes, [first, second])
    with terminal(gears, "login", "andes") as screen:
        screen.expect("Enter PASSCODE: ")
        assert not screen.echoes()
        screen.type("1234567890\n")
        screen.expect("User: ")
        assert screen.echoes()
        screen.type("anna\n")
        screen.expect("New PIN: ")
        assert not screen.echoes()
        screen.type("s3cret \u00fc\n")
        assert screen.wait() == 0
        assert screen.echoes()
        output = screen.output
    assert login.answers == [
        {"prompt_id": first["prompt_id"], "answers": ["1234567890"]},
        {"prompt_id": second["prompt_id"], "answers": ["anna", "s3cret \u00fc"]},
    ]
    assert "OLCF\r\nWait for the\r\ntokencode" in output
    assert "\x1b" not in output and "\\x1b[31mred" in output
    assert "andes: connecting to andes (10.0.0.3:22)" in output
    assert "the hop to andes is open: andes-login3.olcf" in output
    assert "1234567890" not in output and "s3cret" not in output
    (start,) = andes.local.named("Login")
    assert start == {"cluster": "andes", "interactive": True}


def test_the_process_that_sees_answers_cannot_be_dumped(gears: Gears, andes: Hop) -> None:
    login = Login(andes, [ask("", "", Enter_PASSCODE=False)])
    cores = 'ulimit -S -c "$(ulimit -H -c)"; exec "$@"'  # as who looks for a crash's cause has it
    words = ["sh", "-c", cores, "sh", str(gears.bin / "gearsctl"), "login", "andes"]
    with Terminal(words, gears.environment) as screen:
        screen.expect("Enter PASSCODE: ")
        limits = {pid: core_limit(pid) for pid in gears.processes()}
        asker = next(pid for pid, (soft, _) in limits.items() if soft == "0")
        _, most = limits[asker]
        assert all(soft == most for pid, (soft, _) in limits.items() if pid != asker), limits
        # What cannot be dumped belongs to root in /proc, and nobody else may read its memory.
        assert b"Enter PASSCODE" not in Path(f"/proc/{asker}/cmdline").read_bytes()
        screen.type("123456\n")
        assert screen.wait() == 0
    assert len(login.answers) == 1
    for path in gears.home.rglob("*"):
        assert not path.is_file() or b"123456" not in path.read_bytes(), path


def core_limit(pid: int) -> list[str]:
    limits = Path(f"/proc/{pid}/limits").read_text()
    match = re.search(r"Max core file size\s+(\S+\s+\S+)", limits)
    assert match
    return match[1].split()


def test_control_c_ends_the_login(gears: Gears, andes: Hop) -> None:
    login = Login(andes, [ask("", "", Enter_PASSCODE=False)])
    with terminal(gears, "login", "andes") as screen:
        screen.expect("Enter PASSCODE: ")
        screen.type("123\x03")
        assert screen.wait() == 130
        assert screen.echoes()
        assert "andes: the login was given up" in screen.output
    assert login.answers == []
    assert login.call
    login.call.wait_closed()
    login.answered.release()


def test_end_of_file_ends_the_login(gears: Gears, andes: Hop) -> None:
    login = Login(andes, [ask("", "", Enter_PASSCODE=False)])
    with terminal(gears, "login", "andes") as screen:
        screen.expect("Enter PASSCODE: ")
        screen.type("\x04")
        assert screen.wait() == 130
        assert "andes: the login was given up" in screen.output
    assert login.answers == []
    login.answered.release()


def test_a_login_that_is_ended_leaves_nothing_typed(gears: Gears, andes: Hop) -> None:
    login = Login(andes, [ask("", "", Enter_PASSCODE=False)])
    with terminal(gears, "login", "andes") as screen:
        screen.expect("Enter PASSCODE: ")
        screen.type("123")
        os.kill(screen.process.pid, signal.SIGTERM)  # the one that its shell waits for
        screen.wait()
        assert screen.echoes()
        assert screen.take_line() == "\n"
    login.answered.release()


def test_an_answer_has_a_bound(gears: Gears, andes: Hop) -> None:
    login = Login(andes, [ask("", "", PASSCODE=False)])
    with terminal(gears, "login", "andes") as screen:
        screen.expect("PASSCODE: ")
        screen.type("x" * 1500 + "\n")
        screen.expect("at most 1024 bytes; once more: ")
        screen.type("y" * 1024 + "\n")
        assert screen.wait() == 0
    assert [answer["answers"] for answer in login.answers] == [["y" * 1024]]


def test_a_prompt_that_the_server_withdraws(gears: Gears, andes: Hop) -> None:
    """The server gave up waiting: what is typed goes nowhere, and the terminal is as before."""

    def login(call: Call) -> None:
        call.reply(True, tunnel=andes.tunnel, prompt=ask("", "", Enter_PASSCODE=False))
        call.reply(True, tunnel={**andes.tunnel, "message": "a step meanwhile"})
        assert typed.wait(60)
        call.error("Failed", name="andes", message="the server closed the connection")

    typed = threading.Event()
    andes.local.methods["Login"] = login
    with terminal(gears, "login", "andes") as screen:
        screen.expect("Enter PASSCODE: ")
        screen.type("half")
        typed.set()
        assert screen.wait() == 1
        assert screen.echoes()
        assert "gearsctl: andes: the server closed the connection" in screen.output
        assert screen.take_line() == "\n", "half a PASSCODE is left for the shell"
    assert andes.local.named("AnswerPrompt") == []


def test_a_step_while_somebody_types_loses_nothing(gears: Gears, andes: Hop) -> None:
    prompt = ask("", "", Enter_PASSCODE=False)
    answered, typed = threading.Event(), threading.Event()

    def login(call: Call) -> None:
        call.reply(True, tunnel=andes.tunnel, prompt=prompt)
        assert typed.wait(60)
        call.reply(True, tunnel={**andes.tunnel, "message": "a step meanwhile"})
        call.reply(True, tunnel=andes.tunnel, prompt=prompt)
        assert answered.wait(60)
        call.reply(tunnel=tunnel())

    def answer(call: Call) -> None:
        assert call.parameters["answers"] == ["123456"]
        call.reply()
        answered.set()

    andes.local.methods.update(Login=login, AnswerPrompt=answer)
    with terminal(gears, "login", "andes") as screen:
        screen.expect("Enter PASSCODE: ")
        screen.type("123")
        typed.set()
        screen.type("456\n")
        assert screen.wait() == 0
        assert screen.output.count("Enter PASSCODE: ") == 1


def test_without_a_terminal_nobody_is_asked(gears: Gears, andes: Hop) -> None:
    Login(andes, [ask("", "", Enter_PASSCODE=False)])
    for words, subject in ((("login", "andes"), "andes"), (("start", "lab@andes"), "lab@andes")):
        result = subprocess.run(
            ["setsid", "--wait", str(gears.bin / "gearsctl"), *words],
            env=gears.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert result.returncode == 7
        assert result.stderr == (
            f"gearsctl: {subject}: hop to andes needs your PASSCODE; run: gearsctl login andes\n"
        )
    assert all(not call["interactive"] for call in andes.local.named("Login"))


def test_start_logs_in_first(gears: Gears, andes: Hop) -> None:
    from fake_gearsd import service

    Login(andes, [ask("", "", Enter_PASSCODE=False)])
    andes.far.methods["Start"] = lambda call: call.reply(service=service("lab"))
    with terminal(gears, "start", "lab@andes") as screen:
        screen.expect("Enter PASSCODE: ")
        screen.type("123456\n")
        assert screen.wait() == 0
        assert "lab@andes: ready" in screen.output
    assert andes.far.named("Start")[0]["name"] == "lab"


def test_an_open_hop_is_left_alone(gears: Gears, andes: Hop) -> None:
    andes.tunnel.update(state="up", cause=None)
    result = gears.run("login", "andes")
    assert result.stderr == "gearsctl: the hop to andes is open already: andes-login3.olcf\n"
    shown = json.loads(gears.run("login", "andes", "--json").stdout)
    assert (shown["schema"], shown["tunnel"]["state"]) == (1, "up")
    gears.run("login", "andes", "--node", "andes-login5", "--force")
    assert andes.local.named("Login")[-1] == {
        "cluster": "andes",
        "interactive": False,
        "node": "andes-login5",
        "force": True,
    }


def test_only_our_own_agent_is_told(gears: Gears, andes: Hop) -> None:
    andes.tunnel.update(state="up", cause=None)
    gears.environment["SSH_AUTH_SOCK"] = str(andes.control)  # a socket of ours
    gears.run("login", "andes")
    gears.environment["SSH_AUTH_SOCK"] = "/etc/passwd"
    gears.run("login", "andes")
    agents = [call.get("agent") for call in andes.local.named("Login")]
    assert agents == [str(andes.control), None]


def test_logout(gears: Gears, andes: Hop) -> None:
    andes.tunnel.update(state="up", cause=None)
    closed = tunnel(state="down", wanted=False)
    andes.local.methods["Logout"] = lambda call: call.reply(tunnel=closed)
    assert "the hop to andes is closed" in gears.run("logout", "andes").stderr
    assert "the hop to andes is closed" in gears.run("logout", "--all").stderr
    andes.tunnel = closed
    assert gears.run("logout", "--all").stderr == "gearsctl: no hop is open\n"
    assert andes.local.named("Logout") == [{"cluster": "andes"}] * 2
    assert gears.run("logout", check=False).returncode == 2


def test_takeover_asks_whose_socket_goes(gears: Gears, andes: Hop) -> None:
    andes.tunnel.update(held_by="hub2.ccs")
    taken = tunnel(state="down", cause="auth-needed")
    andes.local.methods["Takeover"] = lambda call: call.reply(tunnel=taken)
    refused = gears.run("takeover", "andes", check=False)
    assert refused.returncode == 7
    assert refused.stderr.endswith("; run: gearsctl takeover andes --yes\n")
    with terminal(gears, "takeover", "andes") as screen:
        screen.expect("hub2.ccs serves run/andes.sck now;")
        screen.type("n\n")
        assert screen.wait() == 1
    assert andes.local.named("Takeover") == []
    done = gears.run("takeover", "andes", "--yes")
    assert "now, no longer on hub2.ccs" in done.stderr
    assert "run: gearsctl login andes" in done.stderr


def test_a_watched_status_follows_the_hop(gears: Gears, andes: Hop) -> None:
    """Unreachable, then open: the rows of a service behind a hop as it comes and goes."""
    changed = threading.Event()

    def status(call: Call) -> None:
        call.reply(True, epoch="e", seq=1, services=[], tunnels=[andes.tunnel])
        assert changed.wait(60)
        andes.tunnel.update(state="up", cause=None)
        call.reply(True, epoch="e", seq=2, services=[], tunnels=[andes.tunnel])

    andes.local.methods["Status"] = status
    watching = subprocess.Popen(
        [str(gears.bin / "gearsctl"), "status", "lab@andes", "--watch"],
        env=gears.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout
    assert watching.stdout.readline().startswith("lab@andes\tunreachable\t")
    changed.set()
    assert watching.stdout.readline().startswith("andes\tup\thop\t")
    assert watching.stdout.readline().startswith("lab@andes\tready\tjupyter\t")
    watching.terminate()
    watching.communicate(timeout=60)


def test_a_watched_status_of_everything(gears: Gears, andes: Hop) -> None:
    andes.tunnel.update(state="up", cause=None)
    watching = subprocess.Popen(
        [str(gears.bin / "gearsctl"), "status", "--watch", "--json"],
        env=gears.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout
    seen = [json.loads(watching.stdout.readline()) for _ in range(3)]
    assert [(item.get("name"), item["cluster"]) for item in seen] == [
        ("docs", None),
        (None, "andes"),
        ("lab", "andes"),
    ]
    watching.terminate()
    watching.communicate(timeout=60)
    assert time.monotonic() and wait_until(lambda: not gears.processes(), "the end")
