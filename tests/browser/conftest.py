"""A lab behind `gearsctl forward` and a browser to look at it."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Browser
from conftest import SOURCE, Gears
from lab_user import LabUser

ARTIFACTS = SOURCE / "tests/artifacts"
# JupyterLab would ask about news and look for its newer versions on the network.
QUIET = {"fetchNews": "false", "checkForUpdates": False}


def free_port() -> int:
    """A port below those the kernel hands out, so that only another such test could take it."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


@pytest.fixture
def lab(gears: Gears, request: pytest.FixtureRequest) -> Iterator[LabUser]:
    settings = gears.home / "user/.jupyter/lab/user-settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(QUIET))
    port = free_port()
    browser = Browser()
    try:
        gears.run("start", "lab")
        assert gears.run("forward", "lab", str(port), "--yes").stdout.strip() == str(port)
        yield LabUser(gears, browser)
        if request.session.testsfailed:
            for number, page in enumerate(browser.pages):
                page.screenshot(ARTIFACTS / f"failed-{request.node.name}-{number}.png")
    finally:
        browser.close()


@pytest.fixture
def artifacts() -> Path:
    return ARTIFACTS
