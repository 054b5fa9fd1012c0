"""Somebody at a terminal with OpenSSH's own client, who types what is asked for."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import IO

from sshd import Sshd

# OpenSSH runs it for each question: it writes the question down and takes the next answer.
ASKPASS = """#!/bin/sh
printf '%s\\0' "$1" >>{folder}/asked
read -r answer <{folder}/answers || exit 1
sed -i 1d {folder}/answers
printf '%s\\n' "$answer"
"""


class SshUser:
    """Runs ssh at `prefix` (a Node's) or here; keeps what it was asked."""

    def __init__(
        self, folder: Path, prefix: list[str] | None = None, home: Path | None = None
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="user", dir=folder))
        self.prefix = prefix or []
        self.asked = self.folder / "asked"
        self.answers = self.folder / "answers"
        self.known_hosts = self.folder / "known_hosts"
        askpass = self.folder / "askpass"
        askpass.write_text(ASKPASS.format(folder=self.folder))
        askpass.chmod(0o700)
        self.asked.touch()
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("SSH_")}
        self.environment |= {"HOME": str(home)} if home else {}
        self.environment |= {"SSH_ASKPASS": str(askpass), "SSH_ASKPASS_REQUIRE": "force"}

    def to(self, server: Sshd, *options: str) -> list[str]:
        """ssh's words for a server whose key is known, without any configuration."""
        self.known_hosts.write_text(server.known_hosts())
        words = ["-F", "none", "-o", f"UserKnownHostsFile={self.known_hosts}"]
        words += ["-o", "StrictHostKeyChecking=yes", "-p", str(server.port), *options]
        return [*words, f"root@{server.address}"]

    def start(
        self, *words: str, answers: tuple[str, ...] = (), stdin: int | IO[str] | None = None
    ) -> subprocess.Popen[str]:
        self.answers.write_text("".join(f"{answer}\n" for answer in answers))
        return subprocess.Popen(
            [*self.prefix, "ssh", *words],
            env=self.environment,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, *words: str, answers: tuple[str, ...] = (), timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        process = self.start(*words, answers=answers)
        try:
            output, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def questions(self) -> list[str]:
        """What ssh asked since this user exists."""
        return self.asked.read_text("utf-8", "replace").split("\0")[:-1]
