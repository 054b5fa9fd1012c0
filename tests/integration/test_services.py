"""Services under the real gearsd: stopping, failing, relaying, surviving the daemon."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import Gears
from processes import alive, tell, wait_until


def test_a_hundred_clients_start_exactly_one_daemon(gears: Gears) -> None:
    with ThreadPoolExecutor(100) as pool:
        replies = list(pool.map(lambda _: gears.run("status", "--json", check=False), range(100)))
    assert all(reply.returncode == 0 for reply in replies), replies[0].stderr
    assert len({json.loads(reply.stdout)["daemon"]["pid"] for reply in replies}) == 1


def test_stop_clears_the_whole_tree(gears: Gears) -> None:
    script = (
        "trap '' TERM; (setsid sh -c 'trap \"\" TERM; sleep 1000' &) ;"
        " setsid sleep 1000 & echo up; sleep 1000"
    )
    (gears.home / "etc/gears.conf").write_text(
        f"[service:stubborn]\nkind = command\ncommand = sh {gears.home}/stubborn.sh\n"
        "ready = log:^up$\nstop_timeout = 300ms\n"
    )
    (gears.home / "stubborn.sh").write_text(script)
    gears.run("start", "stubborn")

    def tree() -> list[int]:
        found = []
        for pid in gears.processes():
            try:
                environ = Path(f"/proc/{pid}/environ").read_bytes()
            except OSError:
                continue
            if b"GEARS_KEEPER=" in environ and alive(pid):
                found.append(pid)
        return found

    wait_until(lambda: len(tree()) >= 4, "the whole tree")
    pids = tree()
    gears.run("stop", "stubborn")
    assert gears.status("stubborn")["state"] == "stopped"
    wait_until(lambda: not any(alive(pid) for pid in pids), "the end of the tree")


def test_what_cannot_run_is_said_at_once(gears: Gears) -> None:
    result = gears.run("run", "nope", "--", "/nonexistent/program", check=False)
    assert result.returncode == 1
    assert "/nonexistent/program" in result.stderr
    assert gears.status("nope")["state"] == "failed"


def test_a_service_that_keeps_dying_backs_off(gears: Gears) -> None:
    (gears.home / "etc/gears.conf").write_text(
        "[service:dies]\nkind = command\ncommand = sh -c 'exit 7'\nready = notify\n"
    )
    result = gears.run("start", "dies", "--timeout", "1s", check=False)
    assert result.returncode == 124
    wait_until(lambda: gears.status("dies")["exit"], "the first end")
    service = gears.status("dies")
    assert service["state"] in ("backoff", "starting")
    assert service["exit"]["code"] == 7
    gears.run("stop", "dies")
    assert gears.status("dies")["state"] == "stopped"


def test_a_port_program_is_served_on_a_unix_socket_and_forwarded(gears: Gears) -> None:
    gears.run("run", "web", "--", "python3", "-m", "http.server", "--bind", "127.0.0.1", "{port}")
    service = gears.status("web")
    assert service["state"] == "ready"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(service["socket"])
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(64).startswith(b"HTTP/1.0 200")
    port = int(gears.run("forward", "web", "--yes").stdout)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as reply:
        assert reply.status == 200
    assert gears.status("web")["bytes_out"] > 0
    gears.run("stop", "web")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10)
    assert refused.value.code == 503
    assert b"gearsctl start web" in refused.value.read()


def test_an_exit_while_the_daemon_is_away_is_reported(gears: Gears) -> None:
    os.mkfifo(gears.home / "fifo")
    gears.run("run", "late", "--", "sh", "-c", f"read line < {gears.home}/fifo; exit 5")
    daemon = gears.daemon_pid()
    os.kill(daemon, signal.SIGKILL)
    wait_until(lambda: not alive(daemon), "the end of gearsd")
    tell(gears.home / "fifo", "go\n")
    wait_until(
        lambda: any("tree=gone" in r.read_text() for r in gears.home.glob("state/*/exit/late.rec")),
        "the exit record",
    )
    wait_until(lambda: gears.status("late")["exit"] is not None, "the report")
    assert gears.status("late")["exit"]["code"] == 5


def test_a_killed_keeper_is_noticed_and_its_tree_cleared(gears: Gears) -> None:
    gears.run("run", "orphan", "--", "sleep", "1000")
    pid = gears.status("orphan")["pid"]
    keeper = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(keeper, signal.SIGKILL)
    wait_until(lambda: not alive(pid), "the end of the orphan")
    wait_until(lambda: gears.status("orphan")["state"] == "failed", "the report")
    assert gears.status("orphan")["exit"]["unknown"] is True


def test_a_killed_relay_is_back_with_its_sockets(gears: Gears) -> None:
    gears.run("run", "web", "--", "python3", "-m", "http.server", "--bind", "127.0.0.1", "{port}")
    path = gears.status("web")["socket"]
    relay = [p for p in gears.processes() if Path(f"/proc/{p}/comm").read_text() == "gears-relay\n"]
    assert len(relay) == 1
    os.kill(relay[0], signal.SIGKILL)

    def served() -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(path)
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return client.recv(64).startswith(b"HTTP/1.0 200")
            except OSError:
                return False

    wait_until(served, "the relay's return")


def test_a_deleted_socket_file_is_made_again(gears: Gears) -> None:
    gears.run("run", "web", "--", "python3", "-m", "http.server", "--bind", "127.0.0.1", "{port}")
    path = Path(gears.status("web")["socket"])
    path.unlink()
    wait_until(path.exists, "the socket file")


def test_a_deleted_control_socket_is_made_again(gears: Gears) -> None:
    gears.run("run", "steady", "--", "sleep", "1000")
    daemon, pid = gears.daemon_pid(), gears.status("steady")["pid"]
    (control,) = gears.home.glob("run/*/gearsd.sck")
    for _ in range(3):
        control.with_name("gearsd.lease").unlink()
        control.unlink()
        wait_until(control.exists, "the socket's return")  # who asks sooner gets a successor
        assert gears.daemon_pid() == daemon
        assert gears.status("steady")["pid"] == pid
    gears.run("daemon", "upgrade")
    control.unlink()
    wait_until(control.exists, "the socket's return")
    assert gears.status("steady")["pid"] == pid
    assert gears.daemon_pid() == daemon
    control.with_name("gearsd.lease").unlink()
    control.unlink()
    assert gears.status("steady")["pid"] == pid, "whoever answers now"


def test_a_daemon_whose_place_was_taken_ends(gears: Gears) -> None:
    gears.run("run", "steady", "--", "sleep", "1000")
    daemon, pid = gears.daemon_pid(), gears.status("steady")["pid"]
    (control,) = gears.home.glob("run/*/gearsd.sck")
    os.kill(daemon, signal.SIGSTOP)  # it cannot see to its files
    control.with_name("gearsd.lease").unlink()
    control.unlink()
    successor = gears.daemon_pid()
    assert successor != daemon
    os.kill(daemon, signal.SIGCONT)
    wait_until(lambda: not alive(daemon), "the end of the one that was replaced")
    assert gears.daemon_pid() == successor
    assert gears.status("steady")["pid"] == pid


def test_bad_configuration_names_file_and_line(gears: Gears) -> None:
    conf = gears.home / "etc/gears.conf"
    conf.write_text(
        "[service:lab]\nkind = jupyter\nstop_timout = 5s\n[service:x]\ncommand = true\n"
        "stop_timeout = soon\n[service:x]\n"
    )
    result = gears.run("config", "check", check=False)
    assert result.returncode == 1
    assert f"{conf}:3: unknown key" in result.stderr
    assert "stop_timeout" in result.stderr
    started = gears.run("status", check=False)
    assert started.returncode == 5
    conf.write_text("")
    assert gears.run("config", "check").stdout == "ok\n"


def test_a_wrong_mode_is_refused(gears: Gears) -> None:
    (gears.home / "run").mkdir(mode=0o755)
    (gears.home / "run").chmod(0o755)
    result = gears.run("status", check=False)
    assert result.returncode == 5
    assert "chmod 700" in result.stderr
    (gears.home / "run").chmod(0o700)


def test_names_and_words_that_are_wrong(gears: Gears) -> None:
    assert gears.run("strat", "lab", check=False).returncode == 2
    unknown = gears.run("start", "lba", check=False)
    assert unknown.returncode == 4
    assert "did you mean lab?" in unknown.stderr
    assert gears.run("start", "lab@nowhere", check=False).returncode == 4
    assert gears.run("signal", "lab", "USR1", check=False).returncode == 3
    assert gears.run("--no-autostart", "status").returncode == 0


def test_logs_are_kept_and_followed(gears: Gears) -> None:
    gears.run("run", "talk", "--", "sh", "-c", "echo one; echo two >&2; exec cat")
    wait_until(lambda: "two" in gears.run("logs", "talk").stdout, "the lines")
    assert "one\n" in gears.run("logs", "talk").stdout
    last = gears.run("logs", "talk", "-n", "1").stdout
    assert last.count("\n") == 1
    with subprocess.Popen(
        [str(gears.bin / "gearsctl"), "events", "-f", "--json"],
        env=gears.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as follower:
        assert follower.stdout is not None
        follower.stdout.readline()
        gears.run("stop", "talk")
        for line in follower.stdout:
            if json.loads(line)["event"] == "stopped":
                break
        follower.kill()


def test_output_that_is_no_text_is_shown_all_the_same(gears: Gears) -> None:
    gears.run("run", "noise", "--", "sh", "-c", r"printf '\377\001 caf\303\251\n'; exec sleep 100")
    wait_until(lambda: "café" in gears.run("logs", "noise").stdout, "the line")


def test_a_flood_is_kept_within_its_budget(gears: Gears) -> None:
    (gears.home / "etc/gears.conf").write_text(
        "[service:flood]\nkind = command\nlog_budget = 8M\nready = log:^done$\nrestart = no\n"
        "command = sh -c 'yes 0123456789abcdef | head -c 100000000; echo; echo done;"
        " exec sleep 100'\n"
    )
    gears.run("start", "flood", "--timeout", "60s")
    wait_until(lambda: "done\n" in gears.run("logs", "flood", "-n", "1").stdout, "the last line")
    size = sum(segment.stat().st_size for segment in gears.home.glob("log/*/flood/*.log"))
    assert 1 << 20 < size <= 9 << 20


def test_all_logs_together_keep_to_their_budget(gears: Gears) -> None:
    services = "".join(
        f"[service:flood{i}]\nkind = command\nlog_budget = 16M\nready = log:^done$\n"
        "command = sh -c 'yes 0123456789abcdef | head -c 20000000; echo; echo done;"
        " exec sleep 100'\n"
        for i in range(3)
    )
    (gears.home / "etc/gears.conf").write_text(f"[defaults]\nlog_total = 24M\n{services}")
    for i in range(3):
        gears.run("start", f"flood{i}", "--timeout", "60s")
    # The open segments, 2M each, may stand above the budget when the others rotated last.
    size = sum(segment.stat().st_size for segment in gears.home.glob("log/*/*/*.log"))
    assert 16 << 20 < size <= 31 << 20
    for i in range(3):
        wait_until(
            lambda i=i: gears.run("logs", f"flood{i}", "-n", "1").stdout == "done\n",
            "the last line",
        )


def test_an_upgrade_keeps_services_and_their_connections(gears: Gears) -> None:
    gears.run("run", "web", "--", "python3", "-m", "http.server", "--bind", "127.0.0.1", "{port}")
    before = gears.status("web")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(before["socket"])
        client.sendall(b"GET / HTTP/1.0\r\n")
        gears.run("daemon", "upgrade")
        wait_until(
            lambda: gears.run("status", "web", check=False).returncode == 0, "the new gearsd"
        )
        client.sendall(b"\r\n")
        assert client.recv(64).startswith(b"HTTP/1.0 200")
    wait_until(lambda: gears.status("web")["state"] == "ready", "the adoption")
    assert gears.status("web")["pid"] == before["pid"]


def test_gearsd_has_limits_of_its_own_and_services_the_session_s(gears: Gears) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    core = 8192 if most < 0 else min(8192, most)
    (gears.home / "etc/gears.conf").write_text(
        "[service:count]\nkind = command\nready = log:soft\n"
        "setup = export SETUP_SOFT=$(ulimit -Sn) SETUP_CORE=$(ulimit -Sc)\n"
        "command = sh -c 'echo soft $(ulimit -Sn) hard $(ulimit -Hn) setup $SETUP_SOFT"
        " core $SETUP_CORE; exec sleep 1000'\n"
    )
    start = [str(gears.bin / "gearsctl"), "start", "count"]
    limited = ["prlimit", f"--nofile=200:{hard}", f"--core={core}:", *start]
    subprocess.run(limited, env=gears.environment, check=True, timeout=60)
    said = f"soft 200 hard {hard} setup 200 core {core // 1024}"
    wait_until(lambda: said in gears.run("logs", "count").stdout, "the line")
    assert_limits(gears.daemon_pid(), descriptors=hard, core=0)
    assert_limits(gears.status("count")["pid"], descriptors=200, core=core)
    gears.run("daemon", "upgrade")
    gears.run("restart", "count")
    wait_until(lambda: gears.run("logs", "count").stdout.count(said) == 2, "the second line")
    assert_limits(gears.daemon_pid(), descriptors=hard, core=0)
    assert_limits(gears.status("count")["pid"], descriptors=200, core=core)


def assert_limits(pid: int, descriptors: int, core: int) -> None:
    rows = Path(f"/proc/{pid}/limits").read_text().splitlines()
    for name, soft in (("Max open files", descriptors), ("Max core file size", core)):
        row = next(row for row in rows if row.startswith(name))
        assert row[len(name) :].split()[0] == str(soft), row


def test_a_relay_hears_to_its_end_what_a_leaving_daemon_said(gears: Gears) -> None:
    gears.run("run", "web", "--", "python3", "-m", "http.server", "--bind", "127.0.0.1", "{port}")
    (relay,) = (
        p for p in gears.processes() if Path(f"/proc/{p}/comm").read_text() == "gears-relay\n"
    )
    os.kill(relay, signal.SIGSTOP)
    try:
        gears.run("daemon", "stop", "--services", "--yes")
    finally:
        os.kill(relay, signal.SIGCONT)
    wait_until(lambda: not gears.processes(), "the end of the relay")
