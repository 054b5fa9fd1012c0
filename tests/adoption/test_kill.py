"""kill -9 of gearsd, and of keepers, at moments of all kinds: nothing is lost or doubled."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from conftest import Gears
from once import Once
from processes import alive, parent, tell, wait_until
from tracing import Tracer, needs_strace


def lasting(gears: Gears, name: str = "once") -> str:
    return wait_until(
        lambda: (s := gears.status(name)["state"]) in ("ready", "stopped", "failed") and s,
        "a lasting state",
    )


@pytest.mark.parametrize("act", ["start", "restart", "stop"])
def test_killed_at_any_moment_of_an_act(gears: Gears, act: str) -> None:
    """The kill comes a little later each time, from before the act to after its end."""
    once = Once(gears)

    def prepare() -> None:
        gears.run("stop" if act == "start" else "start", "once")

    prepare()
    begin = time.monotonic()
    gears.run(act, "once", "--no-wait")
    took = time.monotonic() - begin
    for step in range(24):
        prepare()
        before = once.starts()
        daemon = gears.daemon_pid()
        killer = threading.Timer(step / 18 * took, os.kill, (daemon, signal.SIGKILL))
        killer.start()
        answer = gears.run(act, "once", "--no-wait", check=False)
        killer.join()
        wait_until(lambda pid=daemon: not alive(pid), "the end of gearsd")
        state = lasting(gears)
        if answer.returncode == 0:
            assert state == ("stopped" if act == "stop" else "ready"), f"step {step}"
        if answer.returncode == 0 and act == "restart":
            wait_until(lambda n=before: once.starts() > n, "the restart")
            lasting(gears)
        assert once.starts() - before <= 1, f"step {step}: started twice"
        assert len(once.running()) == (state == "ready"), f"step {step}"
        once.check_never_doubled()


def test_everything_is_found_again(gears: Gears) -> None:
    """Pids, restarts, since, workspace, forward, bytes and connections are what they were."""
    Once(gears, keys="restart = always\n")
    gears.run("start", "once")
    first = gears.status("once")["pid"]
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: gears.status("once")["restarts"] == 1, "the restart")
    wait_until(lambda: gears.status("once")["state"] == "ready", "the second run")
    gears.run("run", "web", "--", "python3", "-m", "http.server", "--bind", "127.0.0.1", "{port}")
    port = int(gears.run("forward", "web", "--yes").stdout)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(gears.status("web")["socket"])
        client.sendall(b"GET / HTTP/1.0\r\nX: ")
        wait_until(lambda: gears.status("web")["bytes_in"] > 0, "the counters")
        before = {name: gears.status(name) for name in ("once", "web")}
        time.sleep(1.1)  # "since" has seconds: a later one would show
        gears.kill_daemon()
        lasting(gears, "once"), lasting(gears, "web")
        after = {name: gears.status(name) for name in ("once", "web")}
        for name in before:
            for key in ("pid", "restarts", "state", "since", "wanted", "socket", "url", "build"):
                assert after[name][key] == before[name][key], (name, key)
        for key in ("connections", "bytes_in", "bytes_out"):
            assert after["web"][key] == before["web"][key], key
        assert after["web"]["connections"] == 1
        client.sendall(b"\r\n\r\n")
        assert client.recv(64).startswith(b"HTTP/1.0 200")
    assert str(port) in after["web"]["url"]


def test_a_hundred_services_are_adopted_at_once(gears: Gears) -> None:
    lines = "".join(
        f"[service:s{i}]\nkind = command\ncommand = sleep 1000\nready = started\nenabled = yes\n"
        for i in range(100)
    )
    (gears.home / "etc/gears.conf").write_text(lines)
    reply = json.loads(gears.run("status", "--json").stdout)

    def all_ready() -> dict[str, int] | None:
        services = json.loads(gears.run("status", "--json").stdout)["services"]
        ready = {s["name"]: s["pid"] for s in services if s["state"] == "ready"}
        return ready if len(ready) == 100 else None

    pids = wait_until(all_ready, "a hundred services")
    os.kill(reply["daemon"]["pid"], signal.SIGKILL)
    wait_until(lambda: not alive(reply["daemon"]["pid"]), "the end of gearsd")
    begin = time.monotonic()
    services = json.loads(gears.run("status", "--json").stdout)["services"]
    print(f"start of gearsd, adoption and status: {(time.monotonic() - begin) * 1000:.0f} ms")
    assert {s["name"]: s["pid"] for s in services if s["state"] == "ready"} == pids


def test_exits_while_gearsd_is_away(gears: Gears) -> None:
    """Codes, a signal, and a restart that is due: each told by the successor."""
    once = Once(gears, keys="restart = always\n")
    os.mkfifo(gears.home / "go")
    ends = {"zero": "exit 0", "five": "exit 5", "signal": "kill -USR1 $$; sleep 9"}
    for name, end in ends.items():
        gears.run("run", name, "--", "sh", "-c", f"read line <{gears.home}/go; {end}")
    gears.run("start", "once")
    gears.kill_daemon()
    os.kill(once.running()[0], signal.SIGUSR2)
    pipe = os.open(gears.home / "go", os.O_RDWR)
    os.write(pipe, b"go\ngo\ngo\n")
    wait_until(
        lambda: sum("tree=" in r.read_text() for r in gears.home.glob("state/*/exit/*.rec")) == 4,
        "the exit records",
    )
    os.close(pipe)
    for name, end in {
        "zero": ("code", 0),
        "five": ("code", 5),
        "signal": ("signal", "USR1"),
    }.items():
        service = gears.status(name)
        assert service["exit"][end[0]] == end[1]
        assert service["exit"]["at"] is not None
        assert service["state"] == ("stopped" if name == "zero" else "failed")
    assert gears.status("once")["exit"]["signal"] == "USR2"
    wait_until(lambda: once.starts() == 2, "the restart that was due")
    once.check_never_doubled()


def test_a_clean_end_is_not_taken_for_a_reason_to_start(gears: Gears) -> None:
    """Ended for good under one gearsd: the next ones leave it so, and still tell how."""
    gears.run("run", "done", "--", "true", check=False)
    gears.run("wait", "done", "--for", "stopped")
    before = gears.status("done")
    for _ in range(2):
        gears.kill_daemon()
        after = gears.status("done")
        assert (after["state"], after["exit"]) == ("stopped", before["exit"])


@needs_strace
def test_a_keeper_that_has_no_socket_yet_is_waited_for(gears: Gears) -> None:
    """gearsd dies when the keeper has its orders and has not bound its socket."""
    once = Once(gears)
    daemon = gears.daemon_pid()
    with Tracer(daemon, "listen", "delay_enter=1500000", follow=True):
        gears.run("start", "once", "--no-wait")
        wait_until(lambda: list(gears.home.glob("run/*/link/k-once.sck.*")), "the keeper")
        keeper = keepers(gears)
        os.kill(daemon, signal.SIGKILL)
        wait_until(lambda: not alive(daemon), "the end of gearsd")
        assert not list(gears.home.glob("run/*/link/k-once.sck"))
        assert lasting(gears) == "ready"
    assert keepers(gears) == keeper
    assert once.starts() == 1
    once.check_never_doubled()


def keepers(gears: Gears) -> list[int]:
    found = []
    for pid in gears.processes():
        if Path(f"/proc/{pid}/comm").read_text() == "gears-keeper\n" and parent(pid) != 0:
            found.append(pid)
    return sorted(found)


def test_a_keeper_whose_socket_was_deleted_is_found(gears: Gears) -> None:
    once = Once(gears)
    gears.run("start", "once")
    pid = gears.status("once")["pid"]
    (path,) = gears.home.glob("run/*/link/k-once.sck")
    path.unlink()
    gears.kill_daemon()
    assert lasting(gears) == "ready"
    assert gears.status("once")["pid"] == pid
    assert path.exists()
    assert once.starts() == 1
    gears.run("stop", "once")
    assert not alive(pid)
    wait_until(lambda: not path.exists(), "the end of its keeper")


def test_a_stopped_gearsd_misses_nothing(gears: Gears) -> None:
    """SIGSTOP gearsd, let services end: when it goes on, it knows."""
    os.mkfifo(gears.home / "go")
    gears.run("run", "five", "--", "sh", "-c", f"read line <{gears.home}/go; exit 5")
    daemon = gears.daemon_pid()
    os.kill(daemon, signal.SIGSTOP)
    try:
        tell(gears.home / "go", "go\n")
        wait_until(
            lambda: any("tree=" in r.read_text() for r in gears.home.glob("state/*/exit/*.rec")),
            "the exit record",
        )
    finally:
        os.kill(daemon, signal.SIGCONT)
    wait_until(lambda: gears.status("five")["state"] == "failed", "the report")
    assert gears.status("five")["exit"]["code"] == 5


def test_left_over_files_of_dead_writers_go(gears: Gears) -> None:
    gears.run("status")
    (state,) = gears.home.glob("state/*/service")
    (state / "x.rec.0123456789abcdef.tmp").write_text("half")
    gears.kill_daemon()
    gears.run("status")
    assert not list(state.glob("*.tmp"))


def test_a_damaged_record_is_named_and_harms_nothing(gears: Gears) -> None:
    once = Once(gears)
    gears.run("start", "once")
    pid = gears.status("once")["pid"]
    (record,) = gears.home.glob("state/*/service/once.rec")
    record.write_bytes(record.read_bytes()[:-9])
    gears.kill_daemon()
    assert lasting(gears) == "ready"
    assert gears.status("once")["pid"] == pid, "its keeper told who it is"
    assert "record ignored" in gears.run("logs", "gearsd").stdout
    once.check_never_doubled()


def test_two_gearsds_at_once_after_a_kill(gears: Gears) -> None:
    """Ten clients find gearsd dead at the same moment: one successor, one of each service."""
    once = Once(gears)
    gears.run("start", "once")
    gears.kill_daemon()
    words = [str(gears.bin / "gearsctl"), "status", "--json"]
    clients = [
        subprocess.Popen(words, env=gears.environment, stdout=subprocess.PIPE, text=True)
        for _ in range(10)
    ]
    replies = [json.loads(client.communicate(timeout=60)[0]) for client in clients]
    assert len({reply["daemon"]["pid"] for reply in replies}) == 1
    assert lasting(gears) == "ready"
    assert once.starts() == 1
