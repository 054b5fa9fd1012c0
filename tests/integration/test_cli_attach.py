"""attach and ssh-config: what the laptop's entry runs, and the entry itself; make's targets."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import random
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import SOURCE, Gears
from fake_gearsd import Call, Hop, hop, service, tunnel
from processes import wait_until
from terminal import Terminal


@pytest.fixture
def andes(gears: Gears) -> Iterator[Hop]:
    with hop(gears) as pair:
        pair.far.methods["Start"] = lambda call: call.reply(service=service("lab"))
        yield pair


def attach(gears: Gears, *words: str, **environment: str) -> Terminal:
    words = (str(gears.bin / "gearsctl"), "attach", "andes", *words)
    return Terminal(list(words), {**gears.environment, **environment})


def test_attach_without_a_terminal_ends_when_all_is_up(gears: Gears, andes: Hop) -> None:
    andes.cluster["port"] = 38999
    for _ in range(2):
        result = gears.run("attach", "andes")
        assert result.stdout == "http://localhost:38999\n"
        assert "with its token: gearsctl url lab@andes" in result.stderr
    assert [call["name"] for call in andes.far.named("Start")] == ["lab", "lab"]
    assert andes.local.named("Login") == []


def test_attach_asks_only_if_needed(gears: Gears, andes: Hop) -> None:
    andes.tunnel.update(state="down", cause="auth-needed")
    up = tunnel(control=str(andes.control))

    def login(call: Call) -> None:
        andes.tunnel = up
        call.reply(tunnel=up)

    andes.local.methods["Login"] = login
    gears.run("attach", "andes")
    assert len(andes.local.named("Login")) == 1


def test_attach_on_the_wrong_hub(gears: Gears, andes: Hop) -> None:
    andes.tunnel["held_by"] = "hub2.ccs"
    result = gears.run("attach", "andes", check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "gearsctl: attach: run/andes.sck is on hub2.ccs; run: ssh hub2.ccs -t"
        f" {gears.bin}/gearsctl attach andes; or have it here: gearsctl takeover andes\n"
    )
    assert andes.far.calls == []


def test_attach_shows_it_live(gears: Gears, andes: Hop) -> None:
    with attach(gears) as screen:
        screen.expect("lab@andes ready since")
        screen.expect("hop up since")
        assert "q leaves" in screen.output
        screen.type("q")
        assert screen.wait() == 0
        assert screen.echoes()
    with attach(gears, TERM="dumb") as screen:
        screen.expect("q leaves\r\n")
        screen.type("\x03")
        assert screen.wait() == 130
        assert screen.echoes()
        assert "\x1b" not in screen.output


def test_attach_sees_the_hop_go_and_logs_in_again(gears: Gears, andes: Hop) -> None:
    gone = threading.Event()

    def status(call: Call) -> None:
        call.reply(True, epoch="e", seq=1, services=[], tunnels=[andes.tunnel])
        if not gone.is_set():
            assert gone.wait(60)
            andes.tunnel.update(state="down", cause="auth-needed", message="session ended")
            call.reply(True, epoch="e", seq=2, services=[], tunnels=[andes.tunnel])

    def login(call: Call) -> None:
        andes.tunnel.update(state="up", cause=None, message=None)
        call.reply(tunnel=andes.tunnel)

    andes.local.methods.update(Status=status, Login=login)
    with attach(gears) as screen:
        screen.expect("lab@andes ready")
        gone.set()
        screen.expect("Enter logs in, q leaves")
        screen.type("\n")
        screen.output = ""
        screen.expect("lab@andes ready")
        screen.type("q")
        assert screen.wait() == 0
    assert len(andes.local.named("Login")) == 1


def parked(andes: Hop) -> list[threading.Event]:
    """All connections of this host's gearsd end when an event is set, as when it dies."""
    ends = [threading.Event(), threading.Event()]
    left = iter(ends)

    def status(call: Call) -> None:
        call.reply(True, epoch="e", seq=1, services=[], tunnels=[andes.tunnel])
        end = next(left, None)
        if end:
            assert end.wait(60)
            for connection in andes.local.connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    andes.local.methods["Status"] = status
    return ends


def test_attach_logs_in_for_nobody(gears: Gears, andes: Hop) -> None:
    """This host's gearsd is replaced while the terminal waits in tmux: nobody is there to ask."""
    ends = parked(andes)
    with attach(gears) as screen:
        screen.expect("lab@andes")
        andes.tunnel.update(state="auth-needed", cause="auth-needed")
        for end in ends:
            screen.forget()
            end.set()
            screen.expect("Enter logs in, q leaves")
        assert andes.local.named("Login") == []
        screen.type("\n")
        wait_until(lambda: andes.local.named("Login"), "a login that somebody wants")
        screen.expect("lab@andes")
        screen.type("q")
        screen.wait()
    assert [call["interactive"] for call in andes.local.named("Login")] == [True]


def test_attach_loses_what_is_behind_the_hop_first(gears: Gears, andes: Hop) -> None:
    """The far gearsd's connection ends before anybody has said that the hop did."""

    def far(call: Call) -> None:
        andes.tunnel.update(state="auth-needed", cause="auth-needed")
        call.connection.shutdown(socket.SHUT_RDWR)

    andes.far.methods["Status"] = far
    with attach(gears) as screen:
        screen.expect("Enter logs in, q leaves")
        screen.type("q")
        assert screen.wait() == 0
    assert andes.local.named("Login") == []


def everything_run() -> str:
    lines = ""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines += path.read_text(errors="replace")
    return lines


@pytest.mark.parametrize("leave", ["q", "\x03"])
def test_a_login_shell_follows(gears: Gears, andes: Hop, leave: str) -> None:
    """For who came by ssh: whatever happens, the first hop's PASSCODE was not in vain."""
    name = Path(pwd.getpwuid(os.geteuid()).pw_shell).name
    (gears.home / "user/.profile").write_text("PS1='your shell> '\n")
    with attach(gears, "--shell") as screen:
        screen.expect("q leaves")
        screen.type(leave)
        screen.expect("your shell> ")
        screen.type("echo it''is $0 $GEARS_HOME\n")
        screen.expect(f"itis -{name} {gears.home}")
        long = str(random.randrange(10**6, 10**9))  # another run has its own
        screen.type(f"sleep {long}\n")
        wait_until(lambda: f"sleep\0{long}" in everything_run(), "the program in that shell")
        screen.forget()
        screen.type("\x03")
        screen.expect("your shell> ")
        screen.type("exit 5\n")
        assert screen.wait() == 5
    andes.tunnel["held_by"] = "hub2.ccs"
    with attach(gears, "--shell") as screen:
        screen.expect("your shell> ")
        assert "on your laptop: ssh -o HostName=hub2.ccs andes-jupyter;" in screen.output
        screen.type("exit 6\n")
        assert screen.wait() == 6


def options(entry: str, alias: str, folder: Path) -> dict[str, list[str]]:
    """What OpenSSH understands of an entry."""
    config = folder / "ssh_config"
    config.write_text(entry)
    words = ["ssh", "-G", "-F", str(config), alias]
    result = subprocess.run(words, capture_output=True, text=True, check=True)
    found: dict[str, list[str]] = {}
    for line in result.stdout.splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key, []).append(value)
    return found


def test_the_entry_for_a_cluster(gears: Gears, andes: Hop, tmp_path: Path) -> None:
    andes.cluster.update(hub="hub.example.org", port=38999)
    entry = gears.run("ssh-config", "andes").stdout
    found = options(entry, "andes-jupyter", tmp_path)
    name = socket.gethostname()
    assert found["hostname"] == [name if "." in name else "hub.example.org"]
    assert found["user"] == [pwd.getpwuid(os.geteuid()).pw_name]
    assert found["localforward"] == [f"38999 {gears.home}/run/andes.sck"]
    assert found["exitonforwardfailure"] == ["yes"]
    assert found["serveraliveinterval"] == ["15"] and found["serveralivecountmax"] == ["3"]
    assert found["controlmaster"] == ["false"]
    assert found["forwardagent"] == ["no"]
    assert found["requesttty"] in (["yes"], ["true"])
    assert found["remotecommand"] == [f"{gears.bin}/gearsctl attach andes --shell"]
    for words in ("second window", "scp, rsync and VS Code", "PuTTY", "gearsctl url lab@andes"):
        assert words in entry
    other = options(entry, "hub.example.org", tmp_path)
    assert "remotecommand" not in other and "localforward" not in other


def test_the_real_name_of_the_hub_is_pinned(gears: Gears, andes: Hop, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "--uts", "true"], capture_output=True).returncode:
        pytest.skip("the right to make namespaces is needed")
    andes.cluster["hub"] = "hub.example.org"

    def entry(node: str) -> str:
        host = ".".join(node.split(".")[:2])
        run = andes.local.path.parent
        link = run.parent / host
        if not link.exists():
            link.symlink_to(run)
        script = f'hostname {node}; exec "$0" ssh-config andes'
        words = ["unshare", "--uts", "sh", "-ec", script, str(gears.bin / "gearsctl")]
        return subprocess.run(
            words, env=gears.environment, capture_output=True, text=True, check=True
        ).stdout

    real = entry("hub3.example.org")
    assert options(real, "andes-jupyter", tmp_path)["hostname"] == ["hub3.example.org"]
    assert "write HostName hub.example.org" in real
    for inner in ("hub3", "hub3.cluster.local"):
        shared = entry(inner)
        assert options(shared, "andes-jupyter", tmp_path)["hostname"] == ["hub.example.org"]


def test_straight_to_the_login_node(gears: Gears, andes: Hop, tmp_path: Path) -> None:
    refused = gears.run("ssh-config", "andes", "--direct", check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "direct = no" in refused.stderr
    andes.cluster["direct"] = True
    first = gears.run("ssh-config", "andes", "--direct")
    assert "lab lives on no login node of andes yet" in first.stderr
    entry = first.stdout
    found = options(entry, "andes-direct", tmp_path)
    assert found["hostname"] == ["andes-login1.example.org"]
    assert found["localforward"] == [f"38888 {gears.home}/run/andes-login1.example/lab.sck"]
    assert found["remotecommand"] == [f"{gears.bin}/gearsctl start lab; exec $SHELL -l"]
    andes.cluster["node"] = "andes-login7.example.org"
    entry = gears.run("ssh-config", "andes", "--direct").stdout
    assert options(entry, "andes-direct", tmp_path)["hostname"] == ["andes-login7.example.org"]

    # Without a hop, the shared home tells: a lab is wanted on another login node.
    records = gears.home / "state/andes-login2.example/service"
    records.mkdir(parents=True)
    (records / "lab.rec").write_text("gears-record 1\nservice=lab\nwanted=1\nend 2\n")
    entry = gears.run("ssh-config", "andes", "--direct")
    assert entry.stderr == ""
    found = options(entry.stdout, "andes-direct", tmp_path)
    assert found["hostname"] == ["andes-login2.example.org"]
    assert found["localforward"] == [f"38888 {gears.home}/run/andes-login2.example/lab.sck"]

    # A common name without members is no node's name.
    andes.cluster.update(members=[], node=None)
    refused = gears.run("ssh-config", "andes", "--direct", check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        "gearsctl: andes: no login node is known by a name of its own; run there: gearsctl"
        " ssh-config\n"
    )


def test_straight_to_this_host(gears: Gears, andes: Hop, tmp_path: Path) -> None:
    """On a login node of a cluster that no hub is used for."""
    host = andes.local.path.parent.name
    andes.cluster.update(direct=True, members=["andes-login1.example.org", host])
    entry = gears.run("ssh-config", "andes", "--direct").stdout
    found = options(entry, "andes-direct", tmp_path)
    assert found["hostname"] == [host]
    assert found["localforward"] == [f"38888 {andes.local.path.parent}/lab.sck"]


def test_a_socket_out_of_reach_is_refused(gears: Gears, andes: Hop) -> None:
    andes.cluster["name"] = "a" * 110
    result = gears.run("ssh-config", "andes", check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert "too long a path" in result.stderr


def report(gears: Gears, *words: str) -> dict[str, Any]:
    output = gears.run("daemon", "report", "--cluster", "andes", *words).stdout
    match = re.fullmatch(r"\n@gears-report 1 (\{.*\})\n", output)
    assert match, output
    found: dict[str, Any] = json.loads(match[1])
    return found


def test_the_report_of_a_login_node(gears: Gears) -> None:
    found = report(gears)
    hello = json.loads(gears.run("daemon", "status", "--json").stdout)
    for key in ("host", "boot_id", "build", "version", "pid", "home"):
        assert found[key] == hello[key]
    assert Path(found["socket"]).is_socket()
    assert Path(found["run"]) == Path(found["socket"]).parent
    assert found["gearsctl_build"] == json.loads(gears.run("version", "--json").stdout)["build"]
    node = os.uname().nodename
    assert found["node"] == (node if "." in node else None)
    record = gears.home / "state" / found["host"] / "cluster"
    first = record.read_text()
    assert "cluster=andes\n" in first and f"node={node}\n" in first
    before = record.stat()
    assert report(gears)["pid"] == found["pid"]
    assert record.stat().st_ino == before.st_ino, "written only when it changes"
    gears.run("daemon", "report", "--cluster", "frontier")
    assert "cluster=frontier\n" in record.read_text()


def test_a_report_that_cannot_be_made_is_one_line(gears: Gears) -> None:
    result = gears.run("--no-autostart", "daemon", "report", "--cluster", "andes", check=False)
    assert (result.returncode, result.stdout) == (5, "")
    assert result.stderr.count("\n") == 1
    assert gears.run("daemon", "report", "--cluster", "No No", check=False).returncode == 2


def make(gears: Gears, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "-f", str(SOURCE / "contrib/Makefile"), *words],
        env={**gears.environment, **environment},
        cwd=gears.home,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_commands_of_the_original(gears: Gears, andes: Hop) -> None:
    program = str(gears.bin / "gearsctl")
    targets = ("init", "password", "ssh-config", "andes-lab", "andes-lab-shutdown")
    listed = make(gears, "help").stdout
    assert make(gears).stdout == listed
    assert all(f"make {target} " in listed for target in targets)
    andes.far.methods["Stop"] = lambda call: call.reply(service=service("lab", "stopped"))
    lab = make(gears, "andes-lab", GEARSCTL=program)
    assert (lab.returncode, lab.stdout) == (0, "http://localhost:38888\n")
    assert "Host andes-jupyter" in make(gears, "ssh-config", GEARSCTL=program).stdout
    assert make(gears, "andes-lab-shutdown", GEARSCTL=program).returncode == 0
    assert andes.far.named("Stop")
    shown = make(gears, "-n", *targets, GEARSCTL="gearsctl").stdout.splitlines()
    assert shown == [
        "gearsctl init",
        "gearsctl password",
        "gearsctl ssh-config andes",
        "gearsctl attach andes",
        "gearsctl stop lab@andes",
    ]
    other = make(gears, "-n", *targets, "GEARSCTL=gearsctl", "CLUSTER=frontier").stdout
    assert other.splitlines()[2:] == [
        "gearsctl ssh-config frontier",
        "gearsctl attach frontier",
        "gearsctl stop lab@frontier",
    ]
