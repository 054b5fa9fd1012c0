"""The command kind: how a program is started, when it counts as ready, in which order."""

from __future__ import annotations

import json
import os
import resource
import socket
import time
from pathlib import Path

import pytest
from conftest import Gears
from processes import wait_until

SERVER = """
import http.server, os, socketserver, sys, time

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ready = os.path.exists("serve")
        self.send_response(200 if ready else 503)
        self.end_headers()
        self.wfile.write(b"hello")
    def address_string(self):
        return "unix"
    def log_message(self, *words):
        open("asked", "a").write(self.path + "\\n")

class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    pass

open("running", "w").close()
while not os.path.exists("listen"):
    time.sleep(0.01)
Server(sys.argv[1], Handler).serve_forever()
"""


def define(gears: Gears, text: str) -> None:
    (gears.home / "etc/gears.conf").write_text(text)


def define_server(gears: Gears, ready: str) -> None:
    (gears.workspace / "server.py").write_text(SERVER)
    define(
        gears,
        "[service:web]\nkind = command\ncommand = python3 server.py {socket}\n"
        f"cwd = {gears.workspace}\nready = {ready}\n",
    )


def test_ready_when_the_socket_accepts(gears: Gears) -> None:
    define_server(gears, "socket")
    gears.run("start", "web", "--no-wait")
    wait_until(lambda: (gears.workspace / "running").exists(), "the program")
    service = gears.status("web")
    assert (service["state"], service["health"]["layer"]) == ("starting", "socket")
    (gears.workspace / "listen").touch()
    gears.run("wait", "web")
    service = gears.status("web")
    assert service["state"] == "ready"
    (gears.workspace / "serve").touch()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(service["socket"])
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.makefile("rb").read().endswith(b"hello")


def test_ready_when_http_answers(gears: Gears) -> None:
    define_server(gears, "http:/healthy")
    (gears.workspace / "listen").touch()
    gears.run("start", "web", "--no-wait")
    asked = gears.workspace / "asked"
    wait_until(lambda: asked.exists() and "/healthy" in asked.read_text(), "the probe")
    service = gears.status("web")
    assert (service["state"], service["health"]["layer"]) == ("starting", "http")
    (gears.workspace / "serve").touch()
    gears.run("wait", "web")


def test_ready_when_it_says_so(gears: Gears) -> None:
    program = (
        "import os, socket, time\n"
        "while not os.path.exists('go'): time.sleep(0.01)\n"
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "s.connect(os.environ['NOTIFY_SOCKET'])\n"
        "s.send(b'STATUS=nearly')\n"
        "s.send(b'READY=1')\n"
        "time.sleep(1000)\n"
    )
    (gears.workspace / "says.py").write_text(program)
    define(
        gears,
        "[service:says]\nkind = command\ncommand = python3 says.py\nready = notify\n"
        f"cwd = {gears.workspace}\n",
    )
    gears.run("start", "says", "--no-wait")
    assert gears.status("says")["state"] == "starting"
    (gears.workspace / "go").touch()
    gears.run("wait", "says")


def test_one_starts_after_another_is_ready(gears: Gears) -> None:
    order = gears.workspace / "order"
    define(
        gears,
        f"[defaults]\nworkspace = {gears.workspace}\n"
        "[service:last]\nkind = command\nafter = middle\n"
        "command = sh -c 'echo last >>order; exec sleep 1000'\n"
        "[service:middle]\nkind = command\nafter = first\nready = log:^here$\n"
        "command = sh -c 'echo middle >>order; while ! test -e go; do sleep .01; done;"
        " echo here; exec sleep 1000'\n"
        "[service:first]\nkind = command\n"
        "command = sh -c 'echo first >>order; exec sleep 1000'\n",
    )
    gears.run("start", "last", "--no-wait")
    wait_until(lambda: order.exists() and "middle" in order.read_text(), "the one before")
    waiting = gears.status("last")
    assert (waiting["state"], waiting["health"]["layer"]) == ("starting", "after")
    assert "waits for middle" in waiting["health"]["message"]
    (gears.workspace / "go").touch()
    gears.run("wait", "last")
    wait_until(lambda: "last" in order.read_text(), "the last one's line")
    assert order.read_text().split() == ["first", "middle", "last"]


def test_one_that_waits_can_be_stopped(gears: Gears) -> None:
    define(
        gears,
        "[service:late]\nkind = command\nafter = never\ncommand = sleep 1000\n"
        "[service:never]\nkind = command\nready = notify\ncommand = sleep 1000\n",
    )
    gears.run("start", "late", "--no-wait")
    wait_until(lambda: gears.status("never")["state"] == "starting", "the start of the other")
    gears.run("stop", "late")
    assert gears.status("late")["state"] == "stopped"


def test_its_environment_is_what_was_said(gears: Gears) -> None:
    gears.environment["SECRET_OF_THE_SHELL"] = "x"
    define(
        gears,
        "[service:shows]\nkind = command\nrestart = no\n"
        f"cwd = {gears.workspace}\nworkspace = {gears.home}\n"
        "environment = COLOUR=blue 'WORDS=two words'\n"
        "setup = export FROM_SETUP=here COLOUR=red\nlimit_nofile = 123\nlimit_core = 0\n"
        "command = sh -c 'env >environ; pwd >where; ulimit -n >files; touch done;"
        " exec sleep 1000'\n",
    )
    gears.run("start", "shows")
    wait_until(lambda: (gears.workspace / "done").exists(), "the program's work")
    environ = dict(
        line.split("=", 1) for line in (gears.workspace / "environ").read_text().splitlines()
    )
    assert (environ["COLOUR"], environ["WORDS"]) == ("blue", "two words")
    assert environ["FROM_SETUP"] == "here"
    assert "SECRET_OF_THE_SHELL" not in environ
    assert (gears.workspace / "where").read_text().strip() == str(gears.workspace)
    assert (gears.workspace / "files").read_text().strip() == "123"


def test_a_limit_that_cannot_be_set_is_said(gears: Gears) -> None:
    define(
        gears, "[service:large]\nkind = command\ncommand = sleep 1000\nlimit_nofile = 4294967296\n"
    )
    refused = gears.run("start", "large", check=False)
    assert refused.returncode == 1
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    words = f"cannot set limit_nofile to 4294967296 (the session's most is {hard})"
    assert words in refused.stderr
    assert gears.status("large")["state"] == "failed"


def test_setup_that_fails_is_said(gears: Gears) -> None:
    define(
        gears,
        "[service:shows]\nkind = command\ncommand = sleep 1000\n"
        "setup = echo no such module >&2; false\n",
    )
    result = gears.run("start", "shows", check=False)
    assert result.returncode == 1
    assert "no such module" in result.stderr


def test_its_own_signal_stops_it(gears: Gears) -> None:
    define(
        gears,
        "[service:polite]\nkind = command\nstop_signal = USR1\nready = log:^up$\n"
        f"cwd = {gears.workspace}\n"
        'command = sh -c \'trap "echo bye >said; exit 0" USR1; echo up;'
        " while :; do sleep .05; done'\n",
    )
    gears.run("start", "polite")
    gears.run("stop", "polite")
    assert (gears.workspace / "said").read_text() == "bye\n"
    assert gears.status("polite")["exit"]["code"] == 0


def test_what_the_program_leaves_is_asked_to_end_too(gears: Gears) -> None:
    define(
        gears,
        "[service:leaves]\nkind = command\nready = log:^up$\nstop_timeout = 60s\n"
        f"cwd = {gears.workspace}\n"
        'command = sh -c \'(trap "echo bye >said; exit" TERM; echo up;'
        " while :; do sleep .05; done) & exec sleep 1000'\n",
    )
    gears.run("start", "leaves")
    gears.run("stop", "leaves")
    assert (gears.workspace / "said").read_text() == "bye\n"


def test_an_enabled_service_starts_with_gearsd(gears: Gears) -> None:
    define(gears, "[service:always]\nkind = command\ncommand = sleep 1000\n")
    gears.run("enable", "always")
    assert gears.status("always")["state"] == "stopped"
    gears.run("daemon", "restart")
    gears.run("wait", "always")
    gears.run("disable", "always")
    gears.run("stop", "always")
    gears.run("daemon", "restart")
    assert gears.status("always")["state"] == "stopped"


def test_signals_reach_the_program(gears: Gears) -> None:
    define(
        gears,
        "[service:hears]\nkind = command\nready = log:^up$\nrestart = no\n"
        "command = sh -c 'trap \"echo heard\" USR2; echo up; while :; do sleep .05; done'\n",
    )
    gears.run("start", "hears")
    gears.run("signal", "hears", "USR2")
    wait_until(lambda: "heard" in gears.run("logs", "hears").stdout, "the handler's line")
    assert gears.run("signal", "hears", "NOISE", check=False).returncode == 2
    gears.run("stop", "hears")
    assert gears.run("signal", "hears", "USR2", check=False).returncode == 3


def test_memory_and_time_are_told_for_one_service(gears: Gears) -> None:
    gears.run("run", "busy", "--", "sh", "-c", "sleep 1000 & exec sleep 1000")
    service = gears.status("busy")
    assert (service["memory_bytes"], service["cpu_s"]) == (None, None)
    one = json.loads(gears.run("status", "busy", "--json").stdout)["services"][0]
    assert one["memory_bytes"] > 100_000
    assert one["cpu_s"] >= 0


@pytest.mark.parametrize("since", ["1h", "1ms"])
def test_logs_since(gears: Gears, since: str) -> None:
    gears.run("run", "talk", "--", "sh", "-c", "echo early; exec sleep 1000")
    wait_until(lambda: "early" in gears.run("logs", "talk").stdout, "the line")
    line = gears.run("logs", "talk", "--timestamps").stdout
    assert line.startswith(time.strftime("%Y-"))
    assert ("early" in gears.run("logs", "talk", "--since", since).stdout) == (since == "1h")


def test_paths_are_private(gears: Gears) -> None:
    os.umask(0)
    try:
        gears.run("run", "web", "--", "python3", "-m", "http.server", "{port}")
    finally:
        os.umask(0o022)
    for path in [gears.home / "run", *(gears.home / "run").rglob("*")]:
        assert path.lstat().st_mode & 0o077 == 0, path
    for path in [*(gears.home / "state").rglob("*"), *(gears.home / "log").rglob("*")]:
        assert path.lstat().st_mode & 0o077 == 0, path
    assert Path(gears.status("web")["socket"]).is_socket()


def test_a_long_command_is_kept_whole(gears: Gears) -> None:
    """A script in one word, started again by a later gearsd."""
    script = (
        "import time\n" + "# long\n" * 8000 + "print('all of it', flush=True)\ntime.sleep(1000)"
    )
    gears.run("run", "long", "--", "python3", "-c", script)
    wait_until(lambda: "all of it" in gears.run("logs", "long").stdout, "its end")
    gears.run("stop", "long")
    gears.kill_daemon()
    gears.run("start", "long")
    wait_until(lambda: gears.run("logs", "long").stdout.count("all of it") == 2, "both runs")


def test_a_command_that_cannot_be_recorded_is_refused(gears: Gears) -> None:
    refused = gears.run("run", "long", "--", "echo", "x" * 70000, check=False)
    assert refused.returncode == 1
    assert "the command is too long to be recorded: it may have 64 KiB" in refused.stderr
    assert "put it into a script" in refused.stderr
    assert "long" not in gears.names()
