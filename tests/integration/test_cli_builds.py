"""A gearsctl and a gearsd of different builds, each older than the other."""

from __future__ import annotations

import json
import re
import socket
from typing import Any

import pytest
from conftest import Gears
from other_daemon import OLD, other_daemon


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
