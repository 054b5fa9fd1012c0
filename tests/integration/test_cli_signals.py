"""^C, closed pipes and full disks: how commands end that are not let finish."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import Gears
from hanging_mount import HangingMount
from processes import wait_until
from terminal import Terminal, restore_signals

SLOW = "[service:slow]\nkind = command\ncommand = sleep 1000\nready = notify\n"


def spawn(gears: Gears, *words: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(gears.bin / "gearsctl"), *words],
        env=env or gears.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=restore_signals,
    )


def interrupt(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert time.monotonic() - began < 20
    return process.returncode, out, error


def test_an_interrupted_start_leaves_the_service_starting(gears: Gears) -> None:
    (gears.home / "etc/gears.conf").write_text(SLOW)
    starter = spawn(gears, "start", "slow")
    wait_until(lambda: gears.status("slow")["state"] == "starting", "the start")
    status, _, error = interrupt(starter)
    assert status == 130
    assert error == "gearsctl: slow goes on starting; see: gearsctl status slow\n"
    assert gears.status("slow")["state"] == "starting"


@pytest.mark.parametrize(
    "words",
    [("logs", "slow", "-f"), ("events", "-f"), ("status", "--watch"), ("wait", "slow")],
)
def test_interrupted_streams_end_with_130(gears: Gears, words: tuple[str, ...]) -> None:
    (gears.home / "etc/gears.conf").write_text(SLOW)
    gears.run("start", "slow", "--no-wait")
    stream = spawn(gears, *words)
    # It is answered by gearsd once its connection is there; only then is there a stream to end.
    wait_until(lambda: connections(stream.pid), "the stream")
    status, out, error = interrupt(stream)
    assert (status, error) == (130, "")
    assert out == "" or out.endswith("\n")


def connections(pid: int) -> int:
    """Sockets of a command: it runs in a child of the process that the shell sees."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        links = [
            os.readlink(fd) for child in children for fd in Path(f"/proc/{child}/fd").iterdir()
        ]
    except OSError:
        return 0
    return sum(link.startswith("socket:") for link in links)


def test_an_object_is_not_cut(gears: Gears) -> None:
    names = "".join(
        f"[service:s{i}]\nkind = command\ncommand = sleep 9\nworkspace = /{'w' * 150}\n"
        for i in range(100)
    )
    (gears.home / "etc/gears.conf").write_text(names)
    gears.run("status")
    stream = spawn(gears, "status", "--watch", "--json")
    assert stream.stdout is not None
    json.loads(stream.stdout.readline())
    stream.send_signal(signal.SIGINT)
    assert all(json.loads(line)["schema"] == 1 for line in stream.stdout)
    assert stream.wait(60) == 130


def test_ignored_interruptions_stay_ignored(gears: Gears) -> None:
    """As a shell's background and nohup start programs: ^C is meant for the foreground."""
    gears.run("run", "x", "--", "true")
    stream = subprocess.Popen(
        ["sh", "-c", 'trap "" INT; exec "$0" events -f', str(gears.bin / "gearsctl")],
        env=gears.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert stream.stdout is not None
    stream.stdout.readline()
    stream.send_signal(signal.SIGINT)
    gears.run("run", "y", "--", "true")
    while "y\t" not in stream.stdout.readline():
        pass
    stream.terminate()
    assert stream.wait(60) == -signal.SIGTERM


def test_the_terminal_gets_its_echo_back(gears: Gears) -> None:
    with Terminal([str(gears.bin / "gearsctl"), "password"], gears.environment) as terminal:
        terminal.expect("New password")
        wait_until(lambda: not terminal.echoes(), "the silence of the terminal")
        terminal.type("secret\x03")
        assert terminal.wait() == 130
        assert terminal.echoes()
        assert "secret" not in terminal.output


def test_interrupted_from_the_keyboard(gears: Gears) -> None:
    (gears.home / "etc/gears.conf").write_text(SLOW)
    with Terminal([str(gears.bin / "gearsctl"), "start", "slow"], gears.environment) as terminal:
        terminal.expect("slow: starting (")
        terminal.expect(")")
        terminal.type("\x03")
        assert terminal.wait() == 130
        assert "slow goes on starting" in terminal.output
    assert gears.status("slow")["state"] == "starting"  # gearsd was not hit by the same ^C


def test_a_reader_that_leaves_ends_it_silently(gears: Gears) -> None:
    gears.run("run", "talk", "--", "sh", "-c", "yes line | head -n 9000; exec sleep 1000")
    wait_until(lambda: "line" in gears.run("logs", "talk").stdout, "the lines")
    for command in ("logs talk -n 9000", "logs talk -n 9000 --json"):
        result = subprocess.run(
            [
                "bash",
                "-c",
                f'{gears.bin}/gearsctl {command} | head -n 1; echo "${{PIPESTATUS[0]}}"',
            ],
            env=gears.environment,
            capture_output=True,
            text=True,
            timeout=60,
            preexec_fn=restore_signals,
        )
        assert result.stderr == ""
        assert result.stdout.splitlines()[1] in ("0", "141")


def test_output_that_cannot_be_written_is_a_failure(gears: Gears) -> None:
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [str(gears.bin / "gearsctl"), "status", "--json"],
            env=gears.environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert result.returncode == 1
    assert result.stderr == "gearsctl: cannot write the output: No space left on device\n"


def test_a_hung_home_is_named_and_can_be_left(gears: Gears) -> None:
    """^C must work while the kernel holds the command in a system call on the dead home."""
    gears.run("run", "steady", "--", "sleep", "1000")
    far, near = gears.home / "far", gears.home / "near"
    with HangingMount(far, near) as mount:
        home = str(mount.door(gears.home))
        through = {**gears.environment, "GEARS_HOME": home}
        patient = spawn(gears, "status", env=through)
        assert "steady" in patient.communicate(timeout=60)[0]
        mount.hang()
        command = spawn(gears, "status", env=through)
        patient = spawn(gears, "status", env=through)
        assert command.stderr is not None
        line = command.stderr.readline()
        assert line.startswith(f"gearsctl: {home} has not answered for 2 s (connecting to gearsd)")
        assert "what runs goes on" in line
        began = time.monotonic()
        command.send_signal(signal.SIGINT)
        assert command.wait(60) == 130
        assert time.monotonic() - began < 20
        assert patient.stderr is not None
        assert patient.stderr.readline() == line
        assert patient.poll() is None
        mount.answer()
        out, error = patient.communicate(timeout=60)
        assert (patient.returncode, error) == (0, "")
        assert "steady" in out
