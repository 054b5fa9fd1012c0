"""Other implementations' clients against Gears' own protocol code."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import varlink
from varlink.scanner import Interface as Description

SOURCE = Path(__file__).parents[2]
BIN = Path(os.environ.get("GEARS_BIN", SOURCE / "build/release/bin"))
NAME = "org.varlink.certification"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A certification server for one test; it leaves when its standard input closes."""
    path = tmp_path / "s"
    server = subprocess.Popen(
        [str(BIN / "certification_server"), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin and server.stdout
    assert server.stdout.readline() == "ready\n"
    yield f"unix:{path}"
    server.stdin.close()
    assert server.wait(timeout=60) == 0
    server.stdout.close()


def go_client(address: str) -> str:
    """What the client of Debian's varlink-go prints; its exit status says nothing."""
    return subprocess.run(
        ["varlink-go-certification", "--client", "--varlink", address],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout


def test_go_client_certifies_the_server(address: str) -> None:
    said = go_client(address)
    assert "failed" not in said
    assert said.count("Receive: 'Reply number") == 10
    assert said.endswith("End: 'true'\n"), said


def test_go_client_again_on_the_same_server(address: str) -> None:
    assert [go_client(address).endswith("End: 'true'\n") for _ in range(3)] == [True] * 3


def test_python_client_certifies_the_server(address: str) -> None:
    with varlink.Client(address) as client, client.open(NAME, namespaced=True) as con:
        name = con.Start().client_id
        first = con.Test01(name)
        second = con.Test02(name, first.bool)
        third = con.Test03(name, second.int)
        fourth = con.Test04(name, third.float)
        fifth = con.Test05(name, fourth.string)
        sixth = con.Test06(name, fifth.bool, fifth.int, fifth.float, fifth.string)
        seventh = con.Test07(name, sixth.struct)
        eighth = con.Test08(name, seventh.map)
        ninth = con.Test09(name, eighth.set)
        tenth = [reply.string for reply in con.Test10(name, ninth.mytype, _more=True)]
        assert tenth == [f"Reply number {i}" for i in range(1, 11)]
        con.Test11(name, tenth, _oneway=True)
        assert con.End(name).all_ok is True


def test_a_wrong_step_is_told_and_remembered(address: str) -> None:
    with varlink.Client(address) as client, client.open(NAME) as con:
        name = con.Start()["client_id"]
        with pytest.raises(varlink.VarlinkError) as refused:
            con.Test02(name, False)
        assert refused.value.error() == f"{NAME}.CertificationError"
        assert refused.value.parameters()["wants"] == {"bool": True}
        assert con.End(name)["all_ok"] is False
        with pytest.raises(varlink.VarlinkError) as unknown:
            con.Test01(name)
        assert unknown.value.error() == f"{NAME}.ClientIdError"


def test_python_client_introspects_the_server(address: str) -> None:
    with varlink.Client(address) as client, client.open("org.varlink.service") as con:
        info = con.GetInfo()
        assert info["vendor"] == "Gears"
        assert info["interfaces"] == ["org.varlink.service", NAME]
        told = con.GetInterfaceDescription(NAME)["description"]
        assert told == (Path(__file__).parent / f"{NAME}.varlink").read_text()
        own = con.GetInterfaceDescription("org.varlink.service")["description"]
        assert Description(own).name == "org.varlink.service"
        with pytest.raises(varlink.InterfaceNotFound):
            con.GetInterfaceDescription("org.example.absent")


def test_gears_interface_is_read_by_the_python_parser() -> None:
    description = Description((SOURCE / "proto/org.gears.Manager.varlink").read_text())
    assert description.name == "org.gears.Manager"
    assert {"Hello", "Status", "Start", "Logs"} <= set(description.members)
