"""Networks, hosts and processes that fail under an open hop: who is asked, what is kept, what is
said. Each fault meets a hop that keys open, and one that cost a human a PASSCODE."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Gears
from hub_user import HubUser
from lab_client import LabClient
from network import Node
from olcf import Olcf
from processes import alive, connects, wait_until
from sshd import Sshd, needs_sshd

pytestmark = needs_sshd

# Degraded after two seconds of silence; given up after one more where keys open the hop.
QUICK = "keepalive = 1s\nkeepalive_count = 2\nconnect_timeout = 3s\nwait = 2s\n"
SOON = 30.0  # a backoff, or the network's own, ends; an idle machine needs less than one second
RUNNING = ["gears-relay", "gears-tunnel", "gearsd"]


def configure(gears: Gears, lines: str) -> None:
    with (gears.home / "etc/gears.conf").open("a") as conf:
        conf.write(f"[cluster:andes]\n{lines}")


class Keys(Olcf):
    """Login nodes that take the user's key, which has no passphrase."""

    def start(self) -> None:
        super().start()
        self.give_key()


class Quick(HubUser):
    """Looks without asking the cluster, which takes a second while it is silent."""

    def tunnel(self) -> dict[str, Any]:
        tunnels = json.loads(self.run("call", "Status").stdout)["tunnels"]
        found = next((t for t in tunnels if t["cluster"] == self.cluster), {"state": None})
        return {"cause": None, "message": None, **found}


class Scene:
    """Somebody at hub1, a hop, and a kernel behind it that remembers a number."""

    def __init__(self, olcf: Olcf, human: bool) -> None:
        self.olcf = olcf
        self.human = human
        self.hub = olcf.hub1
        self.user = Quick(olcf, olcf.hub1)
        self.socket = olcf.gears.home / "run/andes.sck"
        self.seen = 0

    def open(self) -> None:
        if self.human:
            self.user.login()
        else:
            self.user.run("login", "andes")
        host = self.user.tunnel()["host"]
        self.node: Node = next(n for n in self.olcf.andes if n.name.startswith(f"{host}."))
        assert self.node.sshd
        self.server: Sshd = self.node.sshd
        self.new_connections()

    def start_lab(self) -> None:
        self.user.run("start", "lab@andes")
        self.client = self.user.lab()
        _, self.kernel = self.client.start_notebook("a.ipynb")
        self.client.run(self.kernel, "x = 8")

    def remembers(self) -> bool:
        return self.client.run(self.kernel, "print(x)") == "8\n"

    def new_connections(self) -> int:
        """To any server, since this was asked last."""
        before, self.seen = self.seen, sum(s.connections() for s in self.olcf.servers)
        return self.seen - before

    def page(self) -> tuple[int, str]:
        status, body, _ = LabClient(self.socket, "").raw("GET", "/lab")
        return status, body.decode()

    def await_cause(self, cause: str) -> dict[str, Any]:
        return wait_until(
            lambda: (t := self.user.tunnel())["cause"] == cause and t, f"the cause {cause}"
        )

    def await_up(self) -> float:
        began = time.monotonic()
        self.user.await_tunnel("up")
        return time.monotonic() - began

    def programs(self) -> list[str]:
        """What runs of Gears on the hub, and whatever it may have started."""
        names = []
        for pid in self.hub.all_processes():
            try:
                name = Path(f"/proc/{pid}/comm").read_text().strip()
            except OSError:
                continue
            if alive(pid) and name.split("[")[0] in (*RUNNING, "ssh", "gears-keeper"):
                names.append(name)
        return sorted(names)

    def check_whole(self, connections: int) -> None:
        """Nothing was lost behind the hop, and no more than `connections` were made for it."""
        assert self.remembers()
        assert self.new_connections() == connections
        assert self.programs() == RUNNING
        tunnel = self.user.tunnel()
        assert (tunnel["state"], tunnel["cause"], tunnel.get("message")) == ("up", None, None)


@pytest.fixture(params=["keys", "passcode"])
def scene(gears: Gears, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """With an open hop."""
    configure(gears, QUICK)
    human = request.param == "passcode"
    with Olcf(gears) if human else Keys(gears, andes_auth="publickey") as olcf:
        scene = Scene(olcf, human)
        scene.open()
        yield scene


@pytest.fixture
def parked(gears: Gears) -> Iterator[Scene]:
    """Where a PASSCODE is needed, before the first login."""
    configure(gears, QUICK)
    with Olcf(gears) as olcf:
        yield Scene(olcf, True)


def check_degraded(scene: Scene) -> None:
    """What is said of a hop that is silent: also to those who come now, once they have waited."""
    if scene.human:  # the other one is given up meanwhile
        tunnel = scene.user.await_tunnel("degraded")
        assert "nothing was heard" in tunnel["message"]
        began = time.monotonic()
        status, page = scene.page()
        assert status == 503 and "degraded" in page and "nothing was heard" in page
        assert time.monotonic() - began > 1.5  # cluster's `wait`
        assert scene.user.run("status", "lab@andes", check=False).returncode == 1
        (shown,) = scene.user.status()["tunnels"]
        assert shown["state"] == "degraded" and shown["message"] == tunnel["message"]


def check_outage(scene: Scene) -> None:
    """A hop of keys that was given up tries again and again, and says why it is not up."""
    tunnel = scene.await_cause("network-down")
    assert tunnel["state"] in ("down", "connecting") and tunnel["message"]
    since = tunnel["since"]
    for pid in scene.user.tunnel_processes():
        scene.user.kill(pid, signal.SIGKILL)
    status, page = scene.page()
    assert status == 503 and scene.user.tunnel()["cause"], page
    assert scene.user.run("status", "lab@andes", check=False).returncode == 1
    assert scene.user.tunnel()["since"] >= since


def test_networks_fail(scene: Scene) -> None:
    hub, node = scene.hub, scene.node
    scene.start_lab()
    # Shorter than it takes to be noticed.
    node.drop_for(0.7, hub)
    scene.await_up()
    scene.check_whole(0)
    # Longer, and longer than a hop of keys is kept for.
    with scene.user.degrades():
        node.drop(hub)
    check_degraded(scene)
    if not scene.human:
        check_outage(scene)
    node.undrop(hub)
    assert scene.await_up() < SOON
    scene.check_whole(0 if scene.human else 1)
    # One direction only.
    rule = ("INPUT" if scene.human else "OUTPUT", "-p", "tcp", "-j", "DROP")
    with scene.user.degrades():
        node.inside("iptables", "-w", "-I", *rule)
    node.inside("iptables", "-w", "-D", *rule)
    scene.await_up()
    assert scene.remembers()
    assert scene.new_connections() <= (0 if scene.human else 1)
    # The hub's own cable.
    with scene.user.degrades():
        hub.cut()
    if not scene.human:
        scene.await_cause("network-down")
    hub.mend()
    assert scene.await_up() < SOON
    scene.check_whole(0 if scene.human else 1)
    assert scene.olcf.passcodes_asked() == (1 if scene.human else 0)


def test_servers_fail(scene: Scene) -> None:
    user, server = scene.user, scene.server
    scene.start_lab()
    # It stops answering: keys log in a second time, what was paid for is waited for.
    with user.degrades():
        server.freeze()
    if not scene.human:
        wait_until(lambda: user.tunnel()["reconnects"] == 1, "another connection")
        scene.check_whole(1)
    server.thaw()
    scene.await_up()
    scene.check_whole(0)
    # It answers nobody at all.
    with user.degrades():
        server.freeze(listener=True)
    if not scene.human:
        scene.await_cause("network-down")
    server.thaw()
    assert scene.await_up() < SOON
    assert scene.remembers()
    assert scene.new_connections() == 0 if scene.human else scene.new_connections() >= 1
    # It is started again, and all connections end.
    server.restart()
    if scene.human:
        tunnel = user.await_tunnel("auth-needed")
        assert tunnel["cause"] == "network-down"
        assert "closed the connection" in tunnel["message"] or "is lost" in tunnel["message"]
        assert user.run("start", "lab@andes", check=False).returncode == 7
        status, page = scene.page()
        assert status == 503 and "auth-needed" in page and "gearsctl login andes" in page
        assert scene.new_connections() == 0 and scene.programs() == ["gears-relay", "gearsd"]
        user.login()
    else:
        assert scene.await_up() < SOON
    scene.check_whole(1)
    # Its host has another address: the old one answers no more.
    with user.degrades():
        scene.node.renumber(40)
    if scene.human:
        assert scene.new_connections() == 0
        user.login("--force")
    scene.await_up()
    assert user.tunnel()["address"] == "10.77.0.40"
    scene.check_whole(1)
    assert scene.olcf.passcodes_asked() == (3 if scene.human else 0)


class Waiting(threading.Thread):
    """A client that asks for a page and waits for it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.answer: int | str = ""
        self.start()

    def run(self) -> None:
        try:
            self.answer = LabClient(self.path, "").raw("GET", "/lab")[0]
        except (OSError, http.client.HTTPException) as error:
            self.answer = type(error).__name__


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_the_hub_fails(scene: Scene) -> None:
    hub, user, server = scene.hub, scene.user, scene.server
    scene.start_lab()
    # It sleeps for longer than silence is borne for.
    hub.suspend()
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > 2.5, "a while")
    hub.resume()
    wait_until(lambda: user.tunnel()["state"] == "up" and scene.page()[0] == 302, "it to be up")
    assert scene.remembers()
    assert scene.new_connections() <= (0 if scene.human else 1)

    # gearsd dies while the hop is silent.
    with user.degrades():
        server.freeze(listener=True)
    user.kill_daemon()
    if scene.human:
        user.await_tunnel("degraded")
    else:
        scene.await_cause("network-down")
    # The relay dies while a client waits: that one is closed at once, the next is served.
    (relay,) = user.processes("gears-relay")
    before = open_files(relay)
    waiting = Waiting(scene.socket)
    wait_until(lambda: open_files(relay) > before, "that it waits")
    user.kill(relay, signal.SIGKILL)
    waiting.join(60)
    assert waiting.answer in ("RemoteDisconnected", "ConnectionResetError", "BrokenPipeError"), (
        waiting.answer
    )
    wait_until(lambda: not alive(relay), "the end of the relay")
    wait_until(lambda: connects(scene.socket), "the relay's successor")
    server.thaw()
    scene.await_up()
    assert scene.remembers() and scene.programs() == RUNNING
    assert scene.new_connections() == 0 if scene.human else scene.new_connections() >= 1
    assert scene.olcf.passcodes_asked() == (1 if scene.human else 0)


def test_a_stopped_tunnel_is_missed(parked: Scene) -> None:
    user = parked.user
    parked.open()
    (tunnel,) = user.tunnel_processes()
    user.kill(tunnel, signal.SIGSTOP)
    assert "gears-tunnel does not answer" in user.await_tunnel("degraded")["message"]
    assert parked.page()[0] == 503
    # Another gearsd knows what it may hold, and takes no second one for it.
    user.kill_daemon()
    assert "gears-tunnel does not answer" in user.await_tunnel("degraded")["message"]
    assert "open already" in user.run("login", "andes").stderr
    user.kill(tunnel, signal.SIGCONT)
    parked.await_up()
    assert user.tunnel_processes() == [tunnel]
    # Another login must wait for its end; who gives that up is asked nothing afterwards.
    user.kill(tunnel, signal.SIGSTOP)
    home = parked.olcf.gears.home

    def logins() -> int:
        logs = home.glob("log/hub*/gearsd/*.log")
        return sum(path.read_text().count(" audit login ") for path in logs)

    before = logins()
    with user.at("login", "andes", "--force") as terminal:
        wait_until(lambda: logins() > before, "gearsd to hear of it")
        terminal.type("\x03")
        assert terminal.wait() == 130, terminal.output
    wait_until(lambda: not alive(tunnel), "the end of the tunnel", 10)
    user.await_tunnel("auth-needed", 20)
    assert parked.new_connections() == 0 and not user.tunnel_processes()
    parked.open()
    (tunnel,) = user.tunnel_processes()
    # Told to end, it is given some time.
    user.kill(tunnel, signal.SIGSTOP)
    user.run("logout", "andes")
    wait_until(lambda: not alive(tunnel), "the end of the tunnel")
    assert user.status()["tunnels"] == []
    assert parked.new_connections() == 0 and parked.olcf.passcodes_asked() == 2


def test_a_silent_hop_that_was_paid_for_is_given_up_at_last(parked: Scene) -> None:
    conf = parked.olcf.gears.home / "etc/gears.conf"
    conf.write_text(conf.read_text() + "dead_after = 2s\n")
    parked.open()
    parked.server.freeze(listener=True)
    tunnel = parked.user.await_tunnel("auth-needed")
    assert tunnel["cause"] == "network-down" and "given up" in tunnel["message"]
    assert "gearsctl login andes" in tunnel["message"]
    parked.server.thaw()
    status, page = parked.page()
    assert status == 503 and "given up" in page and "gearsctl login andes" in page
    assert parked.user.run("status", "lab@andes", check=False).returncode == 7
    assert parked.new_connections() == 0 and parked.programs() == ["gears-relay", "gearsd"]


def test_gearsd_dies_at_the_prompt(parked: Scene) -> None:
    user = parked.user
    with user.at("login", "andes") as terminal:
        terminal.expect("Enter PASSCODE: ")
        (tunnel,) = user.tunnel_processes()
        user.kill_daemon()
        assert terminal.wait() == 5, terminal.output
        assert terminal.echoes()
    # Nobody could answer: nothing of it stays. (Without another gearsd: tests/tunnel.)
    assert user.run("status", check=False).returncode == 0
    wait_until(lambda: not alive(tunnel), "the end of the tunnel")
    assert parked.new_connections() == 1
    assert parked.programs() == ["gears-relay", "gearsd"]
    # So of a hop that was open before: whoever cannot be asked gets no connection for it.
    parked.open()
    parked.server.disconnect()
    user.await_tunnel("auth-needed", 20)
    with user.at("login", "andes") as terminal:
        terminal.expect("Enter PASSCODE: ")
        (tunnel,) = user.tunnel_processes()
        user.kill_daemon()
        assert user.run("login", "andes", check=False).returncode == 7
        assert terminal.wait() == 5, terminal.output
    assert "gearsctl login andes" in user.await_tunnel("auth-needed", 20)["message"]
    wait_until(lambda: not alive(tunnel), "the end of the tunnel", 20)
    user.kill_daemon()
    assert user.run("login", "andes", check=False).returncode == 7
    assert parked.new_connections() == 1 and user.tunnel()["state"] == "auth-needed"


def test_the_tunnel_is_killed_at_each_stage_of_a_login(parked: Scene) -> None:
    user, olcf = parked.user, parked.olcf
    nodes = olcf.andes
    servers = [node.sshd for node in nodes if node.sshd]

    def killed_at(words: str, answer: bool = False) -> str:
        with user.at("login", "andes", "--node", "andes-login1") as terminal:
            if answer:
                terminal.expect("Enter PASSCODE: ")
                servers[0].freeze()
                terminal.type(f"{olcf.fresh_code()}\n")
            terminal.expect(words)
            (tunnel,) = user.tunnel_processes()
            user.kill(tunnel, signal.SIGKILL)
            assert terminal.wait() == 1, terminal.output
            assert terminal.echoes()
            servers[0].thaw()
            return terminal.output

    nodes[0].drop(olcf.hub1)
    assert "gears-tunnel, which held the connection, was ended" in killed_at("connecting to")
    nodes[0].undrop(olcf.hub1)
    servers[0].freeze(listener=True)
    killed_at("greeting")
    killed_at("Enter PASSCODE: ")
    killed_at("logging in", answer=True)
    assert user.tunnel()["state"] in ("down", "auth-needed")
    assert parked.programs() == ["gears-relay", "gearsd"]
    before = parked.new_connections()
    # Nothing was opened by itself, and a human gets in as ever.
    user.login()
    assert parked.new_connections() == 1 and before <= 3
    assert parked.programs() == RUNNING
