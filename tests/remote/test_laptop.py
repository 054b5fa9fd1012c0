"""What a laptop's OpenSSH does with the printed entries, and the commands of the original Gears."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import SOURCE
from hub_user import HubUser
from network import Node
from olcf import HUBS, Olcf
from processes import wait_until
from terminal import Terminal

LAB = "http://localhost:38888"


class Laptop:
    """Windows with ssh on the laptop."""

    def __init__(self, olcf: Olcf) -> None:
        self.olcf = olcf
        self.node = olcf.laptop
        self.user = HubUser(olcf, olcf.hub1)

    def paste(self, *words: str) -> str:
        """An entry of gearsctl's goes into the laptop's ssh_config."""
        entry = self.user.run("ssh-config", *words).stdout
        with (self.olcf.laptop_home / ".ssh/config").open("a") as config:
            config.write(entry)
        return entry

    def ssh(self, *words: str) -> Terminal:
        """A window with ssh, once its first PASSCODE was given."""
        terminal = Terminal([*self.node.prefix, "ssh", *words], self.node.environment)
        terminal.expect("Enter PASSCODE: ")
        self.answer(terminal)
        return terminal

    def answer(self, terminal: Terminal) -> None:
        terminal.type(f"{self.olcf.fresh_code()}\n")
        terminal.forget()

    def get(self, path: str, token: str = "", port: int = 38888) -> tuple[int, str]:
        """What the forwarded port answers: status and body."""
        words = ["curl", "-s", "-w", "\n%{http_code}", f"http://localhost:{port}{path}"]
        words += ["-H", f"Authorization: token {token}"] if token else []
        body, _, status = self.node.inside(*words).rpartition("\n")
        return int(status), body


@pytest.fixture
def laptop(olcf: Olcf) -> Iterator[Laptop]:
    yield Laptop(olcf)


def in_a_shell(terminal: Terminal, node: Node, status: int) -> None:
    """It is a login shell there; leave it, and ssh ends with its status."""
    terminal.expect("# ")  # what is typed before may go to attach
    terminal.type("shopt -q login_shell && echo a shell o''n $(hostname)\n")
    terminal.expect(f"a shell on {node.name}")
    terminal.type(f"exit {status}\n")
    assert terminal.wait() == status, terminal.output


def test_the_entry_of_a_cluster(laptop: Laptop, tmp_path: Path) -> None:
    olcf, user = laptop.olcf, laptop.user
    entry = laptop.paste("andes")
    assert f"HostName {olcf.hub1.name}" in entry
    with laptop.ssh("andes-jupyter") as first:
        first.expect("Enter PASSCODE: ")  # hop 2's
        laptop.answer(first)
        first.expect(LAB)
        first.expect("lab@andes ready")
        assert laptop.get("/api")[0] == 200

        # A second window of the same entry ends at once; the first goes on.
        with laptop.ssh("andes-jupyter") as second:
            assert second.wait() == 255
            assert "bind [127.0.0.1]:38888: Address already in use" in second.output
            assert "Could not request local forwarding." in second.output
        # The plain name has neither its command nor its forward.
        asked = olcf.user(olcf.laptop)
        plain = asked.run(olcf.hub1.name, "hostname", answers=(olcf.fresh_code(),))
        assert (plain.returncode, plain.stdout) == (0, f"{olcf.hub1.name}\n"), plain.stderr
        copy = tmp_path / "copy"
        words = ["scp", "-q", f"{olcf.hub1.name}:/etc/hosts", str(copy)]
        asked.answers.write_text(f"{olcf.fresh_code()}\n")
        environment = asked.environment
        subprocess.run([*asked.prefix, *words], env=environment, check=True, timeout=60)
        assert olcf.hub1.name in copy.read_text()
        assert laptop.get("/api")[0] == 200

        # ^C leaves attach and nothing else: a login shell follows, and with it the forward.
        first.forget()
        first.type("\x03")
        first.expect("# ")
        assert laptop.get("/api")[0] == 200
        in_a_shell(first, olcf.hub1, 3)
    wait_until(lambda: refused(laptop), "the end of the forward")
    # What it was for goes on; the next window finds it, and q leaves it as well.
    assert user.tunnel()["state"] == "up"
    asked_before = olcf.passcodes_asked()
    with laptop.ssh("andes-jupyter") as again:
        again.expect("lab@andes ready")
        again.type("q")
        in_a_shell(again, olcf.hub1, 0)
    assert olcf.passcodes_asked() == asked_before + 1


def refused(laptop: Laptop) -> bool:
    words = [*laptop.node.prefix, "curl", "-s", f"{LAB}/api"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 7


def test_the_wrong_hub(laptop: Laptop) -> None:
    olcf, user = laptop.olcf, laptop.user
    laptop.paste("andes")
    user.login()
    # The round-robin name leads to the other hub today.
    olcf.laptop.own_names = f"{olcf.hub2.address} {HUBS}\n"
    olcf.write_names()
    before = [server.connections() for server in olcf.servers]
    with laptop.ssh("-o", f"HostName={HUBS}", "andes-jupyter") as window:
        window.expect("gearsctl takeover andes")
        found = re.search(r"on your laptop: (ssh [^;]+);", window.output)
        assert found, window.output
        in_a_shell(window, olcf.hub2, 0)
    after = [server.connections() for server in olcf.servers]
    assert sum(after) == sum(before) + 1, "somebody logged in to the cluster from the wrong hub"
    # What it says works as it stands: the forward leads to the hub with the socket.
    with laptop.ssh(*found[1].split()[1:]) as window:
        window.expect("lab@andes ready")
        assert laptop.get("/api")[0] == 200
        window.type("q")
        in_a_shell(window, olcf.hub1, 0)
    assert user.tunnel()["state"] == "up"


def test_the_wrong_hub_for_who_works_there(laptop: Laptop) -> None:
    """On it attach and login name a line that works as it stands, whatever PATH is."""
    olcf, user = laptop.olcf, laptop.user
    user.login()
    for words in (("attach", "andes"), ("login", "andes")):
        said = olcf.hub2.run(*words, check=False).stderr
        found = re.search(r"run: (ssh \S+ -t /\S+ attach andes)[;,]", said)
        assert found, said
        line = [*olcf.hub2.prefix, *found[1].split()]
        with Terminal(line, olcf.hub2.environment) as window:
            window.expect("Enter PASSCODE: ")
            laptop.answer(window)
            window.expect("lab@andes ready")
            window.type("q")
            assert window.wait() == 0


def test_a_parked_attach_opens_no_connection(laptop: Laptop) -> None:
    """In tmux, say, with nobody there: whatever becomes of gearsd, only a human logs in."""
    olcf, user = laptop.olcf, laptop.user

    def crash() -> None:
        for pid in user.processes("gearsd"):
            user.kill(pid, 9)

    with user.at("attach", "andes") as screen:
        screen.expect("Enter PASSCODE: ")
        laptop.answer(screen)
        screen.expect("lab@andes ready")
        for pid in user.tunnel_processes():
            user.kill(pid, 9)
        screen.expect("Enter logs in")
        before = [server.connections() for server in olcf.servers]
        for end in (lambda: user.run("daemon", "restart"), crash):
            screen.forget()
            end()
            screen.expect("Enter logs in")
        assert [server.connections() for server in olcf.servers] == before
        assert olcf.passcodes_asked() == 1
        screen.type("\n")
        screen.expect("Enter PASSCODE: ")
        laptop.answer(screen)
        screen.expect("lab@andes ready")
        screen.type("q")
        assert screen.wait() == 0


def test_no_hub_at_all(laptop: Laptop) -> None:
    olcf = laptop.olcf
    with (olcf.gears.home / "etc/gears.conf").open("a") as conf:
        conf.write("[cluster:andes]\ndirect = yes\n")
    entry = laptop.paste("andes", "--direct")
    name = next(row.split()[1] for row in entry.splitlines() if "HostName" in row)
    node = next(node for node in olcf.andes if node.name == name)
    for hub in olcf.hubs:
        hub.crash()
    with laptop.ssh("andes-direct") as window:
        window.expect("lab: ready")
        client = node.client()
        _, kernel = client.start_notebook("a.ipynb")
        status, body = laptop.get("/api/kernels", client.token)
        assert status == 200 and kernel in body
        in_a_shell(window, node, 0)
    assert olcf.passcodes_asked() == 1
    assert node.status()["state"] == "ready"


class Tmux:
    """A terminal on the hub that outlives who looks at it."""

    def __init__(self, node: Node, folder: Path) -> None:
        self.node = node
        self.words = ["tmux", "-f", "/dev/null", "-S", str(folder / "tmux")]

    def call(self, *words: str) -> str:
        return self.node.inside(*self.words, *words)

    def run(self, command: str) -> None:
        self.call("new-session", "-d", "-s", "w", "-x", "160", "-y", "40", command)

    def expect(self, words: str) -> None:
        wait_until(lambda: words in self.call("capture-pane", "-p", "-t", "w"), words)

    def type(self, text: str) -> None:
        self.call("send-keys", "-t", "w", "-l", text)

    def await_end(self) -> None:
        command = [*self.node.prefix, *self.words, "has-session", "-t", "w"]
        ended = lambda: subprocess.run(command, capture_output=True, check=False).returncode != 0  # noqa: E731
        wait_until(ended, "the end of the window")


def test_the_commands_of_the_original_gears(laptop: Laptop) -> None:
    olcf, hub = laptop.olcf, laptop.olcf.hub1
    make = f"make -f {SOURCE}/contrib/Makefile"
    variables = f"GEARSCTL={hub.bin}/gearsctl"
    shown = hub.inside("sh", "-c", f"{make} help ssh-config {variables}")
    assert "make andes-lab-shutdown" in shown and "Host andes-jupyter" in shown
    tmux = Tmux(hub, olcf.folder)
    tmux.run(f"{make} andes-lab {variables}")
    tmux.expect("Enter PASSCODE:")
    tmux.type(f"{olcf.fresh_code()}\n")
    tmux.expect(LAB)
    tmux.expect("lab@andes ready")
    tmux.type("q")
    tmux.await_end()
    tmux.run(f"{make} andes-lab {variables}")  # as often as one likes
    tmux.expect("lab@andes ready")
    tmux.type("q")
    tmux.await_end()
    hub.inside("sh", "-c", f"{make} andes-lab-shutdown {variables}")
    assert laptop.user.far_service()["state"] == "stopped"
    assert olcf.passcodes_asked() == 1
