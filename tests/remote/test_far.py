"""What may be wrong on the login node: noisy shells, no Gears, an old one, refused forwards."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from conftest import Gears
from hub_user import HubUser
from lab_client import LabClient
from olcf import Olcf
from processes import wait_until
from sshd import WHY_NOT


@pytest.fixture
def keys(gears: Gears) -> Iterator[HubUser]:
    """At hub1, where a key without a passphrase opens the cluster."""
    if WHY_NOT:
        pytest.skip(WHY_NOT)
    with Olcf(gears, andes_auth="publickey") as olcf:
        olcf.give_key()
        with HubUser(olcf, olcf.hub1) as user:
            yield user


NOISE = """
echo "*** Scheduled maintenance on Tuesday ***"
echo "Lmod has detected the following error" >&2
printf 'a prompt without a newline: '
printf '@gears-report 1 nonsense\\n'
module() { echo loading; }; module
"""


def test_noisy_shells_do_no_harm(keys: HubUser) -> None:
    (keys.olcf.home / ".bashrc").write_text(NOISE)
    assert keys.run("start", "lab@andes").returncode == 0
    assert keys.lab().raw("GET", "/api")[0] == 200


def test_no_gears_there(keys: HubUser) -> None:
    conf = keys.olcf.gears.home / "etc/gears.conf"
    with conf.open("a") as file:
        file.write("[cluster:andes]\nprogram = /opt/none/gearsctl\n")
    result = keys.run("start", "lab@andes", check=False)
    assert result.returncode == 1
    assert "Gears is not installed there" in result.stderr
    assert "sh contrib/quickstart.sh" in result.stderr
    tunnel = keys.tunnel()
    assert tunnel["state"] == "up" and "not installed" in tunnel["message"]
    path = keys.olcf.gears.home / "run/andes.sck"
    status, page, _ = LabClient(path, "").raw("GET", "/lab")
    assert status == 503 and b"not installed" in page
    # Mended there, it is found without another login.
    conf.write_text(conf.read_text().replace("program = /opt/none/gearsctl\n", ""))
    keys.run("call", "Reload")
    assert keys.run("start", "lab@andes").returncode == 0
    assert sum(node.sshd.connections() for node in keys.olcf.andes if node.sshd) == 1


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("#!/bin/sh\necho 'gearsctl: daemon: unexpected report' >&2\nexit 2\n", "too old for hops"),
        ("\x7fELF\x02\x01\x01" + "\0" * 57, "not installed there for that machine"),
        (
            "#!/bin/sh\necho 'gearsctl: no build is installed' >&2\nexit 1\n",
            "no build is installed",
        ),
    ],
    ids=["old", "wrong-architecture", "broken"],
)
def test_wrong_gears_there(keys: HubUser, program: str, words: str) -> None:
    wrong = keys.olcf.gears.home / "wrong-gearsctl"
    wrong.write_text(program)
    wrong.chmod(0o755)
    with (keys.olcf.gears.home / "etc/gears.conf").open("a") as conf:
        conf.write(f"[cluster:andes]\nprogram = {wrong}\n")
    result = keys.run("login", "andes", check=False)
    assert result.returncode == 1 and words in result.stderr, result.stderr


def test_everything_at_once(keys: HubUser, tmp_path: Path) -> None:
    keys.run("start", "lab@andes")
    command = [*keys.hub.prefix, str(keys.hub.bin / "gearsctl")]
    environment = keys.hub.environment

    def begin(*words: str, stdout: int | IO[str] = subprocess.PIPE) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*command, *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            text=True,
        )

    watching = [
        ("status", "lab@andes", "--watch", "--json"),
        ("logs", "lab@andes", "-f"),
        ("status", "--watch", "--json"),
    ]
    outputs = [tmp_path / str(number) for number in range(len(watching))]
    followers = []
    for words, path in zip(watching, outputs):
        with path.open("w") as file:
            followers.append(begin(*words, stdout=file))
    quick = [begin("url", "lab@andes") for _ in range(8)]
    quick += [begin("run", f"job{n}@andes", "--", "sleep", "1000") for n in range(4)]
    quick += [begin("start", "lab@andes") for _ in range(4)]
    for process in quick:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
    for name in ("lab", "job0", "job1", "job2", "job3"):
        assert keys.far_service(name)
    assert keys.run("stop", *(f"job{n}@andes" for n in range(4))).returncode == 0
    for follower, path in zip(followers, outputs):
        wait_until(path.read_text, "what it follows")
        assert follower.poll() is None, path.read_text()

    def seen() -> list[dict[str, Any]]:
        text = outputs[-1].read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    wait_until(lambda: {item["cluster"] for item in seen()} == {None, "andes"}, "here and there")
    wait_until(lambda: any("rtt_ms" in item for item in seen()), "a line of the hop itself")
    for pid in list(keys.processes("gearsctl")):
        keys.kill(pid, 9)
    for follower in followers:
        follower.wait(60)
    assert sum(node.sshd.connections() for node in keys.olcf.andes if node.sshd) == 1


def test_gearsd_there_dies_and_is_started_again(keys: HubUser) -> None:
    keys.run("start", "lab@andes")
    host = keys.tunnel()["host"]
    node = next(n for n in keys.olcf.andes if n.name.startswith(f"{host}."))
    pid = keys.far_service()["pid"]
    for other in node.all_processes():
        if Path(f"/proc/{other}/comm").read_text().strip() == "gearsd":
            os.kill(other, 9)
    keys.run("status", "lab@andes", check=False)
    wait_until(
        lambda: keys.run("status", "lab@andes", check=False).returncode == 0, "gearsd's successor"
    )
    assert keys.far_service()["pid"] == pid
