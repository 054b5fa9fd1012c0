"""Servers to log in to, and a whole centre; their logs are in the report of a failed test."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest
from conftest import Gears
from hub_user import HubUser
from olcf import Olcf
from ssh_user import SshUser
from sshd import WHY_NOT, Sshd, server_environment


def pytest_runtest_logstart() -> None:
    Sshd.said.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for said in (*Sshd.said, *(server.explain() for server in Sshd.living)):
            report.sections.append(("what sshd wrote", said))
    return report


@pytest.fixture
def sshd(gears: Gears) -> Iterator[Sshd]:
    """A server on the loopback address that asks PASSCODEs."""
    if WHY_NOT:
        pytest.skip(WHY_NOT)
    with Sshd(gears.home / "user", environment=server_environment(gears)) as server:
        yield server


@pytest.fixture
def ssh_user(gears: Gears) -> SshUser:
    """OpenSSH's client on this machine."""
    return SshUser(gears.home)


@pytest.fixture
def olcf(gears: Gears) -> Iterator[Olcf]:
    """Two hubs, three login nodes and a laptop; sshd on all but the laptop."""
    if WHY_NOT:
        pytest.skip(WHY_NOT)
    with Olcf(gears) as centre:
        yield centre


@pytest.fixture
def user(olcf: Olcf) -> Iterator[HubUser]:
    """At hub1."""
    with HubUser(olcf, olcf.hub1) as user:
        yield user


@pytest.fixture
def other(olcf: Olcf) -> Iterator[HubUser]:
    """The same person at hub2."""
    with HubUser(olcf, olcf.hub2) as user:
        yield user
