"""`daemon restart`: services go on, and what serves is not given up for what would not start."""

from __future__ import annotations

from pathlib import Path

from conftest import Gears
from processes import alive, wait_until
from raw_peer import Peer


def test_a_restart_leaves_services_alone(gears: Gears) -> None:
    gears.run("run", "nap", "--", "sleep", "1000")
    before, daemon = gears.status("nap"), gears.daemon_pid()
    gears.run("daemon", "restart")
    assert gears.daemon_pid() != daemon
    after = gears.status("nap")
    assert (after["pid"], after["state"]) == (before["pid"], "ready")


def test_a_wrong_configuration_is_no_reason_to_end(gears: Gears) -> None:
    daemon = gears.daemon_pid()
    with (gears.home / "etc/gears.conf").open("a") as file:
        file.write("[service:x]\nknd = command\n")
    result = gears.run("daemon", "restart", check=False)
    assert result.returncode == 1
    assert 'unknown key "knd"' in result.stderr
    assert "nothing was changed" in result.stderr
    assert gears.daemon_pid() == daemon


def test_a_new_gearsd_that_never_checks_itself_is_given_up(gears: Gears, tmp_path: Path) -> None:
    """It holds up no start for longer than its 30 s, and nothing is left of it."""
    daemon = gears.daemon_pid()
    mute = tmp_path / "gearsd"
    mute.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\nexec sleep 1000\n")
    mute.chmod(0o755)
    (path,) = gears.home.glob("run/*/gearsd.sck")
    with Peer(path) as peer:
        peer.call("org.gears.Manager.Upgrade", {"path": str(mute)})
        wait_until(lambda: (tmp_path / "pid").exists(), "its check")
        gears.run("run", "nap", "--", "sleep", "1000")
        reply = peer.hear(60)
    assert reply and "has not checked itself within 30 s" in reply["parameters"]["message"]
    assert not alive(int((tmp_path / "pid").read_text()))
    assert gears.daemon_pid() == daemon


def test_a_wait_that_times_out_says_what_is(gears: Gears) -> None:
    gears.run("run", "nap", "--", "sleep", "1000")
    result = gears.run("wait", "nap", "--for", "stopped", "--timeout", "100ms", check=False)
    assert result.returncode == 124
    assert "nap: timed out: still ready; process answers" in result.stderr
