"""Files of /etc that a test changes: copies, bound over the real ones in a mount namespace."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


class PrivateEtc:
    """passwd with a home and shell of the test's choice, pam.d, and an empty /run and /var/log.

    Nothing of it is seen outside, and nothing is left when the namespace is gone.
    """

    def __init__(self, folder: Path, home: Path, shell: str = "/bin/bash") -> None:
        self.folder = folder
        self.passwd = folder / "passwd"
        self.group = folder / "group"
        self.pam = folder / "pam.d"
        lines = Path("/etc/passwd").read_text().splitlines()
        others = [line for line in lines if not line.startswith("root:")]
        root = f"root:x:0:0:root:{home}:{shell}"
        self.passwd.write_text("\n".join([root, *others]) + "\n")
        shutil.copy("/etc/group", self.group)
        shutil.copytree("/etc/pam.d", self.pam)

    def mounts(self) -> list[str]:
        """Shell commands that put it into place."""
        return [
            f"mount --bind {self.passwd} /etc/passwd",
            f"mount --bind {self.group} /etc/group",
            f"mount --bind {self.pam} /etc/pam.d",
            "mount -t tmpfs -o mode=755 none /run",
            "mkdir /run/sshd",  # where sshd locks up what it does not trust
            "mount -t tmpfs -o mode=755 none /var/log",  # wtmp and lastlog stay as they are
        ]

    def add_user(self, name: str, uid: int, home: Path, shell: str = "/bin/bash") -> None:
        """One more ordinary user with a home of their own."""
        home.mkdir(parents=True, mode=0o700)
        os.chown(home, uid, uid)
        with self.passwd.open("a") as file:
            file.write(f"{name}:x:{uid}:{uid}::{home}:{shell}\n")
        with self.group.open("a") as file:
            file.write(f"{name}:x:{uid}:\n")
