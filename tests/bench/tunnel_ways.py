"""The ways over an SSH hop that are compared: gears-tunnel, and ssh and autossh with -L. All lead
to one private sshd on the loopback, some through a program that holds every byte back."""

from __future__ import annotations

import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from home import wait_until
from machine import children, pin

TESTS = Path(__file__).parents[1]
USER = pwd.getpwuid(os.geteuid()).pw_name
SSHD = "/usr/sbin/sshd"


def support(programs: Path) -> Any:
    """The tests' own leader of a gears-tunnel."""
    os.environ["GEARS_BIN"] = str(programs)
    sys.path[1:1] = [path for path in (str(TESTS), str(TESTS / "support")) if path not in sys.path]
    import tunnel_link

    return tunnel_link


class Server:
    """An sshd that lets one key in and writes down what was agreed on."""

    address = "127.0.0.1"

    def __init__(self, folder: Path, core: int) -> None:
        self.folder, self.core = folder, core
        self.key, self.log = folder / "key", folder / "sshd.log"
        for path in (self.key, folder / "host_key"):
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
            subprocess.run(words, check=True)
        with socket.create_server((self.address, 0)) as probe:
            self.port = probe.getsockname()[1]
        config = folder / "sshd_config"
        config.write_text(
            f"ListenAddress {self.address}:{self.port}\nHostKey {folder}/host_key\n"
            f"AuthorizedKeysFile {self.key}.pub\nStrictModes no\nPermitRootLogin yes\n"
            "UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "PidFile none\nMaxSessions 1\nLogLevel DEBUG1\nPrintMotd no\n"
        )
        serve = f"exec setpriv --pdeathsig KILL {SSHD} -D -f {config} -E {self.log}"
        words = ["sh", "-c", serve]
        if os.geteuid() == 0 and not Path("/run/sshd").exists():
            space = f"mount -t tmpfs -o mode=755 none /run && mkdir /run/sshd && {serve}"
            words = ["unshare", "--mount", "sh", "-c", space]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        wait_until(lambda: "Server listening" in self.text(), "sshd to listen")
        pin(core, self.process.pid)

    def text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def known_hosts(self, port: int = 0) -> str:
        kind, key = (self.folder / "host_key.pub").read_text().split()[:2]
        return f"[{self.address}]:{port or self.port} {kind} {key}\n"

    def agreed(self) -> tuple[str, str]:
        """Cipher and MAC of the last connection."""
        found = re.findall(r"server->client cipher: (\S+) MAC: (\S+)", self.text())
        return found[-1]

    def serving(self) -> list[int]:
        return children(self.process.pid)[1:]

    def close(self) -> None:
        for pid in reversed(children(self.process.pid)):
            os.kill(pid, signal.SIGKILL)
        self.process.wait()


class Delay:
    """A port behind which the server is so many milliseconds of round trip away."""

    def __init__(self, programs: Path, round_trip_ms: int, port: int) -> None:
        words = [str(programs / "bench_delay"), str(round_trip_ms / 2), str(port)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, stdin=pipe, stdout=pipe)
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate()


class Way:
    """fronts: a Unix socket for each target, in the order of the targets."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fronts: list[Path] = []
        self.pid = 0
        self.agreed = ("", "")

    def address(self, target: int = 0) -> str:
        return f"unix:{self.fronts[target]}"


class GearsWay(Way):
    """A gears-tunnel alone; this process accepts its clients, as gears-relay does."""

    def __init__(
        self,
        name: str,
        link: Any,
        server: Server,
        folder: Path,
        targets: Sequence[Path],
        core: int,
        port: int = 0,
        **settings: str | int,
    ) -> None:
        super().__init__(name)
        folder.mkdir()
        os.symlink(server.key, folder / "key")
        hop = link.hop_record(_Seen(server, port), folder, user=USER)
        config = folder / "ssh_config"  # what transport = openssh reads in place of the user's
        config.write_text(
            f"IdentityFile {server.key}\nIdentitiesOnly yes\nIdentityAgent none\n"
            f"UserKnownHostsFile {folder}/known_hosts\nGlobalKnownHostsFile none\n"
        )
        with mock.patch.dict(os.environ, {"GEARS_SSH_CONFIG": str(config)}):
            self.tunnel = link.Tunnel(folder, [hop], **settings)
        try:
            self.tunnel.wait_state("UP")
            # As gearsd does after each login. sshd gives up Nagle's rule (TCP_NODELAY) when its
            # session channel runs something; for `ssh -N` none ever does.
            self.tunnel.run("printf '\\n@gears-report 1 {}\\n'")
        except BaseException:
            self.tunnel.close()
            raise
        self.pid = self.tunnel.pid
        pin(core, self.pid)
        self.agreed = server.agreed()
        self.listeners: list[socket.socket] = []
        for number, target in enumerate(targets):
            self.fronts.append(folder / f"front{number}")
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(self.fronts[-1]))
            listener.listen(1000)
            self.listeners.append(listener)
            threading.Thread(target=self._accept, args=(listener, target), daemon=True).start()

    def _accept(self, listener: socket.socket, target: Path) -> None:
        while True:
            try:
                client, _ = listener.accept()
                self.tunnel.hand_over(target, client)
            except OSError:
                return

    def close(self) -> None:
        for listener in self.listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        if not self.tunnel.has_ended():
            self.tunnel.finish()
        self.tunnel.close()
        wait_until(lambda: not Path(f"/proc/{self.pid}").exists(), "the end of gears-tunnel")


class _Seen:
    """The server as it is seen behind a port of Delay."""

    def __init__(self, server: Server, port: int) -> None:
        self.server, self.address, self.port = server, server.address, port or server.port

    def known_hosts(self) -> str:
        return self.server.known_hosts(self.port)


class SshWay(Way):
    """ssh -N -L, or what is said instead of ssh."""

    def __init__(
        self,
        name: str,
        server: Server,
        folder: Path,
        targets: Sequence[Path],
        core: int,
        port: int = 0,
        options: Sequence[str] = (),
        program: Sequence[str] = ("ssh",),
    ) -> None:
        super().__init__(name)
        folder.mkdir()
        known = folder / "known_hosts"
        known.write_text(server.known_hosts(port))
        self.fronts = [folder / f"front{number}" for number in range(len(targets))]
        forwards = [f"-L{front}:{target}" for front, target in zip(self.fronts, targets)]
        fixed = [f"UserKnownHostsFile={known}", "IdentityAgent=none", "BatchMode=yes"]
        fixed += ["ExitOnForwardFailure=yes", "StreamLocalBindUnlink=yes"]
        words = [*program, "-F", "none", "-N", "-i", str(server.key), *options, *forwards]
        words += [word for option in fixed for word in ("-o", option)]
        words += ["-p", str(port or server.port), f"{USER}@{server.address}"]
        self.log = folder / "log"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stderr=out,
                preexec_fn=lambda: pin(core),
                env={**os.environ, "AUTOSSH_GATETIME": "0"},
            )
        self.pid = self.process.pid
        try:
            wait_until(lambda: all(front.exists() for front in self.fronts), f"{name} to listen")
        except TimeoutError as error:
            self.close()
            raise RuntimeError(f"{error}: {self.log.read_text()}") from None
        self.agreed = server.agreed()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()
