"""The right to a cluster's name, run/andes.lease: kept in trouble, lost to another hub only."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Gears
from hub_user import HubUser
from olcf import Olcf
from processes import wait_until
from sshd import WHY_NOT


def lease_of(user: HubUser) -> Path:
    return user.olcf.gears.home / f"run/{user.cluster}.lease"


def holder(user: HubUser) -> str:
    """The host that the lease names; "" for none."""
    return fields(lease_of(user)).get("host", "")


def hop_file(user: HubUser, ending: str) -> dict[str, str]:
    host = ".".join(user.hub.name.split(".")[:2])
    return fields(user.olcf.gears.home / f"state/{host}/hop/{user.cluster}.{ending}")


def fields(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line)


def log(user: HubUser) -> str:
    host = ".".join(user.hub.name.split(".")[:2])
    files = (user.olcf.gears.home / f"log/{host}/gearsd").iterdir()
    return "".join(path.read_text() for path in sorted(files))


def test_a_lease_that_is_gone_or_cannot_be_read_closes_nothing(user: HubUser) -> None:
    user.login()
    tunnels = user.tunnel_processes()
    lease = lease_of(user)
    lease.unlink()
    wait_until(lambda: user.status() and lease.exists(), "the lease, again")
    lease.unlink()
    lease.mkdir()  # reading it fails, as it does with an expired ticket
    wait_until(lambda: user.status() and "lease not checked" in log(user), "a look at the lease")
    lease.rmdir()
    wait_until(lambda: user.status() and lease.exists(), "the lease, again")
    assert user.tunnel()["state"] == "up" and user.tunnel_processes() == tunnels
    # A successor knows it under its newest name.
    user.kill_daemon()
    assert user.tunnel()["state"] == "up" and user.tunnel_processes() == tunnels
    assert "taken-over" not in user.run("events").stdout and user.olcf.passcodes_asked() == 1


def test_a_takeover_met_at_the_start_lasts(olcf: Olcf, user: HubUser, other: HubUser) -> None:
    user.login()
    user.kill_daemon()
    assert user.tunnel_processes()
    other.run("takeover", "andes", "--yes")
    other.login()
    shown = user.tunnel()
    assert shown["held_by"] == "hub2.ccs.ornl.gov" and not shown["wanted"], shown
    assert shown["state"] == "down", shown
    wait_until(lambda: not user.tunnel_processes(), "the end of hub1's hop")
    words = "run/andes.sck is held by hub2.ccs.ornl.gov now"
    assert hop_file(user, "end")["text"] == words
    wait_until(lambda: hop_file(user, "rec")["wanted"] == "0", "the record")
    events = user.run("events").stdout
    assert words in events and "adopted" not in events and "auth-needed" not in events
    other.run("logout", "andes")
    wait_until(lambda: not holder(user), "the lease's end")
    user.kill_daemon()
    assert user.tunnel()["state"] in (None, "down") and not holder(user)

    # The same for a hop that was down, and wanted.
    user.login()
    user.kill_daemon()
    for pid in user.tunnel_processes():
        user.kill(pid, 9)
    wait_until(lambda: not user.tunnel_processes(), "the end of the tunnel")
    other.run("takeover", "andes", "--yes")
    shown = user.tunnel()
    assert shown["held_by"] == "hub2.ccs.ornl.gov" and not shown["wanted"], shown
    wait_until(lambda: hop_file(user, "rec")["wanted"] == "0", "the record")
    assert olcf.passcodes_asked() == 3


def test_a_takeover_met_while_reconnecting_lasts(gears: Gears) -> None:
    if WHY_NOT:
        pytest.skip(WHY_NOT)
    with Olcf(gears, andes_auth="publickey") as olcf:
        olcf.give_key()
        user, other = HubUser(olcf, olcf.hub1), HubUser(olcf, olcf.hub2)
        user.run("login", "andes")
        other.run("takeover", "andes", "--yes")
        for pid in user.tunnel_processes():
            user.kill(pid, 9)
        events = wait_until(lambda: told(user, "taken-over"), "hub1 to see it")
        assert "held by hub2.ccs.ornl.gov" in events and "PASSCODE" not in events
        wait_until(lambda: hop_file(user, "rec")["wanted"] == "0", "the record")
        shown = user.tunnel()
        assert shown["state"] == "down" and shown["held_by"] == "hub2.ccs.ornl.gov", shown


def told(user: HubUser, event: str) -> str:
    events = user.run("events").stdout
    return events if event in events else ""


def test_what_is_not_used_is_given_back(olcf: Olcf, user: HubUser, other: HubUser) -> None:
    # Nobody was there to type.
    assert user.run("start", "lab@andes", check=False).returncode != 0
    assert user.tunnel()["state"] == "auth-needed"
    wait_until(lambda: not holder(user), "the lease's end")
    wait_until(lambda: hop_file(user, "rec")["lease"] == "", "the record")
    other.login()
    other.run("logout", "andes")
    wait_until(lambda: hop_file(other, "rec")["lease"] == "", "the record")

    # Another hub's name is not taken without a question, whatever was once ours.
    user.login()
    other.kill_daemon()
    result = other.run("takeover", "andes", check=False)
    assert result.returncode == 7 and "needs a yes" in result.stderr, result.stderr
    user.run("logout", "andes")
    wait_until(lambda: not holder(user), "the lease's end")

    # One that a human took, and used not yet, is no other hub's after an upgrade.
    user.run("takeover", "andes", "--yes")
    assert holder(user) == "hub1.ccs"
    wait_until(lambda: hop_file(user, "rec")["lease"], "the record")
    user.run("daemon", "upgrade")
    user.login()
    assert holder(user) == "hub1.ccs"
    user.run("daemon", "stop", "--services", "--yes")
    wait_until(lambda: not list(user.processes("gearsd")), "the end of gearsd")
    assert not holder(user)
