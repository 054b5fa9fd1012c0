"""url, forward, ssh-config: addresses, the browser's private page, ports that others share too."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Gears
from processes import wait_until
from terminal import Terminal

WEB = ("run", "web", "--", "python3", "-m", "http.server", "--bind", "127.0.0.1", "{port}")

# What a browser does with the page, and what everybody can see of it meanwhile.
BROWSER = """#!/usr/bin/python3
import json, pathlib, sys, urllib.parse
path = pathlib.Path(urllib.parse.unquote(sys.argv[-1].removeprefix("file://")))
pathlib.Path(sys.argv[1]).write_text(json.dumps({
    "page": path.read_text(), "mode": path.stat().st_mode & 0o777, "path": str(path),
    "argv": [p.read_bytes().decode(errors="replace")
             for p in pathlib.Path("/proc").glob("[0-9]*/cmdline") if p.exists()],
}))
"""


@pytest.fixture
def browser(gears: Gears) -> Path:
    """Where the fake browser writes what it saw."""
    program, seen = gears.home / "browser", gears.home / "seen.json"
    program.write_text(BROWSER.replace("/usr/bin/python3", sys.executable))
    program.chmod(0o700)
    gears.environment["BROWSER"] = f"/nonexistent/fox:{program} {seen} %s"
    return seen


def secret(gears: Gears) -> str:
    return json.loads(gears.run("url", "lab", "--json").stdout)["token"]


def test_open_leads_through_a_private_page(gears: Gears, browser: Path) -> None:
    gears.run("start", "lab")
    gears.run("forward", "lab", "--yes")
    gears.run("url", "lab", "--open")
    seen = json.loads(browser.read_text())
    token = secret(gears)
    assert seen["mode"] == 0o600
    assert f"token={token}" in seen["page"].replace("&#38;", "&")
    assert Path(seen["path"]).parent == next(gears.home.glob("run/*"))
    assert not [line for line in seen["argv"] if token in line]
    wait_until(lambda: not Path(seen["path"]).exists(), "the removal of the page")


def test_open_says_what_it_lacks(gears: Gears, browser: Path) -> None:
    gears.run(*WEB)
    unforwarded = gears.run("url", "web", "--open", check=False)
    assert unforwarded.returncode == 1
    assert "run: gearsctl forward web" in unforwarded.stderr
    gears.run("forward", "web", "--yes")
    gears.environment["BROWSER"] = "/nonexistent/fox"
    missing = gears.run("url", "web", "--open", check=False)
    assert missing.returncode == 1
    assert "no browser on this host; set BROWSER" in missing.stderr
    gears.environment["BROWSER"] = "false"
    failing = gears.run("url", "web", "--open", check=False)
    assert failing.returncode == 1
    assert "the browser command false failed with status 1" in failing.stderr
    assert not list(gears.home.glob("run/*/open-*.html"))


def test_both_addresses_in_json(gears: Gears) -> None:
    gears.run("start", "lab")
    before = json.loads(gears.run("url", "lab", "--json").stdout)
    assert before["schema"] == 1
    assert before["forward"] is None
    assert before["url"] == before["laptop"] == gears.url()
    assert before["laptop"].startswith("http://localhost:38888/")
    port = int(gears.run("forward", "lab", "--yes").stdout)
    after = json.loads(gears.run("url", "lab", "--json").stdout)
    assert after["laptop"] == before["laptop"]
    assert after["url"] == after["forward"] == gears.url()
    assert after["forward"].startswith(f"http://localhost:{port}/")
    assert after["forward"].endswith(f"token={after['token']}")


def test_a_port_is_the_same_when_asked_again(gears: Gears) -> None:
    gears.run(*WEB)
    with socket.create_server(("127.0.0.1", 0)) as probe:  # the next is everybody's who asks
        free = probe.getsockname()[1]
    port = gears.run("forward", "web", str(free), "--yes").stdout
    assert gears.run("forward", "web").stdout == port  # nothing new is opened: no question
    assert gears.run("forward", "web", port.strip()).stdout == port
    gears.run("forward", "web", "--remove")
    gears.run("forward", "web", "--remove")
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", int(port)))


def test_a_taken_port_is_one_clear_line(gears: Gears) -> None:
    gears.run(*WEB)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = gears.run("forward", "web", str(port), "--yes", check=False)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == (
        f"gearsctl: port {port} is taken on this host; choose another, or none for the next"
        " free one\n"
    )


@pytest.mark.parametrize(
    "words", [("web", "80"), ("web", "x"), ("web", "--now"), ("web", "1", "2"), ()]
)
def test_wrong_words_of_forward(gears: Gears, words: tuple[str, ...]) -> None:
    result = gears.run("forward", *words, check=False)
    assert result.returncode == 2
    assert "usage: gearsctl forward NAME [PORT]" in result.stderr


def in_namespace(gears: Gears, script: str) -> list[str]:
    """gearsctl behind `script`, which may change what this host looks like."""
    if subprocess.run(["unshare", "--mount", "--uts", "true"], capture_output=True).returncode:
        pytest.skip("the right to make namespaces is needed")
    words = ["unshare", "--mount", "--uts", "sh", "-ec", f'{script}\nexec "$0" "$@"']
    return [*words, str(gears.bin / "gearsctl")]


def forward_shared(
    gears: Gears, script: str, name: str = "web"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*in_namespace(gears, script), "forward", name],
        env=gears.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


ALONE = "mount -t tmpfs none /run; mkdir -p /run/systemd/sessions\n"
SESSIONS = {
    "logind": ALONE + "printf 'UID=4242\\nUSER=x\\n' >/run/systemd/sessions/7",
    "utmp": ALONE + 'cp "$GEARS_HOME/utmp" /run/utmp',
}


def write_utmp(path: Path, user: str) -> None:
    """One utmp(5) record of a login."""
    record = bytearray(384)
    record[0:2] = (7).to_bytes(2, sys.byteorder)  # USER_PROCESS
    record[4:8] = (1).to_bytes(4, sys.byteorder)
    record[44 : 44 + len(user)] = user.encode()
    path.write_bytes(record)


@pytest.mark.parametrize("source", SESSIONS)
def test_a_port_beside_others_wants_a_yes(gears: Gears, source: str) -> None:
    gears.run(*WEB)
    write_utmp(gears.home / "utmp", "stranger")
    result = forward_shared(gears, SESSIONS[source])
    assert result.returncode == 7, result.stderr
    assert result.stdout == ""
    who = "uid 4242" if source == "logind" else "stranger"
    assert f"is shared with other people ({who} is logged in)" in result.stderr
    assert "lets in only\n  your uid" in result.stderr
    assert "run: gearsctl forward web --yes" in result.stderr
    assert gears.status("web")["url"] is None


def test_a_port_beside_others_is_asked_for_on_a_terminal(gears: Gears) -> None:
    gears.run(*WEB)
    words = [*in_namespace(gears, SESSIONS["logind"]), "forward", "web"]
    with Terminal(words, gears.environment) as terminal:
        terminal.expect("Open the port? [y/N] ")
        terminal.type("n\n")
        assert terminal.wait() == 1
        assert "nothing was done" in terminal.output
    with Terminal(words, gears.environment) as terminal:
        terminal.expect("Open the port? [y/N] ")
        terminal.type("y\n")
        assert terminal.wait() == 0
    assert gears.status("web")["url"] is not None


def test_owners_of_processes_count_where_no_session_is_recorded(gears: Gears) -> None:
    if os.geteuid():
        pytest.skip("only root can be two users")
    gears.run(*WEB)
    with subprocess.Popen(["sleep", "60"], user=4242) as other:
        result = forward_shared(gears, "mount -t tmpfs none /run")
        other.kill()
    assert result.returncode == 7
    assert re.search(r"\(.+ runs programs\)", result.stderr)


def test_a_site_pack_makes_the_host_a_shared_one(gears: Gears) -> None:
    script = (
        ALONE
        + 'hostname andes-login3; trap \'"$0" daemon stop --services --yes\' EXIT; "$0" "$@"; exit'
    )
    result = forward_shared(gears, script, "lab")
    assert result.returncode == 7, result.stderr
    assert 'it belongs to the site pack "andes"' in result.stderr


def test_logs_of_the_daemon_and_the_relay(gears: Gears) -> None:
    gears.run(*WEB)
    whole = gears.run("logs", "gearsd", "-n", "1000").stdout.splitlines()
    relay = gears.run("logs", "relay").stdout.splitlines()
    assert any("gearsd started" in line for line in whole)
    assert relay == [line for line in whole if line.startswith("relay ")]
    assert len(relay) >= 1
    assert gears.run("logs", "relay", "-n", "1").stdout == relay[-1] + "\n"


def test_the_entry_for_the_laptop(gears: Gears) -> None:
    entry = gears.run("ssh-config").stdout
    assert re.search(r"^    LocalForward 38888 /.*/lab\.sck$", entry, re.MULTILINE)
