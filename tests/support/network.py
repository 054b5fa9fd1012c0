"""Hosts that reach each other: one bridge in a namespace of its own, and the faults of networks.

No interface, address or rule is made in the machine's own namespace, so runs side by side cannot
meet, and everything is gone with the processes that hold the namespaces.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from conftest import Gears
from hosts import Host
from private_etc import PrivateEtc
from processes import alive, parent, wait_until

if TYPE_CHECKING:
    from sshd import Sshd

Thing = TypeVar("Thing")
RELAY = Path(__file__).with_name("delay_relay.py")


class Node(Host):
    """A host on the network, with an address, an /etc/hosts and a passwd of its own.

    Its user is root, at home in `user_home`. `sshd` is its server when the test gave it one.
    """

    def __init__(
        self, network: Network, name: str, number: int, user_home: Path, shell: str = "/bin/bash"
    ) -> None:
        super().__init__(network.gears, name)
        self.network = network
        self.number = number
        self.port_name = f"port{number}"  # at the bridge, whatever its address becomes
        self.hardware = f"02:00:00:00:4d:{number:02x}"  # the same after a reboot, as others know it
        self.user_home = user_home
        self.environment = {**self.environment, "HOME": str(user_home), "SHELL": shell}
        self.folder = network.folder / name
        self.folder.mkdir()
        self.etc = PrivateEtc(self.folder, user_home, shell)
        self.hosts_file = self.folder / "hosts"
        self.hosts_file.touch()
        self.own_names = ""  # lines of its /etc/hosts that come before the network's
        self.sshd: Sshd | None = None
        self.up = False

    @property
    def address(self) -> str:
        return f"10.77.0.{self.number}"

    def boot_steps(self) -> list[str]:
        hosts = f"mount --bind {self.hosts_file} /etc/hosts"
        return [*super().boot_steps(), *self.etc.mounts(), hosts]

    def boot(self) -> None:
        super().boot()
        self.up = True
        self.network.plug(self)

    def crash(self) -> None:
        if self.up:
            self.up = False
            super().crash()

    def reboot(self) -> None:
        """A new life with the same address; its sshd is started again."""
        super().reboot()
        if self.sshd:
            self.sshd.stop()
            self.sshd.start()

    # Faults.

    def cut(self) -> None:
        """Pull its cable."""
        self.network.switch(f"ip link set {self.port_name} down")

    def mend(self) -> None:
        self.network.switch(f"ip link set {self.port_name} up")

    def drop(self, other: Node | None = None) -> None:
        """Lose silently whatever it sends and is sent, or only that to and from `other`."""
        self.inside("sh", "-c", self._rules("-I", other))

    def undrop(self, other: Node | None = None) -> None:
        self.inside("sh", "-c", self._rules("-D", other))

    def drop_for(self, seconds: float, other: Node | None = None) -> None:
        """Both, as far apart as said however long it takes to get there."""
        ends = self._rules("-D", other)
        self.inside("sh", "-c", f"{self._rules('-I', other)} && sleep {seconds} && {ends}")

    def _rules(self, order: str, other: Node | None) -> str:
        rules = [
            f"{chain} {side} eth0{f' {end} {other.address}' if other else ''} -j DROP"
            for chain, side, end in (("INPUT", "-i", "-s"), ("OUTPUT", "-o", "-d"))
        ]
        return " && ".join(f"iptables -w {order} {rule}" for rule in rules)

    def end_all(self) -> None:
        """What a site does that lets nothing of a user outlive the session."""
        stay = [self.sshd.listener] if self.sshd and self.sshd.process else []
        pids = [pid for pid in self.all_processes() if pid not in stay]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(alive, pids)), "the end of everything")

    def renumber(self, number: int) -> None:
        """Another address, known by name at once; open connections find nobody."""
        self.inside("ip", "address", "del", f"{self.address}/24", "dev", "eth0")
        self.number = number
        self.inside("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        self.network.write_names()

    def suspend(self) -> None:
        """Close the lid: no process runs, and nothing is answered."""
        self.cut()
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_all(signal.SIGCONT)
        for pid in self.all_processes():  # an nsenter stopped with whom it waits for
            with contextlib.suppress(OSError):
                os.kill(parent(pid), signal.SIGCONT)
        self.mend()

    def all_processes(self) -> list[int]:
        """Outer ids of what runs here, but for its init."""
        space = os.readlink(f"/proc/{self.init}/ns/pid")
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.readlink(entry / "ns/pid") == space:
                    found.append(int(entry.name))
            except OSError:
                continue
        return sorted(set(found) - {self.init})

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self.all_processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


class Network:
    """A context manager: the nodes added before it is entered come up side by side."""

    def __init__(self, gears: Gears) -> None:
        self.gears = gears
        self.folder = Path(tempfile.mkdtemp(prefix="gn", dir="/tmp"))
        self.nodes: list[Node] = []
        self.names: dict[str, list[Node]] = {}  # further ones, such as a round-robin name
        self.bridge: subprocess.Popen[bytes] | None = None

    def add(
        self, name: str, user_home: Path | None = None, shell: str = "/bin/bash", number: int = 0
    ) -> Node:
        home = user_home or self.gears.home / "user"
        node = Node(self, name, number or len(self.nodes) + 1, home, shell)
        self.nodes.append(node)
        return node

    def __enter__(self) -> Network:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self.write_names()
        steps = "ip link add switch type bridge && ip link set switch up && echo up && exec cat"
        self.bridge = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", steps],  # cat ends with the test's run
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.bridge.stdout is not None
        assert self.bridge.stdout.readline() == b"up\n", "the bridge did not come up"
        _side_by_side(Node.boot, self.nodes)

    def stop(self) -> None:
        for node in self.nodes:
            if node.sshd:
                node.sshd.close()
            node.crash()
            node.boot_file.unlink(missing_ok=True)
        if self.bridge:
            self.bridge.communicate()
            self.bridge = None
        shutil.rmtree(self.folder)

    def write_names(self) -> None:
        """Fill every node's /etc/hosts, in place: it is bound."""
        lines = ["127.0.0.1 localhost"]
        for node in self.nodes:
            lines.append(f"{node.address} {node.name} {node.name.partition('.')[0]}")
        for name, members in self.names.items():
            lines += [f"{node.address} {name}" for node in members]
        for node in self.nodes:
            node.hosts_file.write_text(node.own_names + "\n".join(lines) + "\n")

    def switch(self, script: str) -> None:
        """Run a command where the bridge is."""
        assert self.bridge
        words = ["nsenter", "-t", str(self.bridge.pid), "--net", "sh", "-c", script]
        subprocess.run(words, check=True, timeout=60)

    def plug(self, node: Node) -> None:
        port = node.port_name
        self.switch(
            f"ip link add {port} type veth peer name eth0 address {node.hardware} "
            f"netns {node.init} && "
            f"ip link set {port} master switch up"
        )
        up = f"ip address add {node.address}/24 dev eth0 && ip link set eth0 up"
        node.inside("sh", "-c", up)

    def serve(self, servers: list[Sshd]) -> None:
        """Start the servers of nodes side by side."""
        for server in servers:
            assert server.node
            server.node.sshd = server
        _side_by_side(lambda server: server.start(), servers)


def _side_by_side(act: Callable[[Thing], None], things: list[Thing]) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(act, things))


class Delay:
    """A TCP port on a node (or here) behind which a server seems `ms` farther away each way."""

    def __init__(
        self, ms: float, to: tuple[str, int], at: Node | None = None, address: str = "127.0.0.1"
    ) -> None:
        self.address = address
        words = [*(at.prefix if at else []), sys.executable, "-S", str(RELAY)]
        words += [str(ms), address, *map(str, to)]
        self.words = words
        self.port = 0

    def __enter__(self) -> Delay:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(self.words, stdin=pipe, stdout=pipe)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()  # it ends with its input
