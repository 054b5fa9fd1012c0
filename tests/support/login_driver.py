"""A login of the tunnel's alone, led through tests/tunnel_login/login_driver.c."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

import link_frames
from sshd import Sshd

DRIVER = link_frames.BIN / "login_driver"
# libssh2 before 1.11 knows RSA only with SHA-1.
OLD = subprocess.run([str(DRIVER), "--old"], check=False).returncode == 0
CAUSES = {
    number: name.lower().replace("_", "-") for number, name in link_frames.NAMED["CAUSE"].items()
}


class Hop:
    """One server's record; lists are lists, the rest as in common/ssh_hop.h."""

    def __init__(self, server: Sshd | None = None, **fields: Any) -> None:
        self.fields: dict[str, Any] = {"name": "andes", "user": "root"}
        if server:
            self.fields |= {"host": server.address, "port": server.port}
        self.fields |= fields

    def write(self, path: Path) -> Path:
        lines = []
        for key, value in self.fields.items():
            values = value if isinstance(value, list) else [value]
            lines += [f"{key}={one}" for one in values if one is not None]
        path.write_text("\n".join(["gears-record 1", *lines, f"end {len(lines)}"]) + "\n")
        return path


class Login:
    """Runs one login; a context manager that ends it.

    `leaks`: libssh2 is known to lose memory. `prefix`: what leads into other surroundings.
    """

    def __init__(
        self,
        folder: Path,
        *hops: Hop,
        words: tuple[str, ...] = (),
        leaks: bool = False,
        prefix: tuple[str, ...] = (),
    ) -> None:
        folder = Path(tempfile.mkdtemp(prefix="login", dir=folder))
        records = [str(hop.write(folder / f"hop{n}")) for n, hop in enumerate(hops)]
        self.steps: list[str] = []
        self.output = ""
        self.events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.process = subprocess.Popen(
            [*prefix, str(DRIVER), *words, *records],
            # An agent that must not be used is there.
            env={
                **os.environ,
                "SSH_AUTH_SOCK": "/nonexistent",
                **({"ASAN_OPTIONS": "detect_leaks=0"} if leaks else {}),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.output += line
            self.events.put(json.loads(line))
        self.events.put(None)

    def next(self, kind: str, timeout: float = 60) -> Any:
        """The next event of that kind; steps before it are kept in `steps`."""
        while True:
            try:
                event = self.events.get(timeout=timeout)
            except queue.Empty:
                raise AssertionError(f"no {kind} came; before: {self.output}") from None
            assert event, f"the driver ended without {kind}: {self.output}"
            if kind in event:
                return event[kind]
            assert "step" in event, f"{event} instead of {kind}"
            self.steps.append(event["step"])

    def prompt(self) -> dict[str, Any]:
        return self.next("prompt")

    def texts(self) -> list[str]:
        """The questions of the next prompt."""
        return [question["text"] for question in self.prompt()["prompts"]]

    def done(self, timeout: float = 60) -> dict[str, Any]:
        result = self.next("done", timeout)
        return {**result, "cause": CAUSES[result["cause"]]}

    def say(self, *answers: str) -> None:
        assert self.process.stdin
        self.process.stdin.write("".join(f"{answer}\n" for answer in answers))
        self.process.stdin.flush()

    def cancel(self) -> None:
        self.say("^C")

    def step(self, words: str) -> str:
        """Wait for a step that has these words."""
        while True:
            step = self.next("step")
            self.steps.append(step)
            if words in step:
                return step

    def __enter__(self) -> Login:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        assert self.process.stdin and self.process.stderr
        self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        self.reader.join()
        errors = self.process.stderr.read()
        if not kind:
            assert not errors, errors
            assert self.process.returncode == 0, self.process.returncode


def run(folder: Path, *hops: Hop, words: tuple[str, ...] = ()) -> dict[str, Any]:
    """A login without prompts, from its beginning to its end."""
    with Login(folder, *hops, words=words) as login:
        return {**login.done(), "steps": login.steps}
