"""Two clusters at once, the words of each command, and who may have a cluster's name."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from chromium import Browser, Page
from conftest import Gears
from hub_user import HubUser
from lab_user import LabUser
from network import Node
from olcf import Olcf
from processes import wait_until
from sshd import WHY_NOT
from terminal import Terminal

FRONTIER = "frontier.olcf.ornl.gov"


class Centre(Olcf):
    """With a second cluster of one login node; its users have a second port."""

    def __init__(self, gears: Gears) -> None:
        super().__init__(gears)
        self.frontier = self.add("login01.frontier.olcf.ornl.gov")
        self.names[FRONTIER] = [self.frontier]
        self.auth[FRONTIER] = "passcode"
        with (gears.home / "etc/gears.conf").open("a") as conf:
            conf.write(f"[cluster:frontier]\nhost = {FRONTIER}\nport = 38889\n")

    def start(self) -> None:
        super().start()
        lines = self._make_servers(FRONTIER)
        for home in (self.home, self.laptop_home):
            with (home / ".ssh/known_hosts").open("a") as known:
                known.write(lines)
        self.serve(self.servers[-1:])


class Users:
    """One person at hub1, for either cluster."""

    def __init__(self, centre: Centre) -> None:
        self.centre = centre
        self.andes = HubUser(centre, centre.hub1)
        self.frontier = HubUser(centre, centre.hub1, "frontier")
        self.run = self.andes.run


@pytest.fixture
def users(gears: Gears) -> Iterator[Users]:
    if WHY_NOT:
        pytest.skip(WHY_NOT)
    with Centre(gears) as centre:
        yield Users(centre)


def attach(users: Users, cluster: str) -> Terminal:
    """A window of the laptop's, up to the ready lab."""
    laptop = users.centre.laptop
    window = Terminal([*laptop.prefix, "ssh", f"{cluster}-jupyter"], laptop.environment)
    for _ in range(2):
        window.expect("Enter PASSCODE: ")
        window.type(f"{users.centre.fresh_code()}\n")
        window.forget()
    window.expect(f"lab@{cluster} ready")
    return window


def shows_files(page: Page) -> None:
    page.wait("document.querySelector('.jp-DirListing-item')", "the list of files")


def answers(page: Page) -> int:
    """Of the lab of this tab, by the browser's cookies alone."""
    script = "fetch('/api/kernels').then(answer => { window.gearsTest = answer.status })"
    page.evaluate(f"({script}, null)")
    return page.wait("window.gearsTest", "an answer")


def test_two_labs_in_one_browser(users: Users, gears: Gears) -> None:
    centre = users.centre
    entries = [users.run("ssh-config", name).stdout for name in ("andes", "frontier")]
    (centre.laptop_home / ".ssh/config").write_text("".join(entries))
    browser = Browser(prefix=centre.laptop.prefix)
    scientist = LabUser(gears, browser)
    scientist.write_notebook("where.ipynb", "import socket; print('on', socket.gethostname())")
    try:
        with attach(users, "andes"), attach(users, "frontier"):
            pages: list[tuple[Page, Node]] = []
            for user, port in ((users.andes, 38888), (users.frontier, 38889)):
                url = user.run("url", f"lab@{user.cluster}").stdout.strip()
                assert url.startswith(f"http://localhost:{port}/lab?token=")
                host = user.tunnel()["host"]
                node = next(n for n in centre.nodes if n.name.startswith(f"{host}."))
                page = browser.new_page()
                page.open(url)
                shows_files(page)
                pages.append((page, node))
            # Neither login ended the other's: cookies know no ports.
            assert [answers(page) for page, _ in pages] == [200, 200]
            for page, node in pages:
                browser.call("Target.activateTarget", targetId=page.target)
                scientist.open_notebook(page, "where.ipynb")
                scientist.run_all(page)
                page.wait(f"document.body.innerText.includes('on {node.name}')", node.name)
            assert [answers(page) for page, _ in pages] == [200, 200]
            assert centre.passcodes_asked() == 4
    finally:
        browser.close()


def test_one_hop_up_and_one_down(users: Users) -> None:
    users.andes.login()
    users.frontier.login()
    users.andes.run("run", "job@andes", "--", "sleep", "1000")
    server = users.centre.frontier.sshd
    assert server
    server.disconnect()
    users.frontier.await_tunnel("auth-needed")
    assert users.andes.far_service("job")
    shown = users.andes.status()
    states = {tunnel["cluster"]: tunnel["state"] for tunnel in shown["tunnels"]}
    assert states == {"andes": "up", "frontier": "auth-needed"}

    def rows() -> list[list[str]]:
        return [row.split("\t")[:2] for row in users.run("status").stdout.splitlines()]

    wait_until(lambda: ["job@andes", "ready"] in rows(), "the service there")
    assert ["andes", "up"] in rows() and ["frontier", "auth-needed"] in rows()
    assert users.run("status", "job@andes").returncode == 0
    assert users.run("status", "job@frontier", check=False).returncode == 7
    # What is asked of one does not wait for the other.
    assert users.run("stop", "job@andes").returncode == 0

    result = users.run("logout", "--all")
    assert "the hop to andes is closed" in result.stderr
    assert "the hop to frontier is closed" in result.stderr
    assert users.andes.status()["tunnels"] == []
    wait_until(lambda: not users.andes.tunnel_processes(), "the end of the tunnels")
    again = users.run("logout", "--all")
    assert again.stderr == "gearsctl: no hop is open\n"
    run = users.centre.gears.home / "run"
    assert not [path for path in run.glob("*.sck")] and not [path for path in run.glob("*.lease")]
    assert users.centre.passcodes_asked() == 2


COMMANDS = (
    ("login", "{c}"),
    ("logout", "{c}"),
    ("attach", "{c}"),
    ("takeover", "{c}"),
    ("ssh-config", "{c}"),
    ("ssh-config", "{c}", "--direct"),
    ("events", "@{c}"),
    ("events", "lab@{c}"),
    ("run", "job@{c}", "--", "true"),
    ("signal", "lab@{c}", "TERM"),
    *(
        (word, "lab@{c}")
        for word in (
            *("start", "stop", "restart", "enable", "disable", "status", "logs", "url"),
            *("wait", "forward", "remove", "reset-failed"),
        )
    ),
)


def test_words_and_exit_codes(users: Users) -> None:
    def outcome(words: tuple[str, ...], cluster: str) -> tuple[int, str]:
        result = users.run(*(word.format(c=cluster) for word in words), check=False)
        return result.returncode, result.stderr

    for words in COMMANDS:
        status, said = outcome(words, "frontir")
        assert status == 4, (words, status, said)
        assert 'no cluster "frontir" is configured; did you mean frontier?' in said, (words, said)
    # Never logged in, and nobody to ask.
    silent = {"logout", "takeover", "ssh-config"}
    for words in COMMANDS:
        if words[0] not in silent and words[0] != "forward":
            status, said = outcome(words, "frontier")
            assert status == 7, (words, status, said)
            assert "gearsctl login frontier" in said and said.count("\n") == 1, (words, said)
    assert outcome(("forward", "lab@{c}"), "frontier")[0] == 1  # never over a hop
    assert outcome(("logout", "{c}"), "frontier")[0] == 0
    for words in (("login",), ("login", "a", "b"), ("login", "a", "--node"), ("logout",)):
        assert users.run(*words, check=False).returncode == 2, words
    for words in (("attach",), ("takeover",), ("takeover", "a", "b"), ("attach", "a", "--what")):
        assert users.run(*words, check=False).returncode == 2, words
    assert users.run("start", "lab@", check=False).returncode == 2
    assert users.run("logout", "--all", "x", check=False).returncode == 2
    # Direct ways are for sites that have them.
    assert outcome(("ssh-config", "{c}", "--direct"), "frontier")[0] == 1
    assert all(s.passcodes_asked() == 0 for s in users.centre.servers)

    users.frontier.login()
    for words, status in (
        (("status", "nothing@{c}"), 4),
        (("start", "nothing@{c}"), 4),
        (("stop", "lab@{c}"), 0),
        (("wait", "lab@{c}", "--timeout", "1s"), 1),
        (("url", "lab@{c}"), 0),
        (("signal", "lab@{c}", "TERM"), 3),
        (("status", "lab@{c}"), 3),
        (("enable", "lab@{c}"), 0),
        (("disable", "lab@{c}"), 0),
        (("login", "{c}"), 0),
        (("takeover", "{c}"), 0),
        (("events", "@{c}"), 0),
    ):
        assert outcome(words, "frontier")[0] == status, (words, outcome(words, "frontier"))


def test_takeover_asks_first(users: Users) -> None:
    centre = users.centre
    users.andes.login()
    there = HubUser(centre, centre.hub2)
    refused = there.run("takeover", "andes", check=False)
    assert refused.returncode == 7 and "gearsctl takeover andes --yes" in refused.stderr
    with there.at("takeover", "andes") as terminal:
        terminal.expect("hub1.ccs.ornl.gov serves run/andes.sck now")
        terminal.type("no\n")
        assert terminal.wait() != 0
    assert users.andes.tunnel()["state"] == "up" and not users.andes.tunnel().get("held_by")
    with there.at("takeover", "andes") as terminal:
        terminal.expect("Serve it here?")
        terminal.type("yes\n")
        assert terminal.wait() == 0, terminal.output
    wait_until(
        lambda: users.andes.tunnel().get("held_by") == "hub2.ccs.ornl.gov", "that hub1 lets go"
    )
    wait_until(lambda: not users.andes.tunnel_processes(), "the end of hub1's hop")
    assert there.tunnel()["state"] != "up"
    assert centre.passcodes_asked() == 1


def test_clusters_come_and_go(users: Users) -> None:
    """A cluster taken out of the configuration while its hop is open."""
    far = HubUser(users.centre, users.centre.hub1, "far")  # no site pack has this name
    conf = Path(users.centre.gears.home / "etc/gears.conf")
    text = conf.read_text()
    more = f"{text}[cluster:far]\nhost = {FRONTIER}\nport = 38891\n"
    conf.write_text(more)
    far.login()
    conf.write_text(text)
    users.run("call", "Reload")
    assert far.tunnel()["state"] == "up"
    assert users.run("status", "lab@far", check=False).returncode == 3
    users.run("logout", "far")
    assert users.run("login", "far", check=False).returncode == 4
    assert users.run("status", "lab@far", check=False).returncode == 4
    users.run("call", "Reload")  # nothing of it is open
    conf.write_text(more)
    users.run("call", "Reload")

    # That its logins need a human is still known.
    server = users.centre.frontier.sshd
    assert server
    before = server.connections()
    for words in (("login", "far"), ("start", "lab@far")):
        assert users.run(*words, check=False).returncode == 7
    assert server.connections() == before


def test_a_cluster_that_went_while_gearsd_was_dead(users: Users) -> None:
    far = HubUser(users.centre, users.centre.hub1, "far")
    home = users.centre.gears.home
    conf = home / "etc/gears.conf"
    text = conf.read_text()
    conf.write_text(f"{text}[cluster:far]\nhost = {FRONTIER}\nport = 38891\n")
    far.login()
    tunnels = far.tunnel_processes()
    far.kill_daemon()
    conf.write_text(text)
    assert far.tunnel()["state"] == "up" and far.tunnel_processes() == tunnels
    far.run("logout", "far")
    wait_until(lambda: not far.tunnel_processes(), "the end of the tunnel")
    wait_until(lambda: not (home / "run/far.lease").exists(), "the end of its lease")
    assert far.status()["tunnels"] == []
    assert far.run("login", "far", check=False).returncode == 4
    # Nothing of it comes back by itself.
    far.kill_daemon()
    assert far.status()["tunnels"] == [] and not far.tunnel_processes()


def test_a_reload_leaves_what_stays_as_it_is(users: Users) -> None:
    users.andes.login()
    run = users.centre.gears.home / "run"
    conf = users.centre.gears.home / "etc/gears.conf"
    text = conf.read_text()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(run / "andes.sck"))
        first = files(run, "andes.sck")
        for forward in ("tb", "tb dask", "dask", "dask tb"):
            before = files(run, "andes+*.sck")
            conf.write_text(f"{text}[cluster:andes]\nforward = {forward}\n")
            users.run("call", "Reload")
            wait_until(partial(is_forwarded, run, forward), forward)
            after = files(run, "andes+*.sck")
            assert {name: after[name] for name in after.keys() & before.keys()}.items() <= (
                before.items()
            ), forward
            assert files(run, "andes.sck") == first


def files(run: Path, pattern: str) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in run.glob(pattern)}


def is_forwarded(run: Path, forward: str) -> bool:
    names = {f"andes+{name}.sck" for name in forward.split()}
    return files(run, "andes+*.sck").keys() == names
