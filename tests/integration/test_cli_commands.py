"""What cli.md promises of every command: help, exit codes, JSON, colour, completion, versions."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import Gears
from other_daemon import OLD, other_daemon
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


@pytest.mark.parametrize("length", [256, 257, 400])
def test_a_password_is_not_cut(gears: Gears, length: int) -> None:
    result = gears.run("password", "--stdin", check=False, input="x" * length + "\n")
    settings = gears.home / "user/.jupyter/jupyter_server_config.json"
    if length <= 256:
        assert result.returncode == 0, result.stderr
    else:
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr == (
            "gearsctl: a password has at most 256 bytes; nothing was changed\n"
        )
        assert not settings.exists()


def test_a_password_that_cannot_be_read(gears: Gears) -> None:
    script = 'exec "$0" password --stdin <"$GEARS_HOME"'
    words = ["sh", "-c", script, str(gears.bin / "gearsctl")]
    result = subprocess.run(words, env=gears.environment, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (1, "")
    assert "cannot be read: Is a directory; nothing was changed" in result.stderr


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


def bash_completes(gears: Gears, *words: str) -> list[str]:
    script = (
        "source <(gearsctl completion bash); COMP_WORDS=(gearsctl "
        + " ".join(f"'{word}'" for word in words)
        + "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); compopt() { :; }\n"
        + 'COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}\n'
        + '_gearsctl gearsctl "${COMP_WORDS[COMP_CWORD]}"; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    environment = {**gears.environment, "PATH": f"{gears.bin}:{os.environ['PATH']}"}
    result = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=gears.home,
    )
    assert result.stderr == ""
    return result.stdout.split()


def test_bash_completes_commands_options_and_names(gears: Gears) -> None:
    assert bash_completes(gears, "sta") == ["start", "status"]
    assert set(PROMISED) <= set(bash_completes(gears, ""))
    assert bash_completes(gears, "start", "--wor") == ["--workspace"]
    assert bash_completes(gears, "start", "--workspace", "wo") == ["work"]
    assert bash_completes(gears, "wait", "lab", "--for", "") == ["ready", "stopped"]
    assert bash_completes(gears, "daemon", "st") == ["start", "stop", "status"]
    assert bash_completes(gears, "--no-autostart", "completion", "") == ["bash", "zsh", "fish"]
    assert bash_completes(gears, "signal", "lab", "US") == ["USR1", "USR2"]
    assert bash_completes(gears, "url", "lab", "") == []
    clusters = bash_completes(gears, "attach", "")
    assert clusters == bash_completes(gears, "login", "")
    assert {"andes", "frontier"} <= set(clusters)  # from the site packs
    assert bash_completes(gears, "stop", "lab@an") == ["lab@andes"]
    assert bash_completes(gears, "logout", "--a") == ["--all"]
    assert not gears.processes(), "completion starts nothing"
    assert bash_completes(gears, "start", "") == ["lab"]  # from the configuration
    gears.run("run", "tb", "--", "sleep", "1000")
    assert bash_completes(gears, "stop", "") == ["lab", "tb"]  # from gearsd
    assert bash_completes(gears, "stop", "lab", "t") == ["tb"]
    assert bash_completes(gears, "logs", "g") == ["gearsd"]


def test_bash_completes_behind_an_at_sign(gears: Gears) -> None:
    """For bash the "@" ends a word; what is completed must not say "lab@" twice."""
    environment = {**gears.environment, "PATH": f"{gears.bin}:{os.environ['PATH']}", "PS1": "$ "}
    with Terminal(["bash", "--norc", "--noprofile", "-i"], environment) as terminal:
        terminal.type("source <(gearsctl completion bash); echo ready''now\n")
        terminal.expect("readynow")
        terminal.type("echo '<'; : gearsctl; gearsctl stop --no-wait lab@an\t")
        terminal.expect("lab@andes ")
        assert "lab@lab@" not in terminal.output
        terminal.type("\x15exit\n")
        assert terminal.wait() == 0


def test_zsh_completes(gears: Gears) -> None:
    if not shutil.which("zsh"):
        pytest.skip("zsh is needed")
    environment = {**gears.environment, "PATH": f"{gears.bin}:{os.environ['PATH']}", "PS1": "% "}
    with Terminal(["zsh", "-f", "-i"], environment) as terminal:
        terminal.type("autoload -U compinit; compinit -u -D; source <(gearsctl completion zsh)\n")
        terminal.type("echo ready''now\n")
        terminal.expect("readynow")
        terminal.type("gearsctl ver\t")
        terminal.expect("gearsctl version")
        terminal.type("\x15gearsctl start --work\t")
        terminal.expect("--workspace")
        terminal.type("\x15gearsctl enable lab@an\t")
        terminal.expect("enable lab@andes")
        terminal.type("\x15exit\n")
        assert terminal.wait() == 0


def test_fish_completes(gears: Gears) -> None:
    if not shutil.which("fish"):
        pytest.skip("fish is needed")
    environment = {
        **gears.environment,
        "PATH": f"{gears.bin}:{os.environ['PATH']}",
        "HOME": str(gears.home),
    }

    def completes(line: str) -> list[str]:
        script = f"gearsctl completion fish | source; complete -C '{line}'"
        result = subprocess.run(
            ["fish", "--no-config", "-c", script],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert result.returncode == 0, result.stderr
        return [found.split("\t")[0] for found in result.stdout.splitlines()]

    assert completes("gearsctl sta") == ["start", "status"]
    assert completes("gearsctl start --wor") == ["--workspace"]
    assert completes("gearsctl enable ") == ["lab"]
    assert completes("gearsctl enable lab@an") == ["lab@andes"]
    assert completes("gearsctl takeover fr") == ["frontier"]


def test_another_build_works_where_it_can(gears: Gears) -> None:
    service = {"name": "old", "host": "h", "kind": "command", "wanted": "start", "state": "ready"}
    answers = {
        "Hello": {"parameters": {**OLD, "invented": {"later": True}}},
        "Status": {"parameters": {"epoch": "e", "seq": 1, "services": [{**service, "new": 1}]}},
    }
    with other_daemon(gears, answers):
        status = gears.run("status")
        assert status.stdout.startswith("old\tready\tcommand\t")
        assert status.stderr.startswith("gearsctl: gearsd is build 0.0.9-0123456789ab and this is ")
        assert status.stderr.endswith("; run: gearsctl daemon upgrade\n")
        assert json.loads(gears.run("status", "--json").stdout)["services"][0]["name"] == "old"
        assert "gearsd 0.0.9" in gears.run("version").stdout


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (None, r"gearsd \(build 0.0.9-0123456789ab\) does not know Forward as this gearsctl"),
        (
            {"error": "org.varlink.service.InvalidParameter", "parameters": {"parameter": "port"}},
            r"does not know Forward with port as this gearsctl \(build .*\) says it; run: gearsctl",
        ),
        ("this is not Varlink", r"gearsd answered something that is not Varlink"),
    ],
)
def test_another_build_fails_with_one_line(gears: Gears, answer: Any, line: str) -> None:
    answers = {"Hello": {"parameters": OLD}, "Url": {"parameters": {"path": "/"}}}
    if answer is not None:
        answers["Forward"] = answer
    with other_daemon(gears, answers):
        result = gears.run("forward", "lab", "38900", "--yes", check=False)
    assert result.returncode == 6
    assert re.search(line, result.stderr)
    assert result.stderr.count("\n") == 1


def test_an_old_client_is_told_what_is_unknown(gears: Gears) -> None:
    """The reverse: what an older or newer client says is refused by name, and the rest served."""
    gears.run("daemon", "start")
    path = next(gears.home.glob("run/*/gearsd.sck"))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.settimeout(20)
        stream = client.makefile("rwb", 0)

        def ask(method: str, **parameters: Any) -> Any:
            message = {"method": f"org.gears.Manager.{method}", "parameters": parameters}
            stream.write(json.dumps(message).encode() + b"\0")
            data = b""
            while not data.endswith(b"\0"):
                data += client.recv(65536)
            return json.loads(data[:-1])

        assert ask("Dance")["error"].endswith(".MethodNotFound")
        assert ask("Status", colour="red")["parameters"] == {"parameter": "colour"}
        assert ask("Hello")["parameters"]["home"] == str(gears.home)


def test_a_site_may_switch_gears_off(gears: Gears) -> None:
    site = Path(gears.environment["GEARS_SITE_CONFIG"])
    site.write_text("[defaults]\ndisabled = not on these nodes; write to help@example.org\n")
    result = gears.run("status", check=False)
    site.unlink()
    assert result.returncode == 5
    assert "Gears is disabled on this site: not on these nodes" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("home", "status", "line"),
    [
        ("relative", 1, 'GEARS_HOME is "relative"; it must be an absolute path'),
        ("/", 1, 'GEARS_HOME is "/"; set it to a folder of its own'),
        ("//", 1, 'GEARS_HOME is "/"'),
        ("/proc/nothing", 5, "cannot make /proc/nothing"),
        ("/etc/passwd", 5, "/etc/passwd must be a folder that belongs to you"),
        (f"/tmp/{'x' * 2000}", 1, "GEARS_HOME is longer than"),
    ],
)
def test_a_home_that_cannot_be(gears: Gears, home: str, status: int, line: str) -> None:
    result = subprocess.run(
        [str(gears.bin / "gearsctl"), "status"],
        env={**gears.environment, "GEARS_HOME": home},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (result.returncode, result.stdout) == (status, "")
    assert line in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_home_that_is_read_only(gears: Gears) -> None:
    script = 'mount --bind "$GEARS_HOME" "$GEARS_HOME" && mount -o remount,ro,bind "$GEARS_HOME"'
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    words = [*unshare, "sh", "-c", f'{script} || exit 99; exec "$0" start lab']
    result = subprocess.run(
        [*words, str(gears.bin / "gearsctl")],
        env=gears.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if result.returncode == 99 or "unshare" in result.stderr:
        pytest.skip("the right to mount is needed")
    assert result.returncode == 5
    assert "Read-only file system" in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_entry_for_the_laptop(gears: Gears) -> None:
    entry = gears.run("ssh-config").stdout
    assert re.search(r"^    LocalForward 38888 /.*/lab\.sck$", entry, re.MULTILINE)
