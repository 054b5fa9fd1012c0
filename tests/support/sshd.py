"""A private OpenSSH server that asks one-time PASSCODEs.

It runs in a mount namespace of its own, or on a Node of a Network, so that it finds its own pam.d
and passwd there and the machine's stay as they are. Every process of it runs a copy of sshd with
a name of its own: PAM takes its service's name from that, and the test finds its processes by it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest
from passcodes import USER, Passcodes
from private_etc import PrivateEtc
from processes import alive, wait_until

if TYPE_CHECKING:
    from conftest import Gears
    from network import Node

METHODS = {
    "passcode": "keyboard-interactive",
    "password": "password",
    "publickey": "publickey",
    "passcode+publickey": "publickey,keyboard-interactive",  # both, the key first
    "passcode/publickey": "publickey keyboard-interactive",  # either
}
PROGRAM = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")


def _why_not() -> str:
    if os.geteuid() != 0:
        return "needs root: a private sshd logs in by PAM"
    if not PROGRAM:
        return "needs openssh-server; contrib/test.sh installs it"
    words = ["unshare", "--mount", "true"]
    may = shutil.which("unshare") and subprocess.run(words, check=False).returncode == 0
    return "" if may else "needs mount namespaces"


WHY_NOT = _why_not()
needs_sshd = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


def server_environment(gears: Gears) -> dict[str, str]:
    """What a command run by ssh must see to belong to this test's Gears."""
    names = ("GEARS_HOME", "GEARS_SITE_CONFIG", "ASAN_OPTIONS")
    chosen = {name: gears.environment[name] for name in names}
    return {**chosen, "PATH": f"{gears.venv}/bin:{os.environ['PATH']}"}


def new_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> str:
    """Make a key pair; the public line."""
    words = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", path.name, "-f", str(path)]
    subprocess.run(words, check=True)
    return path.with_suffix(".pub").read_text()


class Sshd:
    """One server; a context manager that ends all it ran.

    `home` is where its user is at home. `host_keys`: types, or a folder with the keys of another
    server, for members of one name. `extra`: lines of sshd_config that come first and so win,
    such as "Ciphers aes256-gcm@openssh.com". On a `node` it listens at port 22.
    """

    # For the report of a failed test: who serves, and what those said that were closed.
    living: ClassVar[list[Sshd]] = []
    said: ClassVar[list[str]] = []

    def __init__(
        self,
        home: Path,
        auth: str = "passcode",
        *,
        node: Node | None = None,
        passcodes: Passcodes | None = None,
        address: str = "127.0.0.1",
        host_keys: Iterable[str] | Path = ("ed25519",),
        environment: Mapping[str, str] | None = None,
        max_sessions: int = 1,
        stream_forwarding: bool = True,
        banner: str = "",
        shell: str = "/bin/bash",
        extra: Iterable[str] = (),
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gs", dir="/tmp"))
        self.name = self.folder.name
        self.program = self.folder / self.name
        self.log_file = self.folder / "log"
        self.config = self.folder / "sshd_config"
        self.authorized = self.folder / "authorized_keys"
        self.auth = auth
        self.node = node
        self.own_address = address
        self.port = 22 if node else 0
        self.environment = dict(environment or {})
        self.max_sessions = max_sessions
        self.stream_forwarding = stream_forwarding
        self.extra = list(extra)
        self.process: subprocess.Popen[bytes] | None = None
        self.space: int | None = None  # holds the mount namespace; no node's
        shutil.copy(PROGRAM or "", self.program)
        self.log_file.touch()
        self.authorized.touch(0o600)
        self.passcodes = passcodes or Passcodes(self.folder)
        self.etc = node.etc if node else PrivateEtc(self.folder, home, shell)
        if banner:
            (self.folder / "banner").write_text(banner)
        service = self.passcodes.pam_service(self.folder / "banner" if banner else None)
        (self.etc.pam / self.name).write_text(service)
        self.keys = host_keys if isinstance(host_keys, Path) else self._make_keys(host_keys)

    def _make_keys(self, kinds: Iterable[str]) -> Path:
        for kind in kinds:
            new_key(self.folder / f"host_{kind}", kind)
        return self.folder

    def change_keys(self, kinds: Iterable[str]) -> None:
        """Other host keys, as a reinstalled host or an impostor has; from the next start on."""
        for path in self.keys.glob("host_*"):
            path.unlink()
        self._make_keys(kinds)

    # What it is, for those who log in.

    @property
    def address(self) -> str:
        return self.node.address if self.node else self.own_address

    def known_hosts(self, *names: str) -> str:
        """Lines for known_hosts, under these names or that of its address and port."""
        plain = self.address if self.port == 22 else f"[{self.address}]:{self.port}"
        keys = [path.read_text().split()[:2] for path in sorted(self.keys.glob("host_*.pub"))]
        return "".join(f"{','.join(names) or plain} {kind} {key}\n" for kind, key in keys)

    def fingerprint(self, kind: str = "ed25519") -> str:
        """SHA256:… of its host key."""
        words = ["ssh-keygen", "-l", "-f", str(self.keys / f"host_{kind}.pub")]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()[1]

    def fresh_code(self, user: str = USER) -> str:
        return self.passcodes.fresh(user)

    def give_code(self, code: str, user: str = USER) -> str:
        return self.passcodes.give(code, user)

    def set_password(self, password: str, user: str = USER) -> str:
        return self.passcodes.give(password, user, keep=True)

    def authorize(self, public_key: str) -> None:
        with self.authorized.open("a") as file:
            file.write(public_key)

    # What it saw.

    @property
    def log(self) -> str:
        return self.log_file.read_text("utf-8", "replace")

    def connections(self) -> int:
        """How many TCP connections were made to it since it exists."""
        return self.log.count("\nConnection from ")

    def passcodes_asked(self) -> int:
        return self.passcodes.asked(self.name)

    def explain(self) -> str:
        events = [event.what for event in self.passcodes.events(self.name)]
        return f"--- {self.log_file} ({self.address}:{self.port})\n{self.log}events: {events}"

    # Its life.

    def __enter__(self) -> Sshd:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write_config(self) -> None:
        interactive = "passcode" in self.auth
        variables = " ".join(f'"{name}={value}"' for name, value in self.environment.items())
        lines = [
            *self.extra,
            f"ListenAddress {'0.0.0.0' if self.node else self.address}:{self.port}",
            *(f"HostKey {path.with_suffix('')}" for path in sorted(self.keys.glob("host_*.pub"))),
            "PidFile none",
            "LogLevel VERBOSE",
            "StrictModes no",  # /tmp is writable for all
            "UsePAM yes",
            "PermitRootLogin yes",
            f"AuthenticationMethods {METHODS[self.auth]}",
            f"KbdInteractiveAuthentication {'yes' if interactive else 'no'}",
            f"PasswordAuthentication {'yes' if self.auth == 'password' else 'no'}",
            f"PubkeyAuthentication {'yes' if 'publickey' in self.auth else 'no'}",
            f"AuthorizedKeysFile {self.authorized}",
            f"MaxSessions {self.max_sessions}",
            f"AllowStreamLocalForwarding {'yes' if self.stream_forwarding else 'no'}",
            "PrintMotd no",
            "PrintLastLog no",
            "Subsystem sftp internal-sftp",
            *([f"SetEnv {variables}"] if variables else []),
        ]
        self.config.write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        """Serve (again): as set up, at the same port, whatever became of an earlier life."""
        assert not self.process, "it serves already"
        started = self._start() if self.port else self._start_somewhere()
        assert started, f"sshd did not start:\n{self.log}"
        Sshd.living.append(self)

    def _start_somewhere(self) -> bool:
        for _ in range(10):  # another test may take the port first
            with socket.create_server((self.address, 0)) as probe:
                self.port = probe.getsockname()[1]
            if self._start():
                return True
        return False

    def _start(self) -> bool:
        self._write_config()
        # A run that is killed takes it along (start it from the main thread).
        tied = ["setpriv", "--pdeathsig", "KILL"]
        serve = [str(self.program), "-D", "-f", str(self.config), "-E", str(self.log_file)]
        if self.node:
            words = [*self.node.prefix, *serve]
        elif self.space is not None:
            words = ["nsenter", f"--mount=/proc/{os.getpid()}/fd/{self.space}", *tied, *serve]
        else:
            script = " && ".join([*self.etc.mounts(), f"exec {' '.join([*tied, *serve])}"])
            words = ["unshare", "--mount", "sh", "-c", script]
        before = self.log.count("Server listening on")
        self.process = subprocess.Popen(
            words,
            env={"PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        process = self.process
        wait_until(
            lambda: self.log.count("Server listening on") > before or process.poll() is not None,
            "sshd's start",
        )
        if process.poll() is None:
            self.listener = self._find_listener(process.pid)
            if not self.node and self.space is None:
                self.space = os.open(f"/proc/{self.listener}/ns/mnt", os.O_RDONLY)
            return True
        self.process = None
        return False

    def _find_listener(self, pid: int) -> int:
        if not self.node:
            return pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0])  # of the nsenter that waits for it

    def processes(self) -> list[int]:
        """The listener, and what serves each connection."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.readlink(entry / "exe") == str(self.program):
                    found.append(int(entry.name))
            except OSError:
                continue
        return sorted(found)

    def serving(self) -> list[int]:
        """What serves the connections."""
        return [pid for pid in self.processes() if pid != self.listener or not self.process]

    def has_unread(self) -> bool:
        """Whether bytes came on a connection that it has not read yet; no node's."""
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, here, _, state, queues = line.split()[:5]
            port, unread = (int(field.split(":")[1], 16) for field in (here, queues))
            if port == self.port and state == "01" and unread:
                return True
        return False

    def freeze(self, listener: bool = False) -> None:
        """Stop answering on the open connections; with `listener` on new ones too."""
        for pid in self.processes() if listener else self.serving():
            _signal(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        waits = [self.process.pid] if self.process else []  # nsenter stops with whom it waits for
        for pid in (*self.processes(), *waits):
            _signal(pid, signal.SIGCONT)

    def disconnect(self) -> None:
        """End all open connections; what their sessions started may go on."""
        self._end(self.serving())

    def stop(self, disconnect: bool = True) -> None:
        """Listen no longer; open connections end too unless they are to stay."""
        if self.process:  # first, so that it makes no new child meanwhile
            self._end([pid for pid in self.processes() if pid == self.listener])
            self.process.kill()  # an nsenter that stopped with it would wait for ever
            self.process.wait()
            self.process = None
            Sshd.living.remove(self)
        if disconnect:
            self._end(self.processes())

    def restart(self, disconnect: bool = True) -> None:
        self.stop(disconnect)
        self.start()

    def _end(self, pids: list[int]) -> None:
        for pid in pids:
            _signal(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(alive, pids)), "the end of sshd")

    def _ran_inside(self, space: int) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.path.samestat(
                    (entry / "ns/mnt").stat(), os.fstat(space)
                ):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def close(self) -> None:
        """Stop, and end what its sessions left, but for a node's: those end with the node."""
        self.stop()
        if self.space is not None:
            self._end(self._ran_inside(self.space))
            os.close(self.space)
            self.space = None
        Sshd.said.append(self.explain())
        (self.etc.pam / self.name).unlink(missing_ok=True)
        shutil.rmtree(self.folder)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
