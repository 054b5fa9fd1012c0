"""A small centre: two hubs and three login nodes with one home, and a laptop that has its own."""

from __future__ import annotations

from pathlib import Path

from conftest import Gears
from network import Network, Node
from passcodes import Passcodes
from ssh_user import SshUser
from sshd import Sshd, new_key, server_environment

HUBS = "hub.ccs.ornl.gov"
ANDES = "andes.olcf.ornl.gov"


class Olcf(Network):
    """hub1.ccs, hub2.ccs, andes-login1..3.olcf and laptop.home, as Gears names them.

    Every server asks PASSCODEs of one token, unless `hub_auth` or `andes_auth` say otherwise, and
    the servers behind one name have one key. Everybody's known_hosts has them all.
    """

    def __init__(
        self,
        gears: Gears,
        hub_auth: str = "passcode",
        andes_auth: str = "passcode",
        andes_shell: str = "/bin/bash",
    ) -> None:
        super().__init__(gears)
        self.auth = {HUBS: hub_auth, ANDES: andes_auth}
        self.home = gears.home / "user"
        self.laptop_home = gears.home / "laptop"
        self.hub1 = self.add("hub1.ccs.ornl.gov")
        self.hub2 = self.add("hub2.ccs.ornl.gov")
        self.hubs = [self.hub1, self.hub2]
        self.andes = [
            self.add(f"andes-login{number}.olcf.ornl.gov", shell=andes_shell)
            for number in (1, 2, 3)
        ]
        self.laptop = self.add("laptop.home", self.laptop_home)
        self.laptop.environment["GEARS_HOME"] = str(self.laptop_home / "gears")
        self.names = {HUBS: self.hubs, ANDES: self.andes}
        self.servers: list[Sshd] = []

    def start(self) -> None:
        super().start()
        program = self.gears.home / "bin"
        program.symlink_to(self.gears.bin)  # where a hop looks for gearsctl
        self.laptop_home.mkdir()
        self.passcodes = Passcodes(self.folder)
        lines = self._make_servers(HUBS) + self._make_servers(ANDES)
        for home in (self.home, self.laptop_home):
            (home / ".ssh").mkdir(mode=0o700)
            (home / ".ssh/known_hosts").write_text(lines)
        self.serve(self.servers)

    def _make_servers(self, name: str) -> str:
        """The servers of a round-robin name; their lines of known_hosts."""
        keys = self.folder / f"keys-{name}"
        keys.mkdir()
        new_key(keys / "host_ed25519")
        for node in self.names[name]:
            server = Sshd(
                node.user_home,
                self.auth[name],
                node=node,
                passcodes=self.passcodes,
                host_keys=keys,
                environment=server_environment(self.gears),
            )
            node.sshd = server
            self.servers.append(server)
        return server.known_hosts(name, *(node.name for node in self.names[name]))

    def user(self, node: Node) -> SshUser:
        """Somebody who types at a terminal of this node."""
        return SshUser(self.folder, node.prefix, node.user_home)

    def fresh_code(self) -> str:
        return self.passcodes.fresh()

    def passcodes_asked(self) -> int:
        """By all servers together."""
        return self.passcodes.asked()

    def give_key(self) -> None:
        """The user gets a key without a passphrase, which andes knows."""
        key = self.home / ".ssh/id_ed25519"
        new_key(key)
        self.authorize(key, self.andes)

    def authorize(self, key: Path, nodes: list[Node]) -> None:
        """Let the key pair's owner in, where servers take keys."""
        for node in nodes:
            assert node.sshd
            node.sshd.authorize(key.with_suffix(".pub").read_text())
