"""One-time PASSCODEs: which are good, and what the servers' PAM module asked and decided."""

from __future__ import annotations

import contextlib
import fcntl
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).with_name("pam_passcode.c")
USER = "root"  # the servers run as whoever runs the tests, and that must be root


class Event(NamedTuple):
    """`what`: "asked passcode" ("tokencode", "pin", "again", "confirm"), accepted, refused."""

    at: float
    server: str
    user: str
    what: str


class Passcodes:
    """A token server's memory, for one server or for several that share it."""

    def __init__(self, folder: Path) -> None:
        self.codes = folder / "codes"
        self.log = folder / "events"
        self.module = folder / "pam_passcode.so"
        self.used: set[str] = set()
        self.codes.touch(0o600)
        self.log.touch(0o600)
        flags = ["-std=c17", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror"]
        words = ["cc", *flags, "-shared", "-fPIC", "-o", str(self.module), str(SOURCE), "-lpam"]
        subprocess.run(words, check=True)

    def give(self, code: str, user: str = USER, keep: bool = False) -> str:
        """Make a code good: once, or always like a password."""
        with self.codes.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(f"{user} {code}{' keep' if keep else ''}\n")
        return code

    def fresh(self, user: str = USER, first: str = "1234567") -> str:
        """A code never given before that is good once; `first`: digits it may start with."""
        code = ""
        while not code or code in self.used:
            code = random.choice(first) + f"{random.randrange(10**9):09}"
        self.used.add(code)
        return self.give(code, user)

    def fresh_with_next(self, user: str = USER) -> tuple[str, str]:
        """A code after which the next tokencode is asked for, and that tokencode."""
        return self.fresh(user, "9"), self.fresh(user)

    def fresh_first_login(self, user: str = USER) -> str:
        """A code after which a new PIN is asked for: PIN, the same again, y."""
        return self.fresh(user, "8")

    def left(self) -> int:
        """How many codes were given and not used."""
        return len(self.codes.read_text().splitlines())

    @contextlib.contextmanager
    def undecided(self) -> Iterator[None]:
        """Meanwhile no code is judged, as when that takes somebody with a telephone."""
        with self.codes.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def events(self, server: str | None = None) -> list[Event]:
        """What happened, on one server or everywhere."""
        lines = [line.split(" ", 3) for line in self.log.read_text().splitlines()]
        events = [Event(float(at), name, user, what) for at, name, user, what in lines]
        return [event for event in events if server in (None, event.server)]

    def count(self, what: str, server: str | None = None) -> int:
        return sum(event.what == what for event in self.events(server))

    def asked(self, server: str | None = None) -> int:
        """How often somebody was asked for a PASSCODE."""
        return self.count("asked passcode", server)

    def pam_service(self, banner: Path | None = None) -> str:
        """The text of a server's file in pam.d."""
        words = [str(self.module), f"codes={self.codes}", f"events={self.log}"]
        words += [f"banner={banner}"] if banner else []
        return (
            f"auth required {' '.join(words)}\n"
            "account required pam_permit.so\nsession required pam_permit.so\n"
        )
