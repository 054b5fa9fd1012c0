"""NAME@CLUSTER: the commands that go through a hop's control socket, with gearsds of Python."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Gears
from fake_gearsd import Call, Hop, hop, service, tunnel
from processes import wait_until


@pytest.fixture
def andes(gears: Gears) -> Iterator[Hop]:
    with hop(gears) as pair:
        yield pair


def replies(**parameters: Any) -> Any:
    return lambda call: call.reply(**parameters)


def test_a_remote_service_is_named_with_its_cluster(gears: Gears, andes: Hop) -> None:
    andes.far.methods["Stop"] = replies(service=service("lab", "stopped"))
    stopped = json.loads(gears.run("stop", "lab@andes", "--json").stdout)
    assert (stopped["service"]["name"], stopped["service"]["cluster"]) == ("lab", "andes")
    assert andes.far.named("Stop") == [{"name": "lab", "wait": True}]
    assert andes.local.named("Stop") == []


@pytest.mark.parametrize(
    ("words", "method", "parameters"),
    [
        (("start", "lab@andes", "--no-wait"), "Start", {"name": "lab", "wait": False}),
        (("restart", "lab@andes"), "Restart", {"name": "lab", "wait": True}),
        (("enable", "lab@andes"), "Enable", {"name": "lab"}),
        (("disable", "lab@andes"), "Disable", {"name": "lab"}),
        (("reset-failed", "lab@andes"), "ResetFailed", {"name": "lab"}),
        (("remove", "tb@andes"), "Remove", {"name": "tb"}),
        (("signal", "lab@andes", "USR1"), "Signal", {"name": "lab", "signal": "USR1"}),
        (
            ("wait", "lab@andes", "--timeout", "5s"),
            "Wait",
            {"name": "lab", "for": "ready", "timeout": 5000},
        ),
    ],
)
def test_commands_reach_the_far_gearsd(
    gears: Gears, andes: Hop, words: tuple[str, ...], method: str, parameters: dict[str, Any]
) -> None:
    andes.far.methods[method] = replies(service=service("lab"))
    gears.run(*words)
    assert andes.far.named(method) == [parameters]
    assert {call.method for call in andes.local.calls} == {"Cluster"}


def test_run_takes_its_words_over_the_hop(gears: Gears, andes: Hop) -> None:
    andes.far.methods["Run"] = replies(service=service("tb"))
    gears.run("run", "tb@andes", "--", "sleep", "7")
    (run,) = andes.far.named("Run")
    assert (run["name"], run["argv"]) == ("tb", ["sleep", "7"])


def test_local_and_remote_names_in_one_command(gears: Gears, andes: Hop) -> None:
    andes.far.methods["Enable"] = andes.local.methods["Enable"] = replies()
    gears.run("enable", "docs", "lab@andes", "tb@andes", "web")
    assert andes.local.named("Enable") == [{"name": "docs"}, {"name": "web"}]
    assert andes.far.named("Enable") == [{"name": "lab"}, {"name": "tb"}]


@pytest.mark.parametrize(
    ("error", "parameters", "status", "line"),
    [
        (
            "NoSuchService",
            {"name": "lba", "hint": "lab"},
            4,
            'there is no service "lba@andes"; did you mean lab@andes?',
        ),
        (
            "NotRunning",
            {"name": "lba", "state": "stopped"},
            3,
            "lba@andes is stopped; run: gearsctl start lba@andes",
        ),
        ("TimedOut", {"name": "lba", "message": "slow"}, 124, "lba@andes: timed out: slow"),
        (
            "Failed",
            {"name": "lba", "message": "no socket; see: gearsctl logs lba"},
            1,
            "lba@andes: no socket; see: gearsctl logs lba@andes",
        ),
        ("Failed", {"name": "lba", "message": "lba is odd"}, 1, "lba@andes is odd"),
        ("Refused", {"message": "the disk is full"}, 1, "lba@andes: the disk is full"),
    ],
)
def test_errors_name_the_cluster(
    gears: Gears, andes: Hop, error: str, parameters: dict[str, str], status: int, line: str
) -> None:
    andes.far.methods["Signal"] = lambda call: call.error(error, **parameters)
    result = gears.run("signal", "lba@andes", "TERM", check=False)
    assert (result.returncode, result.stderr) == (status, f"gearsctl: {line}\n")


def test_an_unknown_cluster(gears: Gears, andes: Hop) -> None:
    for words in (("stop", "lab@ands"), ("status", "lab@ands"), ("forward", "lab@ands")):
        result = gears.run(*words, check=False)
        assert (result.returncode, result.stderr) == (
            4,
            'gearsctl: lab@ands: no cluster "ands" is configured; did you mean andes?\n',
        )
    other = gears.run("login", "zeus", check=False)
    assert other.returncode == 4
    assert other.stderr.startswith('gearsctl: login: no cluster "zeus" is configured; ')
    assert gears.run("stop", "lab@", check=False).returncode == 2


NEEDS = "hop to andes needs your PASSCODE; run: gearsctl login andes"


@pytest.mark.parametrize(
    ("changes", "status", "line"),
    [
        ({"state": "auth-needed", "cause": "auth-needed"}, 7, NEEDS),
        ({"state": "down", "cause": "auth-needed"}, 7, NEEDS),
        ({"state": "down", "wanted": False, "authenticated_at": None}, 7, NEEDS),
        (
            {"state": "down", "cause": "network-down", "message": "no route to host"},
            1,
            "hop to andes is down, network-down: no route to host; see: gearsctl status",
        ),
        (
            {"state": "connecting", "message": "connecting to 10.0.0.3:22"},
            1,
            "hop to andes is connecting: connecting to 10.0.0.3:22; see: gearsctl status",
        ),
        (
            {"state": "down", "cause": "host-key-unknown", "wanted": True},
            7,
            "the host key of andes has to be confirmed; run: gearsctl login andes",
        ),
    ],
)
def test_a_hop_that_is_not_up(
    gears: Gears, andes: Hop, changes: dict[str, Any], status: int, line: str
) -> None:
    andes.tunnel.update(changes)
    for words in (("stop", "lab@andes"), ("logs", "lab@andes"), ("url", "lab@andes")):
        result = gears.run(*words, check=False)
        assert (result.returncode, result.stdout) == (status, "")
        assert result.stderr == f"gearsctl: lab@andes: {line}\n"
    assert andes.far.calls == []
    result = gears.run("status", "lab@andes", check=False)
    assert result.returncode == status
    assert result.stdout.startswith("lab@andes\tunreachable\t")
    assert "\thop: " in result.stdout
    assert result.stderr == f"gearsctl: lab@andes: {line}\n"
    shown = json.loads(gears.run("status", "lab@andes", "--json", check=False).stdout)
    assert shown["services"][0]["state"] == "unreachable"
    assert shown["services"][0]["health"]["layer"] == "hop"
    assert shown["services"][0]["cluster"] == "andes"
    assert shown["tunnels"][0]["state"] == changes["state"]
    assert shown["daemon"] is None


def test_a_silent_hop_is_waited_for_and_said(gears: Gears, andes: Hop) -> None:
    andes.tunnel.update(state="degraded", message="no answer for 90 s")
    andes.far.methods["Enable"] = replies()
    result = gears.run("enable", "lab@andes")
    assert result.stderr == (
        "gearsctl: lab@andes: the hop to andes is silent (no answer for 90 s); waiting for it\n"
    )
    andes.far.methods["Status"] = lambda call: call.wait_closed()
    result = gears.run("status", "lab@andes", check=False)
    assert result.returncode == 1
    assert "unreachable" in result.stdout and "no answer for 90 s" in result.stdout


def test_a_far_gearsd_that_ended_is_started_again(gears: Gears, andes: Hop) -> None:
    died: list[Call] = []

    def die_once(call: Call) -> None:
        if died:
            call.reply(service=service("lab"))
        else:
            died.append(call)
            call.connection.shutdown(2)

    andes.far.methods["Start"] = die_once
    gears.run("start", "lab@andes")
    (login,) = andes.local.named("Login")
    assert (login["cluster"], login["interactive"]) == ("andes", False)
    assert len(andes.far.named("Start")) == 2


def test_another_build_over_there(gears: Gears, andes: Hop) -> None:
    old = {**andes.hello("andes-login3.olcf"), "build": "0.0.9-0123456789ab"}
    andes.far.methods["Hello"] = replies(**old)
    result = gears.run("status", "lab@andes")
    assert "gearsd on andes-login3.olcf is build 0.0.9-0123456789ab and this is" in result.stderr
    result = gears.run("signal", "lab@andes", "TERM", check=False)
    assert result.returncode == 6
    assert "gearsd on andes-login3.olcf (build 0.0.9-0123456789ab) does not know" in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_laptops_address(gears: Gears, andes: Hop) -> None:
    andes.cluster["port"] = 38999
    andes.far.methods["Url"] = replies(
        forward="http://localhost:4000", laptop="http://localhost:38888", token="t0k", path="/lab"
    )
    assert gears.run("url", "lab@andes").stdout == "http://localhost:38999/lab?token=t0k\n"
    shown = json.loads(gears.run("url", "lab@andes", "--json").stdout)
    assert (shown["forward"], shown["cluster"]) == (None, "andes")
    other = gears.run("url", "tb@andes", check=False)
    assert other.returncode == 1
    assert f"LocalForward PORT {gears.home}/run/andes+tb.sck" in other.stderr
    opened = gears.run("url", "lab@andes", "--open", check=False)
    assert (opened.returncode, opened.stdout) == (1, "")
    assert "t0k" not in opened.stderr


def test_no_port_over_a_hop(gears: Gears, andes: Hop) -> None:
    result = gears.run("forward", "lab@andes", check=False)
    assert result.returncode == 1
    assert f"{gears.home}/run/andes.sck" in result.stderr
    assert result.stderr.count("\n") == 1
    other = gears.run("forward", "tb@andes", check=False)
    assert other.returncode == 1
    assert 'with "forward = tb" in [cluster:andes]' in other.stderr
    assert f"LocalForward PORT {gears.home}/run/andes+tb.sck" in other.stderr


def test_logs_and_events_over_a_hop(gears: Gears, andes: Hop) -> None:
    line = {"at": 1_790_000_000_000_000, "stream": "o", "text": "hello"}
    andes.far.methods["Logs"] = replies(lines=[line], truncated=False)
    event = {"epoch": "e", "seq": 1, "at": 1_790_000_000_000_000, "event": "ready", "message": "m"}
    events = [{**event, "service": "lab"}, event, {**event, "service": "tb"}]
    andes.far.methods["Events"] = replies(events=events)
    assert gears.run("logs", "lab@andes").stdout == "hello\n"
    assert json.loads(gears.run("logs", "lab@andes", "--json").stdout)["cluster"] == "andes"
    every = [row.split("\t")[1] for row in gears.run("events", "@andes").stdout.splitlines()]
    assert every == ["lab@andes", "gearsd@andes", "tb@andes"]
    one = [row.split("\t")[1] for row in gears.run("events", "lab@andes").stdout.splitlines()]
    assert one == ["lab@andes"]
    wrong = gears.run("events", "lba@andes", "-f", check=False)
    assert (wrong.returncode, wrong.stdout) == (4, "")
    assert wrong.stderr == ('gearsctl: there is no service "lba@andes"; did you mean lab@andes?\n')


def test_events_of_a_hop_by_its_clusters_name(gears: Gears, andes: Hop) -> None:
    event = {"epoch": "e", "seq": 1, "at": 1_790_000_000_000_000, "event": "up"}
    messages = ["andes: down → up", "frontier: down → up", "andes-2: down → up", "andes: silent"]
    events = [{**event, "message": message} for message in messages]
    events.append({**event, "service": "docs", "message": "andes: not a hop's"})
    andes.local.methods["Events"] = replies(events=events)
    shown = gears.run("events", "andes").stdout.splitlines()
    assert [row.split("\t")[3] for row in shown] == ["andes: down → up", "andes: silent"]
    assert len(gears.run("events", "gearsd").stdout.splitlines()) == 4
    assert len(gears.run("events", "docs").stdout.splitlines()) == 1


def test_events_of_what_was_removed(gears: Gears, andes: Hop) -> None:
    event = {"epoch": "e", "seq": 1, "at": 1_790_000_000_000_000, "event": "removed"}
    andes.far.methods["Events"] = replies(events=[{**event, "service": "old", "message": "m"}])
    assert gears.run("events", "old@andes").stdout.split("\t")[1:] == [
        "old@andes",
        "removed",
        "m\n",
    ]
    follows = gears.run("events", "old@andes", "-f", check=False)
    assert (follows.returncode, follows.stdout) == (4, "")


def test_status_shows_all_that_is_reached(gears: Gears, andes: Hop) -> None:
    # The cluster has a second to answer: too little on a busy machine.
    services, hops = wait_until(
        lambda: "lab@andes" in (said := gears.run("status").stdout) and said.split("\n\n"),
        "the service there",
    )
    assert [row.split("\t")[0] for row in services.splitlines()] == ["docs", "lab@andes"]
    assert hops.startswith("andes\tup\tandes-login3.olcf\t")
    assert re.search(r"\t2\t31ms\t\n$", hops)

    def shown_services() -> dict[str, Any] | None:
        shown = json.loads(gears.run("status", "--json").stdout)
        return shown if len(shown["services"]) > 1 else None

    shown = wait_until(shown_services, "the service there")
    assert [(s["name"], s["cluster"]) for s in shown["services"]] == [
        ("docs", None),
        ("lab", "andes"),
    ]
    (hop_shown,) = shown["tunnels"]
    promised = "cluster host state cause since reconnects rtt_ms connections bytes_in bytes_out"
    assert set(promised.split()) | {"authenticated_at"} <= set(hop_shown)
    assert "control" not in hop_shown
    assert hop_shown["since"] == "2026-09-21T14:13:20Z"


def test_status_waits_a_second_for_a_cluster_at_most(gears: Gears, andes: Hop) -> None:
    andes.far.methods["Status"] = lambda call: call.wait_closed()
    result = gears.run("status")
    assert [row.split("\t")[0] for row in result.stdout.splitlines()] == ["docs", "", "andes"]


def test_a_hop_nobody_wanted_is_not_shown(gears: Gears, andes: Hop) -> None:
    andes.tunnel = tunnel(state="down", wanted=False, authenticated_at=None)
    assert gears.run("status").stdout.count("\n") == 1
    assert json.loads(gears.run("status", "--json").stdout)["tunnels"][0]["state"] == "down"
