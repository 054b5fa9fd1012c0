"""Several hubs, several login nodes, one home: who serves the name, where the lab lives."""

from __future__ import annotations

import subprocess
import sys

from hub_user import HubUser
from olcf import Olcf
from processes import alive, connects, wait_until


def test_one_hub_serves_the_name(olcf: Olcf, user: HubUser, other: HubUser) -> None:
    user.login()
    user.run("start", "lab@andes")
    client = user.lab()
    _, kernel = client.start_notebook("a.ipynb")
    client.run(kernel, "x = 9")
    before = [server.connections() for server in olcf.servers]
    for words in (("attach", "andes"), ("login", "andes"), ("start", "lab@andes")):
        result = other.run(*words, check=False)
        assert result.returncode != 0 and "ssh hub1.ccs" in result.stderr, (words, result.stderr)
    assert [server.connections() for server in olcf.servers] == before
    assert client.run(kernel, "print(x)") == "9\n"

    # Moving it is a human's order; the other hub lets go when it looks.
    assert other.run("takeover", "andes", "--yes").returncode == 0
    other.login()
    assert other.lab().run(kernel, "print(x)") == "9\n"
    wait_until(lambda: not user.tunnel_processes() or not user.status(), "the end of hub1's hop")
    assert user.tunnel()["held_by"] == "hub2.ccs.ornl.gov"
    assert other.lab().run(kernel, "print(x)") == "9\n", "hub1 took the socket with it"
    assert "ssh hub2.ccs.ornl.gov -t" in user.run("attach", "andes", check=False).stderr
    other.run("logout", "andes")
    user.login()
    assert user.lab().run(kernel, "print(x)") == "9\n"


def test_the_hop_goes_where_the_lab_lives(olcf: Olcf, user: HubUser) -> None:
    user.login("--node", "andes-login2")
    assert user.tunnel()["host"] == "andes-login2.olcf"
    user.run("start", "lab@andes")
    client = user.lab()
    _, kernel = client.start_notebook("a.ipynb")
    client.run(kernel, "x = 10")
    for _ in range(3):
        user.run("logout", "andes")
        user.login()
        assert user.tunnel()["host"] == "andes-login2.olcf"
    assert user.lab().run(kernel, "print(x)") == "10\n"
    entry = user.run("ssh-config", "andes", "--direct").stdout
    assert "HostName andes-login2.olcf.ornl.gov" in entry
    assert f"{olcf.gears.home}/run/andes-login2.olcf/lab.sck" in entry


def test_a_rebooted_login_node_is_told(olcf: Olcf, user: HubUser) -> None:
    user.login("--node", "andes-login1")
    user.run("start", "lab@andes")
    client = user.lab()
    client.start_notebook("a.ipynb")
    olcf.andes[0].reboot()
    user.await_tunnel("auth-needed")
    user.login()
    assert user.tunnel()["host"] == "andes-login1.olcf"
    assert "was rebooted" in user.run("events").stdout
    lab = user.far_service()
    assert lab["state"] != "ready" and "reboot" in str(lab), lab
    user.run("start", "lab@andes")
    assert user.lab().call("GET", "/api/kernels") == []


def test_a_second_user_gets_nowhere(olcf: Olcf, user: HubUser) -> None:
    user.login()
    user.run("start", "lab@andes")
    home = olcf.gears.home
    run = home / "run"
    paths = [path for path in run.rglob("*.sck") if path.is_socket()]
    assert run / "andes.sck" in paths and len(paths) > 6
    for path in paths:
        assert path.stat().st_mode & 0o077 == 0, path
    # Even with every mode opened wide the kernel tells who connects.
    for path in (home, run, *run.rglob("*")):
        path.chmod(0o777)
    told = subprocess.run(
        ["setpriv", "--reuid", "65534", "--clear-groups", sys.executable, "-c", STRANGER]
        + [str(path) for path in paths],
        capture_output=True,
        text=True,
        check=True,
    )
    answers = dict(line.split(" ", 1) for line in told.stdout.splitlines())
    assert set(answers) == {str(path) for path in paths}
    for path, answer in answers.items():
        if "/own/" not in path:  # JupyterLab's own, which asks for its token
            assert answer == "closed", (path, answer)
    # None of that disturbed the one it belongs to.
    (home / "run").chmod(0o700)
    assert user.lab().raw("GET", "/api")[0] == 200


# Says what each socket answers to somebody who has nothing to do with it.
STRANGER = """
import socket, sys
for path in sys.argv[1:]:
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
        s = socket.socket(socket.AF_UNIX, kind)
        s.settimeout(10)
        try:
            s.connect(path)
        except OSError as error:
            if error.errno == 91:  # the other kind of socket
                continue
            print(path, 'closed')
            break
        try:
            s.send(b'GET /api HTTP/1.0\\r\\n\\r\\n')
            print(path, 'closed' if not s.recv(100) else 'answered')
        except OSError:
            print(path, 'closed')
        break
"""


def test_a_deleted_socket_is_made_again(olcf: Olcf, user: HubUser) -> None:
    user.login()
    user.run("start", "lab@andes")
    client = user.lab()
    client.path.unlink()
    wait_until(client.path.exists, "the socket")
    assert client.raw("GET", "/api")[0] == 200


def test_the_relay_dies_and_the_hop_stays(olcf: Olcf, user: HubUser) -> None:
    user.login()
    user.run("start", "lab@andes")
    client = user.lab()
    tunnels = user.tunnel_processes()
    relays = list(user.processes("gears-relay"))
    for pid in relays:
        user.kill(pid, 9)
    wait_until(lambda: not any(map(alive, relays)), "the relay's end")
    wait_until(lambda: connects(client.path), "the relay's successor")
    assert client.raw("GET", "/api")[0] == 200
    assert user.tunnel_processes() == tunnels and olcf.passcodes_asked() == 1
