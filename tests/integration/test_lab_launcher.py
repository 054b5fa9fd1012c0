"""The lab's launcher with a real server and a real kernel on a Unix socket, without gearsd."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import CURRENT_VENV, OLD_VENV
from lab_client import LabClient
from processes import wait_until

LAUNCHER = Path(__file__).parents[2] / "contrib/python/gears/lab.py"
TOKEN = "t0ken-of-the-test"


class Lab:
    """One server started as gearsd starts it."""

    def __init__(self, home: Path, venv: str, config: str, environment: dict[str, str]) -> None:
        self.home = home
        self.venv = venv
        self.runtime = home / "rt"
        self.socket = home / "lab.sck"
        for name in ("rt", "etc", "work", "user"):
            (home / name).mkdir()
        (home / "etc/jupyter_server_config.py").write_text(config)
        (home / "token").write_text(TOKEN + "\n")
        self.log = (home / "log").open("wb")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("JUPYTER")}
        self.process = subprocess.Popen(
            [
                *(f"{venv}/bin/python", str(LAUNCHER), "--no-browser"),
                f"--ServerApp.sock={self.socket}",
                f"--ServerApp.cookie_secret_file={home / 'secret'}",
                f"--ServerApp.root_dir={home / 'work'}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
            env={
                **inherited,
                "HOME": str(home / "user"),
                "JUPYTER_RUNTIME_DIR": str(self.runtime),
                "JUPYTER_CONFIG_DIR": str(home / "etc"),
                "JUPYTER_TOKEN_FILE": str(home / "token"),
                "GEARS_COOKIE_NAME": "gears-lab-cookie",
                "GEARS_KEEPER": "nonce-of-the-keeper",
                **environment,
            },
        )
        self.client = LabClient(self.socket, TOKEN)

    def wait(self) -> Lab:
        def ready() -> bool:
            assert self.process.poll() is None, self.text()
            with socket.socket(socket.AF_UNIX) as probe:
                return probe.connect_ex(str(self.socket)) == 0

        wait_until(ready, "the lab's socket")
        self.client.call("GET", "/api/status")
        return self

    def text(self) -> str:
        return (self.home / "log").read_text("utf-8", "replace")

    def kernels(self) -> str:
        path = self.runtime / "kernels.txt"
        return path.read_text("utf-8") if path.exists() else ""

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.log.close()


@pytest.fixture(params=["current", "1.23"])
def start_lab(request: pytest.FixtureRequest) -> Iterator[Callable[..., Lab]]:
    venv = {"current": CURRENT_VENV, "1.23": OLD_VENV}[request.param]
    if not venv:
        pytest.skip("GEARS_TEST_OLD_VENV names no environment; contrib/test.sh makes one")
    labs: list[Lab] = []

    def start(config: str = "", **environment: str) -> Lab:
        home = Path(tempfile.mkdtemp(prefix="gl", dir="/tmp"))
        labs.append(Lab(home, venv, config, environment))
        return labs[-1]

    yield start
    for lab in labs:
        lab.stop()
        shutil.rmtree(lab.home)


def load_beside(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("lab", LAUNCHER)
    assert spec and spec.loader
    launcher = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(launcher)
    return launcher.load_beside(name)


def test_a_cell_runs_and_the_lab_is_private(start_lab: Callable[..., Lab]) -> None:
    lab = start_lab().wait()
    status, _, _ = lab.client.raw("GET", "/api/sessions", token=False)
    assert status == 403
    status, page, headers = lab.client.raw("GET", f"/lab?token={TOKEN}", token=False)
    assert status == 200 and b"JupyterLab" in page
    assert "gears-lab-cookie=" in headers["Set-Cookie"]
    assert stat.S_IMODE(lab.socket.stat().st_mode) == 0o600
    _, kernel = lab.client.start_notebook("first.ipynb")
    assert lab.client.run(kernel, "print(6*7)") == "42\n"
    names = "JUPYTER_TOKEN_FILE", "GEARS_COOKIE_NAME", "GEARS_IDLE_CULL", "GEARS_KEEPER"
    code = f"import os; print([n for n in {names} if n in os.environ], oct(os.umask(0o77)))"
    assert lab.client.run(kernel, code) == "['GEARS_KEEPER'] 0o77\n"
    assert TOKEN not in lab.text()


def test_the_kernel_protocol_has_no_tcp_port(
    start_lab: Callable[..., Lab],
) -> None:
    lab = start_lab().wait()
    _, kernel = lab.client.start_notebook("first.ipynb")
    connection = json.loads((lab.runtime / f"kernel-{kernel}.json").read_text())
    assert connection["transport"] == "ipc"
    # jupyter_client encrypts where jupyter_server knows how to ask for it.
    assert ("curve_publickey" in connection) == (lab.venv == CURRENT_VENV)
    assert lab.client.run(kernel, "print(1)") == "1\n"
    assert Path(f"{connection['ip']}-{connection['shell_port']}").is_socket()
    # ipykernel itself keeps a loopback socket for what forked children print; no protocol is on it.
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    listening = {f"socket:[{row.split()[9]}]" for row in rows if row.split()[3] == "0A"}
    files = Path(f"/proc/{lab.process.pid}/fd")
    assert not {os.readlink(entry) for entry in files.iterdir() if entry.is_symlink()} & listening


def test_kernels_txt_follows_the_kernels(start_lab: Callable[..., Lab]) -> None:
    lab = start_lab().wait()
    assert lab.kernels() == ""
    session, _ = lab.client.start_notebook("first.ipynb")
    assert lab.kernels() == "first.ipynb (python3)\n"
    lab.client.call("PATCH", f"/api/sessions/{session}", {"path": "paper/fig2.ipynb"})
    assert lab.kernels() == "paper/fig2.ipynb (python3)\n"
    other = lab.client.call("POST", "/api/kernels", {"name": "python3"})["id"]
    assert lab.kernels() == f"paper/fig2.ipynb (python3), {other[:8]} (python3)\n"
    lab.client.call("DELETE", f"/api/kernels/{other}")
    lab.client.call("DELETE", f"/api/sessions/{session}")
    assert lab.kernels() == ""


def test_a_killed_server_leaves_the_names_of_its_kernels(start_lab: Callable[..., Lab]) -> None:
    lab = start_lab().wait()
    lab.client.start_notebook("first.ipynb")
    os.killpg(lab.process.pid, signal.SIGKILL)
    lab.process.wait()
    assert lab.kernels() == "first.ipynb (python3)\n"


@pytest.mark.parametrize(
    "config",
    [
        "c.ServerApp.port = 4567\nc.ServerApp.ip = '0.0.0.0'\nc.ServerApp.token = ''\n"
        "c.IdentityProvider.token = ''\nc.PasswordIdentityProvider.token = ''\n"
        "c.KernelManager.transport = 'tcp'\nc.ServerApp.base_url = '/elsewhere'\n"
        "c.ServerApp.certfile = '/none'\nc.ServerApp.open_browser = True\n"
        "c.MappingKernelManager.cull_idle_timeout = 1\n",
        "this is not Python (",
        "c.ServerApp.root_dir = 12\n",
        "raise SystemExit(3)\n",
        "c.ServerApp.contents_manager_class = 'no.such.Manager'\n",
        "c.ContentsManager.allow_hidden = 'perhaps'\n",
    ],
)
def test_no_configuration_keeps_it_from_starting(
    start_lab: Callable[..., Lab], config: str
) -> None:
    lab = start_lab(config).wait()
    assert lab.client.raw("GET", "/api/sessions", token=False)[0] == 403
    kernel = lab.client.call("POST", "/api/kernels", {"name": "python3"})["id"]
    connection = json.loads((lab.runtime / f"kernel-{kernel}.json").read_text())
    assert connection["transport"] == "ipc"


def leave_while_running(lab: Lab, kernel: str, session: str, code: str) -> None:
    """Run code whose output nobody listens to; return when it has ended."""
    channels = lab.client.open_channels(kernel, session)
    go, done = lab.home / "go", lab.home / "done"
    wait = f"import os, sys, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)\n"
    lab.client.send(channels, f"{wait}{code}\nopen({str(done)!r}, 'w')", session)
    channels.close()
    wait_until(lambda: "Starting buffering" in lab.text(), "buffering")
    go.touch()
    wait_until(done.exists, "the end of the cell")


def read_until_idle(lab: Lab, kernel: str, session: str) -> str:
    """What is printed until the running cell ends; only the cell of `leave_while_running`."""
    channels = lab.client.open_channels(kernel, session)
    text = ""
    while True:
        message = json.loads(channels.recv())
        content, parent = message["content"], message["parent_header"]
        if message["msg_type"] == "stream":
            text += content["text"]
        if (
            message["msg_type"] == "status"
            and content["execution_state"] == "idle"
            and parent["msg_type"] == "execute_request"
        ):
            channels.close()
            return text


@pytest.mark.parametrize("same_page", [True, False])
def test_what_a_kernel_says_meanwhile_is_replayed(
    start_lab: Callable[..., Lab], same_page: bool
) -> None:
    lab = start_lab().wait()
    _, kernel = lab.client.start_notebook("away.ipynb")
    session = uuid.uuid4().hex
    # More than the 3 MB in 3 s to which the server limits a kernel, in few messages: a kernel
    # itself drops those above a thousand that wait.
    code = "for n in range(4000): print(n, 'x' * 1000, flush=n % 50 == 0)"
    leave_while_running(lab, kernel, session, code)
    text = read_until_idle(lab, kernel, session if same_page else uuid.uuid4().hex)
    assert [line.split()[0] for line in text.splitlines()] == [str(n) for n in range(4000)]
    assert lab.client.run(kernel, "print('goes on')") == "goes on\n"


@pytest.mark.parametrize("noticed", [True, False])
def test_what_a_sleeping_laptop_took_unread_is_replayed(
    start_lab: Callable[..., Lab], noticed: bool
) -> None:
    lab = start_lab().wait()
    _, kernel = lab.client.start_notebook("asleep.ipynb")
    session = uuid.uuid4().hex
    channels = lab.client.open_channels(kernel, session)
    go, done = lab.home / "go", lab.home / "done"
    code = f"""
import os, time
print('awake', flush=True)
while not os.path.exists({str(go)!r}): time.sleep(0.01)
for n in range(20):
    print(n, flush=True)
    time.sleep(0.02)
open({str(done)!r}, 'w').close()
time.sleep(1)
"""
    lab.client.send(channels, code, session)
    while json.loads(channels.recv()).get("content", {}).get("text") != "awake\n":
        pass
    go.touch()  # from here on nothing is read
    wait_until(done.exists, "output into the sleeping page")
    if noticed:
        channels.sock.close()  # no word of goodbye
        wait_until(lambda: "Starting buffering" in lab.text(), "buffering")
    text = read_until_idle(lab, kernel, session)
    numbers = text.replace("awake\n", "").split()
    assert numbers == [str(n) for n in range(20)]
    assert lab.client.run(kernel, "print('goes on')") == "goes on\n"


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_what_is_kept_for_a_closed_laptop_is_bounded(start_lab: Callable[..., Lab]) -> None:
    lab = start_lab().wait()
    _, kernel = lab.client.start_notebook("away.ipynb")
    session = uuid.uuid4().hex
    assert lab.client.run(kernel, "print('warm')") == "warm\n"
    before = resident_bytes(lab.process.pid)
    # Slower than it is read: what only waits to be read is nobody's to bound.
    code = "for n in range(240): print(n, 'x' * 500_000, flush=True); time.sleep(0.02)"
    leave_while_running(lab, kernel, session, code)

    def has_read_it_all() -> bool:
        state = lab.client.call("GET", f"/api/kernels/{kernel}")["execution_state"]
        return state == "idle" and "its oldest printed output is dropped" in lab.text()

    wait_until(has_read_it_all, "the end of what the server reads")
    assert has_read_it_all() and has_read_it_all()  # the buffer's own socket, too
    text = read_until_idle(lab, kernel, session)
    numbers = [int(line.split()[0]) for line in text.splitlines()]
    assert 20 < len(numbers) < 40  # 16 MiB of 120 MB
    assert numbers == list(range(240 - len(numbers), 240))
    assert resident_bytes(lab.process.pid) - before < 100 << 20


def message(kind: str, size: int = 0) -> tuple[str, list[bytes]]:
    header = json.dumps({"msg_type": kind}).encode()
    return ("iopub", [b"topic", b"<IDS|MSG>", b"", header, b"{}", b"{}", b"x" * size])


def kinds(buffer: Any) -> list[str]:
    return [json.loads(parts[3])["msg_type"] for _, parts in buffer]


def test_the_buffer_drops_the_oldest_printed_text_first() -> None:
    replay = load_beside("lab_replay")
    said: list[bool] = []
    buffer = replay.BoundedBuffer(10_000, lambda: said.append(True))
    for kind in ("status", "stream", "execute_result", "stream", "status", "error"):
        buffer.append(message(kind, 1500))
    assert kinds(buffer) == ["status", "execute_result", "status", "error"]
    assert buffer.dropped == 2 and said == [True]
    buffer.append(message("stream", 20_000))
    assert len(buffer) == 4
    buffer.append(message("display_data", 6_900))
    assert buffer.bytes <= 10_000 and kinds(buffer) == ["error", "display_data"]
    buffer.keep(lambda kept: replay.message_type(kept[1]) == "error")
    assert kinds(buffer) == ["error"]
    buffer.keep(lambda _: False)
    assert buffer.bytes == 0
