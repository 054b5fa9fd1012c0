"""A scientist's days, with nothing left out: laptop, hub and login nodes, PASSCODEs, a browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Browser, Page
from hub_user import HubUser
from lab_user import LabUser
from network import Node
from olcf import Olcf
from processes import wait_until
from terminal import Terminal

NOTEBOOK = "story.ipynb"
KEEPALIVE = 1
FIRST = "import time; x = 40 + 2; print('x is', x)"
# Prints while nobody is connected: what the scientist would miss.
SECOND = "\n".join(
    (
        "import pathlib",
        "go = pathlib.Path('go')",
        "while not go.exists():",
        "    time.sleep(0.05)",
        "print('said meanwhile', x)",
    )
)


class Story:
    """The laptop's side: ssh as its entry says, and a browser."""

    def __init__(self, olcf: Olcf) -> None:
        self.olcf = olcf
        self.user = HubUser(olcf, olcf.hub1)
        self.browser = Browser(prefix=olcf.laptop.prefix)
        self.scientist = LabUser(olcf.gears, self.browser)
        self.ssh: Terminal | None = None

    def write_entry(self) -> None:
        entry = self.user.run("ssh-config", "andes").stdout
        (self.olcf.laptop_home / ".ssh/config").write_text(entry)

    def connect(self) -> Terminal:
        """ssh andes-jupyter on the laptop, up to the first hop's PASSCODE."""
        words = [*self.olcf.laptop.prefix, "ssh", "andes-jupyter"]
        self.ssh = Terminal(words, self.olcf.laptop.environment)
        self.ssh.expect("Enter PASSCODE: ")
        self.ssh.type(f"{self.olcf.fresh_code()}\n")
        self.ssh.forget()
        return self.ssh

    def disconnect(self) -> None:
        """As after 24 hours: the hub ends the session, whatever the laptop thinks of it."""
        assert self.olcf.hub1.sshd and self.ssh
        self.olcf.hub1.sshd.disconnect()
        self.ssh.wait()
        self.ssh.__exit__()
        self.ssh = None

    def close(self) -> None:
        if self.ssh:
            self.ssh.__exit__()
        self.browser.close()


@pytest.fixture
def story(olcf: Olcf) -> Iterator[Story]:
    with (olcf.gears.home / "etc/gears.conf").open("a") as conf:
        conf.write(
            f"[cluster:andes]\nkeepalive = {KEEPALIVE}s\nkeepalive_count = 3\n"
            "connect_timeout = 5s\n"
        )
    story = Story(olcf)
    try:
        yield story
    finally:
        story.close()


def lab_node(story: Story) -> Node:
    host = story.user.tunnel()["host"]
    return next(node for node in story.olcf.andes if node.name.startswith(f"{host}."))


def await_text(page: Page, words: str) -> None:
    page.wait(f"document.body.innerText.includes({words!r})", words)


@pytest.mark.long
def test_the_whole_story(olcf: Olcf, story: Story, tmp_path: Path) -> None:
    scientist, user = story.scientist, story.user
    scientist.write_notebook(NOTEBOOK, FIRST, SECOND)
    story.write_entry()

    # The first day: a PASSCODE for each hop, asked by their servers.
    terminal = story.connect()
    terminal.expect("Enter PASSCODE: ")
    terminal.type(f"{olcf.fresh_code()}\n")
    terminal.expect("http://localhost:38888")
    terminal.expect("ready")
    assert olcf.passcodes_asked() == 2
    page = story.browser.new_page()
    url = user.run("url", "lab@andes").stdout.strip()
    assert url.startswith("http://localhost:38888/lab?token=")
    page.open(url)
    page.wait("document.querySelector('.jp-DirListing-item')", "the list of files")
    scientist.open_notebook(page, NOTEBOOK)
    scientist.run_all(page)
    await_text(page, "x is 42")
    first_node = lab_node(story)

    # The hub ends the session; the kernel goes on and says something to nobody.
    story.disconnect()
    (olcf.gears.workspace / "go").touch()

    # The second day: one PASSCODE for the first hop, none for the second.
    terminal = story.connect()
    terminal.expect("http://localhost:38888")
    assert olcf.passcodes_asked() == 3
    await_text(page, "said meanwhile 42")

    # The hub is rebooted: everything of the user's there is gone.
    olcf.hub1.crash()
    terminal.wait()
    terminal.__exit__()
    olcf.hub1.reboot()
    terminal = story.connect()
    terminal.expect("Enter PASSCODE: ")
    terminal.type(f"{olcf.fresh_code()}\n")
    terminal.expect("http://localhost:38888")
    assert olcf.passcodes_asked() == 5
    assert lab_node(story) is first_node
    client = user.lab()
    kernel = client.call("GET", "/api/kernels")[0]["id"]
    assert client.run(kernel, "print(x)") == "42\n"

    # The login node freezes for longer than twenty keepalives, then goes on.
    assert first_node.sshd
    first_node.sshd.freeze()
    user.await_tunnel("degraded")
    terminal.expect("degraded")
    frozen = time.monotonic()
    wait_until(lambda: time.monotonic() - frozen > 20 * KEEPALIVE, "twenty keepalives")
    assert user.tunnel()["state"] == "degraded"
    first_node.sshd.thaw()
    user.await_tunnel("up")
    assert client.run(kernel, "print(x)") == "42\n"
    assert olcf.passcodes_asked() == 5

    # The login node is lost. Another is used when the human says so, and a fresh lab started.
    first_node.crash()
    wait_until(lambda: user.tunnel()["state"] in ("degraded", "auth-needed"), "that it is missed")
    terminal.__exit__()
    with user.at("login", "andes", "--force") as again:
        again.expect("Log in to another node? (yes/no) ")
        assert first_node.name.split(".")[0] in again.output
        again.type("yes\n")
        again.expect("Enter PASSCODE: ")
        again.type(f"{olcf.fresh_code()}\n")
        assert again.wait() == 0, again.output
    assert lab_node(story) is not first_node
    assert user.run("start", "lab@andes").returncode == 0
    client = user.lab()
    assert client.call("GET", "/api/kernels") == []
    assert olcf.passcodes_asked() == 6

    # Nothing is left when everything is stopped.
    last_node = lab_node(story)
    user.run("stop", "lab@andes")
    user.run("daemon", "stop", "--services", "--yes")
    last_node.run("daemon", "stop", "--services", "--yes")
    for node in (olcf.hub1, last_node):
        wait_until(lambda node=node: not gears_processes(node), f"the end of all on {node.name}")
    run = olcf.gears.home / "run"
    left = [path for path in run.rglob("*") if path.is_socket() or path.suffix == ".lease"]
    gone = first_node.name.split(".")[0]  # it lost power with what it held
    assert [str(path) for path in left if gone not in str(path)] == []


def gears_processes(node: Node) -> list[str]:
    names = []
    for pid in node.all_processes():
        try:
            names.append(Path(f"/proc/{pid}/comm").read_text().strip())
        except OSError:
            continue
    return [name for name in names if name.startswith("gear")]
