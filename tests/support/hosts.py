"""Hosts that share one GEARS_HOME: each has its own network, name, boot id and processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import pytest
from conftest import Gears
from processes import wait_until

# Reaps what it inherits, as an init does; ends, and all with it, when the test's run is gone.
INIT = (
    "import signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
    'print("up", flush=True); sys.stdin.read()'
)


def _may_unshare() -> bool:
    words = ["unshare", "--net", "--uts", "--mount", "--pid", "--fork", "true"]
    tools = all(shutil.which(tool) for tool in ("unshare", "nsenter", "ip"))
    return tools and os.geteuid() == 0 and subprocess.run(words, check=False).returncode == 0


needs_hosts = pytest.mark.skipif(not _may_unshare(), reason="needs root and namespaces")


class Host(Gears):
    """One host of the home of `gears`; a context manager that ends all it ran."""

    def __init__(self, gears: Gears, name: str) -> None:
        self.__dict__.update(vars(gears))
        self.name = name
        number, path = tempfile.mkstemp(prefix="gb", dir="/tmp")
        os.close(number)
        self.boot_file = Path(path)

    def __enter__(self) -> Host:
        self.boot()
        return self

    def boot(self) -> None:
        """Come up, with a new boot id and no process of an earlier life."""
        self.boot_file.write_text(f"{uuid.uuid4()}\n")
        steps = [*self.boot_steps(), f"exec {sys.executable} -S -c '{INIT}'"]
        words = ["unshare", "--net", "--uts", "--mount", "--pid", "--fork", "--kill-child"]
        words += ["sh", "-c", " && ".join(steps)]
        pipe = subprocess.PIPE
        self.holder = subprocess.Popen(words, stdin=pipe, stdout=pipe)
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == b"up\n", f"{self.name} did not come up"
        children = Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children")
        self.init = int(children.read_text().split()[0])
        self.prefix = ["nsenter", "-t", str(self.init), "--net", "--uts", "--mount", "--pid"]

    def boot_steps(self) -> list[str]:
        """Shell commands run on the new host before anything else."""
        return [
            f"hostname {self.name}",
            "ip link set lo up",
            "mount -t proc proc /proc",
            f"mount --bind {self.boot_file} /proc/sys/kernel/random/boot_id",
        ]

    def crash(self) -> None:
        """Lose power: everything that ran here is gone at once."""
        os.kill(self.init, 9)
        self.holder.communicate()
        wait_until(lambda: not Path(f"/proc/{self.init}").exists(), f"the end of {self.name}")

    def reboot(self) -> None:
        self.crash()
        self.boot()

    def inside(self, *words: str) -> str:
        """What a command prints that runs on this host."""
        result = subprocess.run(
            [*self.prefix, *words],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return result.stdout

    def __exit__(self, *_: object) -> None:
        self.crash()
        self.boot_file.unlink()
