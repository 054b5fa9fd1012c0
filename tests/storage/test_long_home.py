"""A GEARS_HOME too long for sockets: they are in a short private folder, which goes in the end."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import socket
import stat
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import Gears
from once import Once
from processes import wait_until


def home_of(top: Path, length: int) -> Path:
    """A folder below `top` whose path has about so many bytes."""
    home = top
    while len(str(home)) + 2 < length:
        home /= "x" * min(40, length - len(str(home)) - 1)
    home.mkdir(parents=True, exist_ok=True)
    return home


def gears_at(length: int) -> Iterator[Gears]:
    top = Path(tempfile.mkdtemp(prefix="g", dir="/tmp"))
    gears = Gears(home_of(top, length))
    try:
        yield gears
    finally:
        gears.run("daemon", "stop", "--services", "--yes", check=False)
        wait_until(lambda: not gears.processes(), "the end of every process")
        shutil.rmtree(top)


@pytest.fixture
def distant() -> Iterator[Gears]:
    """A home of more bytes than a socket's path may have."""
    yield from gears_at(130)


@pytest.fixture
def middling() -> Iterator[Gears]:
    """Short enough for Gears' sockets, too long for those of kernels."""
    yield from gears_at(58 - len("/run/") - len(platform.node()))


def short_folders(gears: Gears) -> list[Path]:
    return [Path(p.read_text()) for p in gears.home.glob("state/*/short-*")]


def test_sockets_of_a_long_home(distant: Gears) -> None:
    once = Once(distant)
    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda _: distant.run("status", "--json"), range(20)))
    assert len({json.loads(reply.stdout)["daemon"]["pid"] for reply in replies}) == 1
    (folder,) = short_folders(distant)
    assert folder.parent == Path("/tmp")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not list(distant.home.glob("run/**/*.sck"))
    words = ["python3", "-m", "http.server", "--bind", "127.0.0.1", "{port}"]
    distant.run("run", "web", "--", *words)
    distant.run("start", "once")
    path = Path(distant.status("web")["socket"])
    assert path.parent == folder
    # The long name that a service may have leaves no room to spare.
    distant.run("run", "n" * 32, "--", "sleep", "1000")
    distant.kill_daemon()
    wait_until(lambda: distant.status("web")["state"] == "ready", "the adoption")
    assert distant.status("once")["state"] == "ready"
    assert once.starts() == 1
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(64).startswith(b"HTTP/1.0 200")
    refused = distant.run("ssh-config", check=False)
    assert refused.returncode == 1
    assert "shorter" in refused.stderr
    assert str(folder) not in refused.stdout
    distant.run("daemon", "stop")
    assert folder.exists(), "services go on, and so do their sockets"
    assert distant.status("once")["state"] == "ready"
    distant.run("daemon", "stop", "--services", "--yes")
    wait_until(lambda: not short_folders(distant), "the end of the folder")
    assert not folder.exists()


def test_a_short_folder_that_went_is_made_again(distant: Gears) -> None:
    """A cleaner of /tmp takes it, sockets and all, while gearsd is away: nothing is lost."""
    once = Once(distant)
    distant.run("start", "once")
    pid = distant.status("once")["pid"]
    (folder,) = short_folders(distant)
    distant.kill_daemon()
    for process in distant.processes():
        if Path(f"/proc/{process}/comm").read_text() == "gears-relay\n":
            os.kill(process, signal.SIGKILL)
    shutil.rmtree(folder)
    wait_until(lambda: distant.status("once")["state"] == "ready", "the service")
    assert short_folders(distant) == [folder]
    assert distant.status("once")["pid"] == pid
    assert once.starts() == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_short_folder_of_somebody_else_is_not_used(distant: Gears) -> None:
    distant.run("status")
    (folder,) = short_folders(distant)
    distant.run("daemon", "stop", "--services", "--yes")
    wait_until(lambda: not short_folders(distant), "its end")
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)
    try:
        (pointer,) = [p / "short-run" for p in distant.home.glob("state/*")]
        pointer.write_text(str(folder))
        distant.run("status")
        (fresh,) = short_folders(distant)
        assert fresh != folder
        assert list(folder.iterdir()) == []
    finally:
        folder.rmdir()


def test_the_runtime_folder_of_a_lab_goes_too(middling: Gears) -> None:
    middling.run("start", "lab")
    (folder,) = short_folders(middling)
    assert middling.status()["socket"].startswith(str(middling.home))
    middling.run("daemon", "stop", "--services", "--yes")
    wait_until(lambda: not short_folders(middling), "the end of the folder")
    assert not folder.exists()
