"""uninstall: everything that Gears made goes, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from conftest import Gears
from processes import alive, wait_until
from records import leave_socket, record
from terminal import Terminal

SOURCE = Path(__file__).parents[2]
MADE = ("bin", "lib", "share", "env", "etc")


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def install(gears: Gears) -> None:
    """The build under test as quickstart would install it, and what init adds, without pip."""
    build = gears.bin.parent
    if not (build / "cmake_install.cmake").exists():
        pytest.skip("GEARS_BIN is not in a build folder")
    subprocess.run(
        ["cmake", "--install", str(build), "--prefix", str(gears.home)],
        check=True,
        capture_output=True,
    )
    environment = gears.home / "env/linux-test/default"
    (environment / "bin").mkdir(parents=True)
    (environment / ".gears-complete").touch()
    gears.bin = gears.home / "bin"


def test_what_gears_made_goes_and_the_rest_stays(gears: Gears) -> None:
    own = gears.home / "env/linux-test/my-own/bin"
    own.mkdir(parents=True)
    for name in ("work/paper.ipynb", "id_ed25519", "bin/my-tool", "lib/my.so", "log/diary.txt"):
        (gears.home / name).parent.mkdir(exist_ok=True)
        (gears.home / name).write_text("mine\n")
    (gears.home / "log").chmod(0o700)
    before = tree(gears.home)
    install(gears)
    gears.run("run", "steady", "--", "sleep", "1000")
    pid = gears.status("steady")["pid"]
    between = tree(gears.home)
    refused = gears.run("uninstall", check=False)
    assert refused.returncode == 7
    assert "run: gearsctl uninstall --yes" in refused.stderr
    listed = [line.split("\t") for line in refused.stdout.splitlines()]
    assert {"remove", "keep"} == {what for what, _ in listed}
    assert ["keep", str(gears.home / "work")] in listed
    assert tree(gears.home) == between
    assert alive(pid)
    gears.run("uninstall", "--yes")
    assert tree(gears.home) == before
    assert not alive(pid)
    wait_until(lambda: not gears.processes(), "the end of every process")


def test_a_folder_of_gears_alone_goes_whole(gears: Gears) -> None:
    install(gears)
    shutil.copy(SOURCE / "contrib/templates/gears.conf", gears.home / "etc/gears.conf")
    for entry in set(gears.home.iterdir()) - {gears.home / n for n in MADE}:
        shutil.rmtree(entry)
    gears.run("daemon", "start")
    wait_until(lambda: list(gears.home.glob("log/*/gearsd/*.log")), "the log's first line")
    plan = json.loads(gears.run("uninstall", "--json", check=False).stdout)
    assert (plan["schema"], plan["keep"]) == (1, [])
    gears.run("uninstall", "--yes")
    assert not gears.home.exists()
    assert not gears.processes()
    gears.home.mkdir()


def test_a_checkout_keeps_its_own_files(gears: Gears) -> None:
    files = ("daemon/main.c", "client/main.c", "contrib/dispatcher", "CMakeLists.txt", "README.md")
    for name in files:
        (gears.home / name).parent.mkdir(exist_ok=True)
        (gears.home / name).write_text(f"{name}\n")
    shutil.copy(SOURCE / ".gitignore", gears.home / ".gitignore")

    def git(*words: str) -> str:
        settings = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        return subprocess.run(
            ["git", *settings, *words],
            cwd=gears.home,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    git("init", "-q")
    git("add", ".gitignore", *files)
    git("commit", "-qm", "start")
    install(gears)
    gears.run("daemon", "start")
    assert git("status", "--porcelain").split() == ["??", "work/"] or not git("status", "-s")
    gears.run("uninstall", "--yes")
    git("fsck")
    assert not [line for line in git("status", "--porcelain").splitlines() if line[0] != "?"]
    for gone in ("run", "state", "log", "lib", "bin", "env", "share"):
        assert not (gears.home / gone).exists(), gone
    assert (gears.home / "etc/gears.conf").exists(), "it was edited"


def test_services_of_a_dead_daemon_are_stopped_too(gears: Gears) -> None:
    before = tree(gears.home)
    gears.run("run", "steady", "--", "sleep", "1000")
    pid, daemon = gears.status("steady")["pid"], gears.daemon_pid()
    os.kill(daemon, signal.SIGKILL)
    wait_until(lambda: not alive(daemon), "the end of gearsd")
    gears.run("uninstall", "--yes")
    assert not alive(pid)
    wait_until(lambda: not gears.processes(), "the end of every process")
    assert tree(gears.home) == before


def test_another_hosts_gears_is_not_torn_out(gears: Gears) -> None:
    gears.run("daemon", "start")
    (lease,) = gears.home.glob("run/*/gearsd.lease")
    other = gears.home / "run/elsewhere"
    (other / "link").mkdir(parents=True)
    text = lease.read_text().replace(f"host={lease.parent.name}\n", "host=elsewhere\n")
    (other / "gearsd.lease").write_text(text)
    result = gears.run("uninstall", "--yes", check=False)
    assert result.returncode == 1
    assert "Gears may still run on elsewhere" in result.stderr
    assert f"rm {other}/gearsd.lease" in result.stderr
    assert lease.exists()
    (other / "gearsd.lease").unlink()
    gears.run("uninstall", "--yes")
    assert not other.exists()


def test_what_hops_left_goes_too(gears: Gears) -> None:
    before = tree(gears.home)
    gears.run("daemon", "start")
    (own,) = gears.home.glob("run/*/gearsd.lease")
    gears.run("daemon", "stop", "--services", "--yes")
    wait_until(lambda: not gears.processes(), "the end of gearsd")
    host, run, state = own.parent.name, gears.home / "run", gears.home / "state"
    record(state / host / "hop/andes.rec", cluster="andes", wanted=1, human=1)
    record(state / host / "hop/frontier.rec", cluster="frontier", wanted=0)
    record(state / "@cluster/andes.rec", cluster="andes", host="login1.andes", at=1)
    lease = record(run / "andes.lease", host=host, boot_id="b", pid=4194303, nonce="0" * 32)
    for name in ("andes.sck", "andes+tb.sck", "frontier.sck"):
        leave_socket(run / name)
    (run / "mine.lease").write_text("of something else\n")
    with socket.socket(socket.AF_UNIX) as mine:
        mine.bind(str(run / "mine.sck"))
        mine.listen()
        plan = json.loads(gears.run("uninstall", "--json", check=False).stdout)
        assert plan["logout"] == ["andes"]
        gone = {lease, run / "andes.sck", run / "andes+tb.sck", run / "frontier.sck"}
        assert {str(path) for path in gone | {state / "@cluster"}} <= set(plan["remove"])
        assert not [path for path in plan["remove"] if "mine" in path]
        listed = gears.run("uninstall", check=False)
        assert "logout\tandes\n" in listed.stdout
        gears.run("uninstall", "--yes")
        assert tree(gears.home) - before == {"run", "run/mine.lease", "run/mine.sck"}
    assert not gears.processes()


def test_a_strangers_file_among_the_clusters_stays(gears: Gears) -> None:
    clusters = gears.home / "state/@cluster"
    record(clusters / "andes.rec", cluster="andes", host="login1.andes", at=1)
    (clusters / "diary.txt").write_text("mine\n")
    gears.run("uninstall", "--yes")
    assert [path.name for path in clusters.iterdir()] == ["diary.txt"]


def test_another_hubs_hop_is_not_torn_out(gears: Gears) -> None:
    """Its gearsd may have ended; what it held goes on without it."""
    gears.run("daemon", "start")
    lease = record(gears.home / "run/andes.lease", host="hub2.olcf", pid=1, nonce="0" * 32)
    result = gears.run("uninstall", "--yes", check=False)
    assert result.returncode == 1
    assert "Gears may still run on hub2.olcf" in result.stderr
    assert f"rm {lease}" in result.stderr
    assert gears.processes()
    lease.unlink()
    gears.run("uninstall", "--yes")
    assert not gears.processes()


def test_a_no_on_the_terminal_changes_nothing(gears: Gears) -> None:
    gears.run("daemon", "start")
    wait_until(lambda: list(gears.home.glob("run/*/lab.sck")), "the relay")
    before = tree(gears.home)
    with Terminal([str(gears.bin / "gearsctl"), "uninstall"], gears.environment) as terminal:
        terminal.expect("remove this? [y/N] ")
        terminal.type("\n")
        assert terminal.wait() == 1
    assert tree(gears.home) == before
    with Terminal([str(gears.bin / "gearsctl"), "uninstall"], gears.environment) as terminal:
        terminal.expect("remove this? [y/N] ")
        terminal.type("\x03")
        assert terminal.wait() == 130
    assert tree(gears.home) == before


def test_nothing_to_remove(gears: Gears) -> None:
    result = gears.run("uninstall")
    assert "holds nothing that Gears made" in result.stderr
    assert not gears.processes()
