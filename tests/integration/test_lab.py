"""A lab under the real gearsd: its kernels outlive the daemon, and its own death is told."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import websocket
from conftest import CURRENT_VENV, OLD_VENV, Gears, private_gears
from processes import wait_until


@pytest.fixture(params=["current", "1.23"])
def any_gears(request: pytest.FixtureRequest) -> Iterator[Gears]:
    """A Gears with the JupyterLab of today, and one with that of Debian 12."""
    venv = {"current": CURRENT_VENV, "1.23": OLD_VENV}[request.param]
    if not venv:
        pytest.skip("GEARS_TEST_OLD_VENV names no environment; contrib/test.sh makes one")
    with private_gears(venv) as gears:
        yield gears


def test_a_kernel_outlives_the_daemon(gears: Gears) -> None:
    gears.run("start", "lab")
    _, kernel = gears.client().start_notebook("work.ipynb")
    assert gears.client().run(kernel, "hours = 41 + 1; print(hours)") == "42\n"
    before, server = gears.daemon_pid(), gears.status()["pid"]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: before not in gears.processes(), "the end of gearsd")
    assert gears.status()["pid"] == server
    assert gears.daemon_pid() != before
    assert gears.client().run(kernel, "print(hours)") == "42\n"


def test_the_exit_record_names_the_lost_kernels(gears: Gears) -> None:
    gears.run("start", "lab")
    gears.client().start_notebook("analysis.ipynb")
    server = gears.status()["pid"]
    os.kill(server, signal.SIGKILL)

    def recorded() -> bool:
        records = gears.home.glob("state/*/exit/lab.rec")
        return any("analysis.ipynb (python3)" in record.read_text() for record in records)

    wait_until(recorded, "an exit record with the lost kernel")

    def again() -> bool:
        service = gears.status()
        return service["state"] == "ready" and service["pid"] not in (None, server)

    wait_until(again, "the restart of the lab")


def read_numbers(channels: websocket.WebSocket, until: Callable[[str], bool]) -> str:
    text = ""
    while not until(text):
        message = json.loads(channels.recv())
        if message["msg_type"] == "stream":
            text += message["content"]["text"]
    return text


def test_no_output_is_lost_over_an_upgrade_and_a_closed_page(gears: Gears) -> None:
    gears.run("start", "lab")
    client = gears.client()
    _, kernel = client.start_notebook("stream.ipynb")
    session = uuid.uuid4().hex
    channels = client.open_channels(kernel, session)
    pause, paused, end = (gears.home / name for name in ("pause", "paused", "end"))
    code = f"""
import os, time
number = 0
while not os.path.exists({str(end)!r}):
    if os.path.exists({str(pause)!r}) and not os.path.exists({str(paused)!r}):
        print('paused', flush=True)
        open({str(paused)!r}, 'w').close()
        while os.path.exists({str(pause)!r}):
            time.sleep(0.005)
    print(number, flush=True)
    number += 1
    time.sleep(0.005)
print('counted', number, flush=True)
"""
    client.send(channels, code, session)
    text = read_numbers(channels, lambda text: "\n20\n" in text)
    before = gears.daemon_pid()
    gears.run("daemon", "upgrade")  # with the page open
    text += read_numbers(channels, lambda text: text.count("\n") > 20)

    # What a closing client has not read is its own loss: nothing is said while it closes.
    pause.touch()
    text += read_numbers(channels, lambda text: "paused" in text)
    channels.close()
    pause.unlink()
    gears.run("daemon", "upgrade")  # with the page closed, the kernel printing
    os.kill(gears.daemon_pid(), signal.SIGKILL)
    wait_until(lambda: gears.status()["state"] == "ready", "a new gearsd")
    channels = gears.client().open_channels(kernel, session)
    text += read_numbers(channels, lambda text: text.count("\n") > 20)
    end.touch()
    text += read_numbers(channels, lambda text: "counted" in text)
    channels.close()
    numbers = text.replace("paused\n", "").split()
    assert numbers[-2] == "counted"
    assert numbers[:-2] == [str(number) for number in range(int(numbers[-1]))]
    assert before != gears.daemon_pid()


def test_the_token_is_nowhere_but_in_its_file(gears: Gears) -> None:
    gears.run("start", "lab")
    gears.run("password", "--stdin", input="a secret of mine\n")
    token = gears.client().token
    gears.client().start_notebook("work.ipynb")
    gears.run("status")
    gears.run("status", "--json", "lab")
    told = gears.run("logs", "lab").stdout + gears.run("events").stdout
    told += gears.run("status", "--json").stdout + gears.run("config", "show").stdout
    assert token not in told
    for pid in gears.processes():
        for name in ("cmdline", "environ"):
            try:
                data = Path(f"/proc/{pid}/{name}").read_bytes()
            except OSError:  # it has ended meanwhile
                continue
            assert token.encode() not in data and b"a secret" not in data, f"{name} of {pid}"
    holders = {path for path in gears.home.rglob("*") if path.is_file() and holds(path, token)}
    names = {path.name for path in holders}
    assert "lab.token" in names
    # Jupyter's own note for its other programs, in its private folder.
    assert all(name == "lab.token" or name.startswith("jpserver-") for name in names), holders
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in holders), holders


def holds(path: Path, text: str) -> bool:
    return text.encode() in path.read_bytes()


def test_token_cookie_and_password_open_it_again_after_a_restart(any_gears: Gears) -> None:
    gears = any_gears
    gears.run("password", "--stdin", input="a secret of mine\n")
    gears.run("start", "lab")
    token = gears.client().token
    status, _, headers = gears.client().raw("GET", f"/lab?token={token}", token=False)
    assert status == 200
    cookie = headers["Set-Cookie"].split(";")[0]
    assert cookie.startswith("gears-") and "-lab=" in cookie
    before = gears.status()["pid"]
    gears.run("restart", "lab")
    assert gears.status()["pid"] != before
    client = gears.client()
    assert client.token == token
    assert client.raw("GET", "/api/sessions")[0] == 200
    assert client.raw("GET", "/api/sessions", token=False)[0] == 403
    by_cookie = client.request("GET", "/api/sessions", {"Cookie": cookie})
    assert by_cookie[0] == 200

    # The form of the login page.
    _, _, headers = client.request("GET", "/login", {})
    crumb = headers["Set-Cookie"].split(";")[0]
    for password, opens in (("a wrong one", False), ("a secret of mine", True)):
        form = urllib.parse.urlencode({"password": password, "_xsrf": crumb.partition("=")[2]})
        given = {"Cookie": crumb, "Content-Type": "application/x-www-form-urlencoded"}
        _, _, headers = client.request("POST", "/login", given, form.encode())
        cookies = [c.split(";")[0] for c in headers.get_all("Set-Cookie", [])]
        sent = {"Cookie": "; ".join(cookies)}
        assert (client.request("GET", "/api/sessions", sent)[0] == 200) is opens, password


def test_a_lab_of_either_jupyter_server(any_gears: Gears) -> None:
    gears = any_gears
    gears.run("start", "lab")
    client = gears.client()
    version = client.call("GET", "/api")["version"]
    assert (version.split(".")[0] == "1") == (gears.venv == OLD_VENV)
    _, kernel = client.start_notebook("work.ipynb")
    assert client.run(kernel, "print(6 * 7)") == "42\n"
    gears.run("stop", "lab")
    service = gears.status()
    assert service["state"] == "stopped"
    # A host in trouble may take longer than the time a graceful stop is given.
    assert service["exit"].get("code") == 0 or service["exit"].get("signal") == "TERM"
    said = gears.run("logs", "lab").stdout
    assert "Shutting down" in said or "shutting down" in said, said
    assert not any(b"ipykernel" in cmdline(pid) for pid in gears.processes())


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_modules_setup_workspace_and_environment_reach_the_kernel(gears: Gears) -> None:
    other = gears.home / "other work"
    other.mkdir()
    with (gears.home / "etc/gears.conf").open("a") as config:
        config.write("setup = export FROM_SETUP=set-up\nenvironment = FROM_LINE=a\\ b\n")
    gears.run("start", "lab", "--workspace", str(other))
    assert gears.status()["workspace"] == str(other)
    _, kernel = gears.client().start_notebook("work.ipynb")
    code = "import os, sys; print(os.environ.get('FROM_SETUP'), os.getcwd(), sys.prefix)"
    prefix = os.path.realpath(gears.venv)
    setup, rest = gears.client().run(kernel, code).strip().split(" ", 1)
    assert setup == "set-up"
    assert rest == f"{other} {prefix}" or rest == f"{other} {gears.venv}"


def test_status_tells_the_last_activity_and_is_none(any_gears: Gears) -> None:
    gears = any_gears
    gears.run("start", "lab")
    _, kernel = gears.client().start_notebook("work.ipynb")
    assert gears.client().run(kernel, "print(1)") == "1\n"

    def activity() -> str:
        (service,) = json.loads(gears.run("status", "lab", "--json").stdout)["services"]
        return service["last_activity"]

    # Fresh answers are kept for 2 s: what is told then is what the lab itself knows.
    said = gears.client().call("GET", "/api/status")["last_activity"]
    wait_until(lambda: activity()[:19] == said[:19], "the last activity in status")
    later = time.monotonic() + 2.5  # one probe more, at least
    while time.monotonic() < later:
        assert activity()[:19] == said[:19]
    assert gears.client().run(kernel, "print(2)") == "2\n"
    wait_until(lambda: activity()[:19] > said[:19], "a newer activity")
    # A new gearsd knows it, too.
    known = activity()
    os.kill(gears.daemon_pid(), signal.SIGKILL)
    wait_until(lambda: (activity() or "") >= known, "the activity told by a new gearsd")


@pytest.mark.long
def test_an_idle_kernel_is_culled_and_a_busy_one_is_not(any_gears: Gears) -> None:
    gears = any_gears
    with (gears.home / "etc/gears.conf").open("a") as config:
        config.write("idle_cull = 12s\n")
    gears.run("start", "lab")
    client = gears.client()
    _, busy = client.start_notebook("busy.ipynb")
    end = gears.home / "end"
    session = uuid.uuid4().hex
    channels = client.open_channels(busy, session)
    code = f"import os, time\nwhile not os.path.exists({str(end)!r}): time.sleep(0.01)"
    client.send(channels, code, session)

    def kernels() -> dict[str, str]:
        return {k["id"]: k["execution_state"] for k in client.call("GET", "/api/kernels")}

    # Only what is busy is spared: one that takes longer to start than that is culled, too.
    wait_until(lambda: kernels().get(busy) == "busy", "the start of the busy kernel")
    _, idle = client.start_notebook("idle.ipynb")
    wait_until(lambda: idle not in kernels(), "the end of the idle kernel")
    # It has been silent for longer, and goes on.
    later = time.monotonic() + 8  # one look more of what culls
    while time.monotonic() < later:
        assert kernels() == {busy: "busy"}
    end.touch()
    wait_until(lambda: kernels() == {}, "the end of the other when it is idle, too")
    channels.close()
    assert gears.status()["state"] == "ready"
