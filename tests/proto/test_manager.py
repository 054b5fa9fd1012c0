"""The real gearsd, read and called by a client that is not ours (PyPI varlink)."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import varlink

SOURCE = Path(__file__).parents[2]
BIN = Path(os.environ.get("GEARS_BIN", SOURCE / "build/release/bin"))
NAME = "org.gears.Manager"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A gearsd in a home of its own; socket paths must be short, so not in pytest's folder."""
    with tempfile.TemporaryDirectory(prefix="g") as home:
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("GEARS_")},
            "GEARS_HOME": home,
            "GEARS_SITE_CONFIG": f"{home}/no-site.conf",
        }

        def gearsctl(*words: str) -> None:
            subprocess.run(
                [str(BIN / "gearsctl"), *words],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=60,
                check=True,
            )

        gearsctl("daemon", "start")
        (path,) = Path(home).glob("run/*/gearsd.sck")
        yield f"unix:{path}"
        with varlink.Client(f"unix:{path}") as client, client.open(NAME) as con:
            pid = os.pidfd_open(con.Hello()["pid"])
        gearsctl("daemon", "stop", "--services", "--yes")
        assert select.select([pid], [], [], 30)[0], "gearsd does not end"
        os.close(pid)


def test_description_is_the_file(address: str) -> None:
    with varlink.Client(address) as client:
        assert NAME in client.get_interfaces()
        with client.open("org.varlink.service") as con:
            told = con.GetInterfaceDescription(NAME)["description"]
    assert told == (SOURCE / f"proto/{NAME}.varlink").read_text()


def test_hello_and_status(address: str) -> None:
    with varlink.Client(address) as client, client.open(NAME) as con:
        hello = con.Hello()
        assert hello["pid"] > 1
        assert "version" in hello and "capabilities" in hello
        (lab,) = con.Status()["services"]
        assert (lab["name"], lab["wanted"], lab["state"]) == ("lab", "stop", "stopped")


def test_stream_begins_with_everything(address: str) -> None:
    with varlink.Client(address) as client, client.open(NAME) as con:
        first = next(iter(con.Status(_more=True)))
        assert [service["name"] for service in first["services"]] == ["lab"]


# Each reads its other parameters after it has refused the name.
@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("Start", ()),
        ("Stop", ()),
        ("Restart", ()),
        ("Enable", ()),
        ("Signal", ("TERM",)),
        ("ResetFailed", ()),
        ("Remove", ()),
        ("Wait", ("ready", 2)),
        ("Logs", (5,)),
        ("Url", ()),
        ("Forward", ()),
    ],
)
def test_an_unknown_service_is_an_error(
    address: str, method: str, rest: tuple[str | int, ...]
) -> None:
    with varlink.Client(address) as client, client.open(NAME) as con:
        with pytest.raises(varlink.VarlinkError) as unknown:
            getattr(con, method)("absent", *rest)
        assert unknown.value.error() == f"{NAME}.NoSuchService"
        assert unknown.value.parameters()["name"] == "absent"
        assert con.Hello()["pid"] > 1


def test_a_wrong_parameter_is_named(address: str) -> None:
    """Said without a client library: PyPI varlink checks and rounds before it sends."""
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(address.removeprefix("unix:"))
        raw.sendall(b'{"method":"org.gears.Manager.Start","parameters":{"name":7}}\0')
        answer = json.loads(raw.makefile("rb").read1().rstrip(b"\0"))
    assert answer == {
        "error": "org.varlink.service.InvalidParameter",
        "parameters": {"parameter": "name"},
    }
