"""The one session channel: a command and its report, whatever the shell prints before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from processes import tell, wait_until
from sshd import Sshd
from tunnel_link import Tunnel, TunnelError

REPORT = """printf '\\n@gears-report 1 {"host":"andes-login3"}\\n'"""
ANSWER = {"REPORT": '{"host":"andes-login3"}'}

NOISES = {
    "quiet": "true",
    "banner": "echo Welcome to Andes; echo 'The system is down on Tuesdays.' >&2",
    "no newline": "printf 'prompt> '; printf 'stty: standard input: not a tty' >&2",
    "title": "printf '\\033]0;andes\\007'",
    "binary": "head -c 5000 /dev/urandom",
    "much": "seq 9000",
    "word inside": 'echo \'it prints @gears-report 1 {"host":"false"}\'',
    "word without text": "echo '@gears-report 1 later'; echo '@gears-report 2 {}'",
    "carriage return": "printf 'loading 1%%\\rloading 100%%\\r'",
}


@pytest.mark.parametrize("noise", NOISES)
def test_noisy_shells_do_no_harm(tunnel: Tunnel, home: Path, noise: str) -> None:
    """sshd has bash read it for commands as well."""
    (home / ".bashrc").write_text(NOISES[noise] + "\n")
    assert tunnel.run(REPORT) == ANSWER


@pytest.mark.parametrize("end", ["\\n", "\\r\\n"])
def test_the_line_may_end_as_on_a_terminal(tunnel: Tunnel, end: str) -> None:
    assert tunnel.run(f"""printf '@gears-report 1 {{"a":1}}{end}'""") == {"REPORT": '{"a":1}'}


def test_on_standard_error_too(tunnel: Tunnel) -> None:
    assert tunnel.run(f"{REPORT} >&2") == ANSWER


def test_a_long_report(tunnel: Tunnel) -> None:
    length = 64 * 1024 - 8
    command = f"printf '\\n@gears-report 1 {{\"a\":\"'; head -c {length} /dev/zero | tr '\\0' x; "
    assert tunnel.run(command + "printf '\"}\\n'")["REPORT"] == '{"a":"' + "x" * length + '"}'


def test_commands_one_after_the_other(tunnel: Tunnel) -> None:
    """MaxSessions is 1: each leaves its place to the next."""
    for _ in range(20):
        assert tunnel.run(REPORT) == ANSWER


@pytest.mark.parametrize(
    ("command", "error", "code", "words"),
    [
        ("gearsctl-missing daemon report", "No such file or directory", 127, "(not found)"),
        ("/etc/passwd", "Exec format error", 126, "(not executable here)"),
        ("echo no luck; exit 3", "Protocol error", 3, "exit code 3 and no report"),
        ("true", "Protocol error", 0, "exit code 0 and no report"),
    ],
)
def test_a_command_without_report(
    tunnel: Tunnel, command: str, error: str, code: int, words: str
) -> None:
    told = tunnel.run(command)
    assert os.strerror(told["ERRNO"]) == error
    assert told["EXIT_CODE"] == code
    assert words in told["TEXT"]
    if command.startswith("gearsctl"):
        assert "it printed last: " in told["TEXT"] and "gearsctl-missing" in told["TEXT"]
    assert "\n" not in told["TEXT"]
    assert tunnel.run(REPORT) == ANSWER


def test_a_command_that_was_killed(tunnel: Tunnel) -> None:
    told = tunnel.run("kill -9 $$")
    assert "ended by signal KILL" in told["TEXT"]
    assert "EXIT_CODE" not in told


def test_too_much_noise(tunnel: Tunnel) -> None:
    told = tunnel.run("seq 100000")
    assert os.strerror(told["ERRNO"]) == "Message too long"
    assert "it printed last: " in told["TEXT"]
    assert tunnel.run(REPORT) == ANSWER


def test_each_close_is_awaited(tunnel: Tunnel, server: Sshd) -> None:
    """Closed in the midst of its output, a command still has the only place until it ends."""
    refusals = server.log.count("no more sessions")
    for _ in range(20):
        assert "too much output" in tunnel.run("seq 100000")["TEXT"]
        assert tunnel.run(REPORT) == ANSWER
    assert server.log.count("no more sessions") == refusals


@pytest.mark.long
def test_a_command_that_says_nothing(tunnel: Tunnel, home: Path) -> None:
    """The next one may find the place still taken: that is said, and passes."""
    pid, told = tunnel.run_hanging(home)
    assert os.strerror(told["ERRNO"]) == "Connection timed out"
    assert "did not report in time" in told["TEXT"]
    told = tunnel.run(REPORT)
    assert "the server refused a session" in told["TEXT"]
    os.kill(pid, 9)
    wait_until(lambda: tunnel.run(REPORT) == ANSWER, "a free place")


def test_a_report_from_one_that_stays(tunnel: Tunnel, home: Path) -> None:
    """It has a child that holds its output: the report counts at once."""
    assert tunnel.run(f"sleep 600 & echo $! >{home}/pid; {REPORT}") == ANSWER
    os.kill(int((home / "pid").read_text()), 9)
    wait_until(lambda: tunnel.run(REPORT) == ANSWER, "a free place")


def test_one_at_a_time(tunnel: Tunnel, home: Path) -> None:
    os.mkfifo(home / "go")
    first = tunnel.send("TUNNEL_RUN", COMMAND=f"cat {home}/go; {REPORT}", TIMEOUT_MS=60000)
    with pytest.raises(TunnelError, match="another command runs already"):
        tunnel.run(REPORT)
    tell(home / "go", "go\n")
    assert tunnel.answer_to(first) == ("TUNNEL_RAN", ANSWER)


def test_data_goes_on_meanwhile(tunnel: Tunnel, target, home: Path) -> None:
    target.echo()
    os.mkfifo(home / "go")
    with tunnel.connect(target.path) as client:
        running = tunnel.send("TUNNEL_RUN", COMMAND=f"cat {home}/go; {REPORT}", TIMEOUT_MS=60000)
        for _ in range(100):
            client.sendall(b"x" * 1000)
            assert len(client.recv(1000)) > 0
        tell(home / "go", "go\n")
        assert tunnel.answer_to(running) == ("TUNNEL_RAN", ANSWER)


def test_an_open_that_comes_late_serves_the_next_order(
    tunnel: Tunnel, server: Sshd, home: Path
) -> None:
    """The server would refuse another beside it."""
    tunnel.settle()
    refusals = server.log.count("no more sessions")
    server.freeze()
    told = tunnel.run(REPORT, 300)
    assert "did not open a session in time" in told["TEXT"]
    os.mkfifo(home / "go")
    running = tunnel.send("TUNNEL_RUN", COMMAND=f"cat {home}/go; {REPORT}", TIMEOUT_MS=20000)
    server.thaw()
    tell(home / "go", "go\n")
    assert tunnel.answer_to(running) == ("TUNNEL_RAN", ANSWER)
    tunnel.order("TUNNEL_PROBE")
    assert server.log.count("no more sessions") == refusals
