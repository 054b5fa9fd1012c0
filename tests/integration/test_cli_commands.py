"""What cli.md promises of every command: help, exit codes, JSON, colour."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest
from conftest import Gears
from processes import wait_until
from terminal import Terminal

PROMISED = [
    "start",
    "stop",
    "restart",
    "enable",
    "disable",
    "status",
    "logs",
    "url",
    "events",
    "wait",
    "run",
    "signal",
    "reset-failed",
    "remove",
    "forward",
    "init",
    "password",
    "login",
    "logout",
    "attach",
    "takeover",
    "ssh-config",
    "daemon",
    "config",
    "call",
    "completion",
    "doctor",
    "uninstall",
    "version",
]
LATER = [
    "pool",
    "env",
    "workspace",
    "data",
    "team",
    "share",
    "unshare",
]


@pytest.mark.parametrize("command", [*PROMISED, *LATER])
def test_every_command_has_help_with_an_example(gears: Gears, command: str) -> None:
    for words in ((command, "--help"), ("help", command), (command, "x", "-h")):
        text = gears.run(*words).stdout
        assert text.startswith(f"usage: gearsctl {command}")
        assert re.search(rf"^Example: .*gearsctl {command}", text, re.MULTILINE)
        options = set(re.findall(r"\[(-[-a-z]+)", text.splitlines()[0])) - {"--json"}
        explained = text.split("\n", 1)[1]
        assert not [option for option in options if option not in explained]
    assert not list(gears.home.glob("run/*")), "help starts nothing"


def test_the_list_names_what_there_is(gears: Gears) -> None:
    listed = re.findall(r"^  ([a-z-]+) ", gears.run("--help").stdout, re.MULTILINE)
    assert set(PROMISED) <= set(listed)
    assert not set(LATER) & set(listed)
    assert gears.run(check=False).returncode == 2


@pytest.mark.parametrize(
    ("words", "status", "line"),
    [
        (("login", "zeus"), 4, 'login: no cluster "zeus" is configured'),
        (("attach", "zeus"), 4, 'attach: no cluster "zeus" is configured'),
        (("logout", "zeus"), 4, 'logout: no cluster "zeus" is configured'),
        (("takeover", "zeus"), 4, 'takeover: no cluster "zeus" is configured'),
        (("attach",), 2, "attach: one CLUSTER is needed; usage: gearsctl attach CLUSTER"),
        (("pool", "list"), 1, "pool: Dask pools are not part of this version"),
        (("start", "lab@zeus"), 4, 'lab@zeus: no cluster "zeus" is configured'),
        (("signal", "lab@zeus", "TERM"), 4, 'no cluster "zeus"'),
        (("login",), 2, "login: one CLUSTER is needed; usage: gearsctl login CLUSTER"),
        (("login", "a", "b"), 2, "login: one CLUSTER only"),
        (("login", "a", "--node"), 2, "login: --node needs a value"),
        (("daemon", "report"), 2, "report needs --cluster NAME"),
        (("strat",), 2, 'no command "strat"; did you mean start?'),
        (("--bogus",), 2, "unknown option --bogus"),
        (("--color=sometimes", "status"), 2, "say auto, always or never"),
        (("start",), 2, "start: a NAME is missing; usage: gearsctl start NAME"),
        (("start", "lab", "--bogus"), 2, "start: unknown option --bogus; usage:"),
        (("stop", "lab", "--workspace", "x"), 2, "stop: unknown option --workspace"),
        (("start", "lab", "--timeout"), 2, "start: --timeout needs a value"),
        (("start", "lab", "--timeout", "soon"), 2, "soon"),
        (("start", "lba"), 4, 'no service "lba"; did you mean lab?'),
        (("status", "nothing"), 4, 'no service "nothing"; see: gearsctl status'),
        (("status", "lab"), 3, ""),
        (("status", "a", "b"), 2, "one NAME at most"),
        (("logs",), 2, "a NAME is missing"),
        (("logs", "lab", "-n", "many"), 2, "many"),
        (("logs", "lab", "-n"), 2, "logs: -n needs a value"),
        (("logs", "lab", "--since"), 2, "logs: --since needs a value"),
        (("daemon", "stop", "now"), 2, "daemon: unexpected now"),
        (("ssh-config", "--nope"), 2, "ssh-config: unknown option --nope"),
        (("events", "--all"), 2, "events: unknown option --all"),
        (("wait", "lab", "--for", "lunch"), 1, '"ready" or "stopped"'),
        (("wait", "lab", "--timeout", "100ms", "--for", "ready"), 1, "stopped"),
        (("run", "x"), 2, "a NAME, then -- and a command are needed"),
        (("run", "Bad Name", "--", "true"), 1, "Bad Name"),
        (("signal", "lab", "USR1"), 3, "lab is stopped; run: gearsctl start lab"),
        (("signal", "lab", "NONE"), 2, "NONE"),
        (("url", "lab", "--opne"), 2, "url: unknown option --opne"),
        (("daemon", "launch"), 2, "say start, stop, restart, upgrade or status"),
        (("daemon", "stop", "--now"), 2, "daemon: unknown option --now"),
        (("daemon", "stop", "--services"), 7, "run: gearsctl daemon stop --services --yes"),
        (("--no-autostart", "status"), 5, "gearsd does not run on"),
        (("config",), 2, "say check or show"),
        (("call",), 2, "a METHOD is needed"),
        (("call", "org.gears.Manager.AnswerPrompt"), 2, "AnswerPrompt carries secrets"),
        (("completion", "tcsh"), 2, "say bash, zsh or fish"),
        (("ssh-config", "zeus"), 4, 'no cluster "zeus"'),
        (("password",), 7, "gearsctl password --stdin"),
        (("password", "--stdin"), 1, "no password stands on standard input; nothing was changed"),
        (("start", "lab", "--timeout=soon"), 2, '"soon"'),
        (("start", "lab", "--no-wait=yes"), 2, "start: --no-wait takes no value; usage:"),
        (("start", "lab", "--bogus=1"), 2, "start: unknown option --bogus=1; usage:"),
        (("logs", "lab", "-nmany"), 2, '"many"'),
        (("logs", "lab", "-fx"), 2, "logs: unknown option -fx; usage:"),
        (("--color", "sometimes", "status"), 2, "say auto, always or never"),
        (("ssh-config", "--direct"), 2, "ssh-config: --direct needs a CLUSTER; usage:"),
        (("events", "lba"), 4, 'no service "lba"; did you mean lab?'),
        (("events", "lba", "-f"), 4, 'no service "lba"; did you mean lab?'),
        (("logs", "andes"), 4, "andes is a cluster, not a service; see: gearsctl status @andes"),
        (("status", "andes"), 4, "gearsctl attach andes"),
        (("stop", "@andes"), 2, '"@andes" names no service; say NAME or NAME@CLUSTER'),
        (("start", "@andes"), 2, '"@andes" names no service'),
        (("logs", "@andes"), 2, '"@andes" names no service'),
        (("doctor", "--bundle="), 2, "doctor: --bundle needs a FILE"),
        (("attach", "lab@andes"), 4, 'attach: no cluster "lab@andes" is configured; did you mean'),
        (("remove", "lab"), 1, "lab"),
    ],
)
def test_wrong_words(gears: Gears, words: tuple[str, ...], status: int, line: str) -> None:
    with subprocess.Popen(
        ["setsid", "--wait", str(gears.bin / "gearsctl"), *words],
        env=gears.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        out, error = process.communicate(timeout=60)
    assert (process.returncode, line in error) == (status, True), out + error
    if line:
        assert out == ""
        assert error.startswith("gearsctl: ")
        assert error.count("\n") == 1


def test_one_wrong_name_stops_nothing_else(gears: Gears) -> None:
    for name in ("ta", "tb"):
        gears.run("run", name, "--", "sleep", "1000")
    result = gears.run("stop", "lba", "ta", "lbb", "tb", check=False)
    assert (result.returncode, result.stderr.count("there is no service")) == (4, 2)
    assert [gears.status(name)["state"] for name in ("ta", "tb")] == ["stopped", "stopped"]


def test_options_as_people_write_them(gears: Gears) -> None:
    say = "i=0; while [ $i -lt 150 ]; do echo line $i; i=$((i + 1)); done; exec sleep 1000"
    gears.run("run", "tb", "--timeout=20s", "--kind=command", "--", "sh", "-c", say)
    wait_until(lambda: "line 149" in gears.run("logs", "tb").stdout, "all its lines")
    newest = [f"line {n}" for n in range(145, 150)]
    for words in (("-n5",), ("-n", "5")):
        assert gears.run("logs", "tb", *words).stdout.splitlines() == newest
    follow = subprocess.Popen(
        [str(gears.bin / "gearsctl"), "logs", "tb", "-fn", "5"],
        env=gears.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert follow.stdout
    assert [follow.stdout.readline().strip() for _ in range(5)] == newest
    follow.terminate()
    follow.communicate(timeout=20)
    assert len(gears.run("logs", "tb").stdout.splitlines()) == 100
    # Since then means all since then.
    assert len(gears.run("logs", "tb", "--since=1h").stdout.splitlines()) >= 150
    assert len(gears.run("logs", "tb", "--since=1h", "-n120").stdout.splitlines()) == 120
    # What stands behind "--" is somebody else's.
    gears.run("run", "echo", "--", "sh", "-c", "echo $0 $1; exec sleep 1000", "-n5", "--x=y")
    wait_until(lambda: "-n5 --x=y" in gears.run("logs", "echo").stdout, "its words")


def test_a_closed_stdout_is_no_socket_of_ours(gears: Gears) -> None:
    script = 'exec "$0" status >&-'
    words = ["sh", "-c", script, str(gears.bin / "gearsctl")]
    result = subprocess.run(words, env=gears.environment, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (
        1,
        "gearsctl: cannot write the output: Bad file descriptor\n",
    )


def call(gears: Gears, method: str, parameters: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(gears.bin / "gearsctl"), "call", method],
        env=gears.environment,
        input=parameters,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_calls_by_hand(gears: Gears) -> None:
    assert json.loads(call(gears, "Hello", "").stdout)["home"] == str(gears.home)
    assert json.loads(call(gears, "Status", '{"name":"lab"}').stdout)["services"]
    assert call(gears, "Nothing", "{}").returncode == 2
    wrong = call(gears, "Start", '{"name":7}')
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "gearsctl: Start: gearsd refuses the call: InvalidParameter name\n",
    )
    assert call(gears, "Status", "[]").returncode == 2


def test_json_has_its_schema_everywhere(gears: Gears) -> None:
    gears.run("run", "web", "--", "python3", "-m", "http.server", "--bind", "127.0.0.1", "{port}")
    objects: list[Any] = []
    for words in (
        "status",
        "status web",
        "url web",
        "forward web --yes",
        "forward web --remove",
        "daemon status",
        "version",
        "config show",
        "config check",
        "enable web",
        "disable web",
        "stop web",
        "restart web",
        "wait web",
    ):
        objects.append(json.loads(gears.run(*words.split(), "--json").stdout))
    for words in ("events", "logs gearsd", "logs relay"):
        lines = gears.run(*words.split(), "--json").stdout.splitlines()
        assert lines
        objects += [json.loads(line) for line in lines]
    assert all(item["schema"] == 1 for item in objects)
    status = objects[0]
    assert {"host", "daemon", "services", "tunnels", "pools"} <= set(status)
    keys = "name cluster host kind wanted state since health pid restarts exit socket url env"
    keys += " workspace connections bytes_in bytes_out build memory_bytes cpu_s"
    assert set(keys.split()) <= set(status["services"][0])
    assert objects[1]["services"][0]["memory_bytes"] > 0
    assert set(objects[0]["daemon"]) >= {"version", "pid", "uptime_s"}


def test_every_mistake_of_the_configuration_is_named(gears: Gears) -> None:
    conf = gears.home / "etc/gears.conf"
    conf.write_text("[service:a]\nkind = command\ncomand = x\nstop_timeout = soon\n")
    result = gears.run("config", "check", check=False)
    assert result.returncode == 1
    assert f"{conf}:3:" in result.stderr
    assert f"{conf}:4:" in result.stderr
    found = json.loads(gears.run("config", "check", "--json", check=False).stdout)
    assert (found["ok"], len(found["errors"])) == (False, len(result.stderr.splitlines()))


def test_colour_is_for_terminals_that_have_it(gears: Gears) -> None:
    gears.run("run", "steady", "--", "sleep", "1000")
    program = str(gears.bin / "gearsctl")

    def shows_colour(words: list[str], **environment: str) -> bool:
        with Terminal([program, *words], {**gears.environment, **environment}) as terminal:
            assert terminal.wait() == 0
            assert "steady" in terminal.output
            assert "ready" in terminal.output
            return "\033[" in terminal.output

    plain = {"NO_COLOR": "", "TERM": "xterm"}
    assert shows_colour(["status"], **plain)
    assert not shows_colour(["status"], NO_COLOR="1", TERM="xterm")
    assert not shows_colour(["status"], NO_COLOR="", TERM="dumb")
    assert not shows_colour(["--color=never", "status"], **plain)
    assert not shows_colour(["--color", "never", "status"], **plain)
    assert shows_colour(["status", "--color=always"], NO_COLOR="1", TERM="dumb")
    assert "\033[" not in gears.run("status").stdout
    assert gears.run("status").stdout.split("\t")[:2][0] in ("lab", "steady")
