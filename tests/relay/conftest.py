"""A gears-relay for each test, and services that the test itself plays."""

from __future__ import annotations

import resource
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest
from relay_ends import Feed, Service
from relay_link import Relay


@pytest.fixture(scope="session", autouse=True)
def descriptors() -> None:
    """Tests hold both ends of every connection."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@pytest.fixture
def relay(request: pytest.FixtureRequest) -> Iterator[Relay]:
    """Given a number by the test's parameters, it has no more descriptors than that."""
    folder = Path(tempfile.mkdtemp(prefix="gr", dir="/tmp"))
    relay = Relay(folder, getattr(request, "param", 0))
    try:
        yield relay
        relay.finish()
    finally:
        relay.close()
        shutil.rmtree(folder)


@pytest.fixture
def service(relay: Relay) -> Iterator[Callable[..., Service]]:
    """Makes services: service("uu"), open and up; more words as Service has them."""
    made: list[Service] = []

    def make(kind: str = "uu", state: str = "UP", wait_ms: int = 60000, **more: object) -> Service:
        made.append(Service(relay, kind, **more))  # type: ignore[arg-type]
        return made[-1].open(state, wait_ms)

    yield make
    for one in made:
        one.close()


@pytest.fixture
def feed(relay: Relay) -> Iterator[Feed]:
    """A tunnel that listens, and lab@andes behind it: up, with its public socket."""
    made = Feed(relay).start().put().listen()
    yield made
    made.close()
