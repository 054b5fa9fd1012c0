"""doctor and uninstall beside real hops."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

from hub_user import HubUser
from network import Node
from olcf import Olcf
from processes import wait_until


def examine(node: Node, *words: str) -> dict[str, Any]:
    return json.loads(node.run("doctor", "--json", *words, check=False).stdout)


def said(report: dict[str, Any], check: str) -> list[str]:
    both = report["findings"] + report["notes"]
    return [item["message"] for item in both if item["check"] == check]


def test_what_doctor_says_of_a_hop(olcf: Olcf) -> None:
    user, hub = HubUser(olcf, olcf.hub1), olcf.hub1
    user.login()
    assert examine(hub)["findings"] == []
    other = examine(olcf.hub2)
    assert other["findings"] == []
    assert "run/andes.sck is the matter of hub1.ccs" in said(other, "hop-leases")[0]

    # gearsd dies: the hop lives, and so does the right to its socket.
    (daemon,) = user.processes("gearsd")
    os.kill(daemon, signal.SIGKILL)
    wait_until(lambda: not list(user.processes("gearsd")), "the end of gearsd")
    report = examine(hub)
    assert [f["check"] for f in report["findings"]] == ["daemon"]
    assert "0 services and 1 hops run without a gearsd" in said(report, "daemon")[0]
    assert "the next one takes it again" in said(report, "hop-leases")[0]
    examine(hub, "--fix")
    assert user.tunnel()["state"] == "up"
    assert examine(hub)["findings"] == []

    # The tunnel dies: its login needs a human, and its sockets are left.
    (tunnel,) = user.processes("gears-tunnel")
    os.kill(tunnel, signal.SIGKILL)
    user.await_tunnel("auth-needed")
    report = examine(hub, "--fix")
    hops = [f for f in report["findings"] if f["check"] == "hops"]
    assert [f["remedy"] for f in hops] == ["gearsctl login andes"]
    sockets = [f["fixed"] for f in report["findings"] if f["check"] == "hop-sockets"]
    assert sockets == [True, True]
    user.login()
    assert examine(hub)["findings"] == []
    user.run("logout", "andes")
    assert examine(hub)["findings"] == []
    assert olcf.passcodes_asked() == 2


def test_uninstall_logs_out(olcf: Olcf) -> None:
    user, gears = HubUser(olcf, olcf.hub1), olcf.gears
    user.login()
    plan = json.loads(user.run("uninstall", "--json", check=False).stdout)
    assert plan["logout"] == ["andes"]
    refused = user.run("uninstall", "--yes", check=False)
    assert refused.returncode == 1
    assert "Gears may still run on andes-login" in refused.stderr
    assert user.tunnel()["state"] == "up"
    host = user.tunnel()["host"]
    node = next(node for node in olcf.andes if node.name.startswith(f"{host}."))
    node.run("daemon", "stop", "--services", "--yes")
    lease = gears.home / "run" / host / "gearsd.lease"
    wait_until(lambda: not lease.exists(), "the end of gearsd there")
    user.run("uninstall", "--yes")
    wait_until(lambda: not list(user.processes("gears")), "the end of every process")
    assert not (gears.home / "run").exists()
    assert not (gears.home / "state").exists()
