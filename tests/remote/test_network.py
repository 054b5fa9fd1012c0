"""The small centre that other tests rely on: names, faults and an end without remains."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from chromium import Browser
from conftest import SOURCE, Gears
from network import Delay
from olcf import ANDES, HUBS, Olcf
from processes import alive, wait_until
from ssh_user import SshUser
from sshd import needs_sshd

pytestmark = needs_sshd
QUICK = ("-o", "ConnectTimeout=1", "-o", "NumberOfPasswordPrompts=1")


def test_everybody_is_reached_by_name(olcf: Olcf) -> None:
    laptop = olcf.user(olcf.laptop)
    for name, node in ((HUBS, olcf.hub1), ("hub2.ccs.ornl.gov", olcf.hub2)):
        result = laptop.run(name, "hostname; pwd", answers=(olcf.fresh_code(),))
        assert result.stdout.split() == [node.name, str(olcf.home)], result.stderr
    on_hub = olcf.user(olcf.hub1)
    for node in olcf.andes:
        words = ("-o", f"HostKeyAlias={ANDES}", node.name.partition(".")[0], "hostname")
        result = on_hub.run(*words, answers=(olcf.fresh_code(),))
        assert result.stdout.strip() == node.name, result.stderr
    back = olcf.user(olcf.andes[2]).run("hub1.ccs.ornl.gov", "true", answers=(olcf.fresh_code(),))
    assert back.returncode == 0
    found = olcf.laptop.inside("getent", "ahostsv4", ANDES).split()
    assert {node.address for node in olcf.andes} <= set(found)
    assert olcf.passcodes_asked() == sum(s.connections() for s in olcf.servers) == 6


def test_a_code_of_one_hop_does_not_serve_the_next(olcf: Olcf) -> None:
    code = olcf.fresh_code()
    assert olcf.user(olcf.laptop).run(HUBS, "true", answers=(code,)).returncode == 0
    assert olcf.user(olcf.hub1).run(ANDES, *QUICK, "true", answers=(code,)).returncode == 255


def test_gears_knows_where_it_is(olcf: Olcf) -> None:
    nodes = [*olcf.hubs, *olcf.andes]
    answers = [json.loads(node.run("status", "--json").stdout) for node in nodes]
    assert [answer["host"] for answer in answers] == [
        "hub1.ccs",
        "hub2.ccs",
        "andes-login1.olcf",
        "andes-login2.olcf",
        "andes-login3.olcf",
    ]
    command = f"{olcf.gears.home}/bin/gearsctl status --json"
    by_ssh = olcf.user(olcf.hub1).run(ANDES, command, answers=(olcf.fresh_code(),))
    assert json.loads(by_ssh.stdout)["host"] == "andes-login1.olcf", by_ssh.stderr
    assert json.loads(by_ssh.stdout)["daemon"]["pid"] == answers[2]["daemon"]["pid"]


def test_lost_networks(olcf: Olcf) -> None:
    andes, hub = olcf.andes[0], olcf.hub1
    on_hub, on_other = olcf.user(hub), olcf.user(olcf.hub2)

    def reaches(user: SshUser) -> bool:
        words = (*QUICK, andes.name, "true")
        return user.run(*words, answers=(olcf.fresh_code(),)).returncode == 0

    def comes_back(user: SshUser) -> None:
        """The kernel looks for a neighbour again a moment after it was given up."""
        wait_until(lambda: reaches(user), "a connection")

    comes_back(on_hub)
    andes.cut()
    assert not reaches(on_hub)
    andes.mend()
    comes_back(on_hub)
    andes.drop()
    assert not reaches(on_hub)
    andes.undrop()
    andes.drop(hub)
    assert not reaches(on_hub)
    comes_back(on_other)
    andes.undrop(hub)
    comes_back(on_hub)
    andes.renumber(40)
    comes_back(on_hub)
    assert andes.address in andes.sshd.log


def test_a_connection_survives_a_short_loss(olcf: Olcf) -> None:
    user = olcf.user(olcf.hub1)
    pipe = subprocess.PIPE
    ssh = user.start(ANDES, "cat", answers=(olcf.fresh_code(),), stdin=pipe)
    assert ssh.stdin and ssh.stdout
    for fault, cure in (
        (olcf.andes[0].drop, olcf.andes[0].undrop),
        (olcf.hub1.cut, olcf.hub1.mend),
        (olcf.hub1.suspend, olcf.hub1.resume),
        (olcf.andes[0].sshd.freeze, olcf.andes[0].sshd.thaw),
    ):
        fault()
        ssh.stdin.write("lost?\n")
        ssh.stdin.flush()
        cure()
        assert ssh.stdout.readline() == "lost?\n"
    ssh.communicate()
    assert olcf.andes[0].sshd.connections() == 1


def test_a_reboot_ends_all_and_serves_again(olcf: Olcf) -> None:
    andes = olcf.andes[0]
    user = olcf.user(olcf.hub1)
    pipe = subprocess.PIPE
    words = ("-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=1", ANDES, "echo up; cat")
    ssh = user.start(*words, answers=(olcf.fresh_code(),), stdin=pipe)
    assert ssh.stdout and ssh.stdout.readline() == "up\n"
    before = andes.inside("cat", "/proc/sys/kernel/random/boot_id")
    andes.reboot()
    assert ssh.wait(60) == 255
    ssh.communicate()
    wait_until(
        lambda: user.run(ANDES, "true", answers=(olcf.fresh_code(),)).returncode == 0,
        "its answer",
    )
    command = "cat /proc/sys/kernel/random/boot_id; hostname"
    result = user.run(ANDES, command, answers=(olcf.fresh_code(),))
    boot, name = result.stdout.split()
    assert name == andes.name
    assert boot != before.strip()
    andes.crash()
    gone = user.run(*QUICK, andes.name, "true")
    assert gone.returncode == 255
    assert olcf.andes[1].sshd.connections() == 0


def test_a_site_may_end_everything(olcf: Olcf) -> None:
    hub = olcf.hub1
    user = olcf.user(olcf.laptop)
    pipe = subprocess.PIPE
    command = "sleep 1000 >/dev/null 2>&1 & echo up; cat"
    ssh = user.start(hub.name, command, answers=(olcf.fresh_code(),), stdin=pipe)
    assert ssh.stdout and ssh.stdout.readline() == "up\n"
    hub.end_all()
    assert ssh.wait(60) == 255
    ssh.communicate()
    left = [hub.sshd.listener]
    wait_until(lambda: hub.all_processes() == left, "that init has buried the rest")
    assert user.run(hub.name, "true", answers=(olcf.fresh_code(),)).returncode == 0


def test_a_delay_holds_each_byte_back(olcf: Olcf) -> None:
    andes, hub = olcf.andes[0], olcf.hub1
    with Delay(60, (andes.address, 22), hub) as delay:
        begin = time.monotonic()
        words = ("-p", str(delay.port), "-o", f"HostKeyAlias={ANDES}", "127.0.0.1", "true")
        result = olcf.user(hub).run(*words, answers=(olcf.fresh_code(),))
        assert result.returncode == 0, result.stderr
        assert time.monotonic() - begin > 0.6  # five round trips at least


def test_a_delay_changes_no_byte() -> None:
    data = os.urandom(8 << 20)
    with socket.create_server(("127.0.0.1", 0)) as server, Delay(20, server.getsockname()) as relay:
        client = socket.create_connection((relay.address, relay.port))
        peer = server.accept()[0]
        begin = time.monotonic()
        client.sendall(b"?")
        assert peer.recv(1) == b"?"
        peer.sendall(b"!")
        assert client.recv(1) == b"!"
        assert time.monotonic() - begin >= 0.04
        sender = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=client.fileno())
        with client, peer, peer.makefile("rb") as reader:
            sender.communicate(data)
            client.shutdown(socket.SHUT_WR)
            assert reader.read() == data
            peer.sendall(b"still open")
            assert client.recv(10) == b"still open"


def test_a_browser_on_the_laptop(olcf: Olcf) -> None:
    hub = olcf.hub1
    page = olcf.home / "index.html"
    page.write_text("<p id=where>a page of the hub</p>")
    words = [sys.executable, "-m", "http.server", "-d", str(olcf.home), "80"]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen([*hub.prefix, *words], stdout=quiet, stderr=quiet)
    probe = "exec 3<>/dev/tcp/hub1.ccs.ornl.gov/80"
    reach = [*olcf.laptop.prefix, "bash", "-c", probe]
    wait_until(lambda: subprocess.run(reach, stderr=quiet).returncode == 0, "the web server")
    browser = Browser(olcf.laptop.prefix)
    try:
        tab = browser.new_page()
        tab.open(f"http://{hub.name}/index.html")
        assert tab.wait("document.querySelector('#where')?.innerText", "the page") == (
            "a page of the hub"
        )
    finally:
        browser.close()
        hub.crash()
        server.wait()


def test_nothing_is_left_of_a_centre(gears: Gears) -> None:
    with Olcf(gears) as olcf:
        assert olcf.bridge
        holders = [olcf.bridge.pid, *(node.init for node in olcf.nodes)]
        assert len({os.readlink(f"/proc/{pid}/ns/net") for pid in holders}) == 7
        user = olcf.user(olcf.laptop)
        command = "sleep 1000 >/dev/null 2>&1 &"
        assert user.run(HUBS, command, answers=(olcf.fresh_code(),)).returncode == 0
        pids = [*holders, *(pid for node in olcf.nodes for pid in node.all_processes())]
        assert len(pids) >= 7 + 5 + 1
        outside = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True)
        assert "port1" not in outside.stdout
        folders = [olcf.folder, *(server.folder for server in olcf.servers)]
    assert not any(map(alive, pids))
    assert not any(folder.exists() for folder in folders)
    mounts = Path("/proc/self/mounts").read_text()
    assert not any(folder.name in mounts for folder in folders)
    assert not any((Path("/etc/pam.d") / server.name).exists() for server in olcf.servers)


DYING = """
import os, sys
sys.path[:0] = [{tests!r}, {support!r}]
from conftest import private_gears
from olcf import Olcf
from sshd import Sshd
with private_gears() as gears, Olcf(gears) as olcf, Sshd(gears.home / "user") as server:
    server.restart()
    pids = [olcf.bridge.pid, *(pid for node in olcf.nodes for pid in node.all_processes())]
    pids.append(server.listener)
    servers = [*olcf.servers, server]
    folders = [str(folder) for folder in (gears.home, olcf.folder, *(s.folder for s in servers))]
    print(*pids, flush=True)
    print(*folders, *(node.boot_file for node in olcf.nodes), flush=True)
    os.kill(os.getpid(), 9)
"""


def test_a_killed_run_leaves_no_process() -> None:
    script = DYING.format(tests=str(SOURCE / "tests"), support=str(SOURCE / "tests/support"))
    words = [sys.executable, "-c", script]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    pids, paths = result.stdout.splitlines()
    try:
        for pid in map(int, pids.split()):
            wait_until(lambda pid=pid: not alive(pid), f"the end of {pid}")
    finally:
        subprocess.run(["rm", "-rf", *paths.split()], check=True)
