"""doctor: hops, their leases and their sockets."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

from conftest import Gears
from doctor_report import examine, this_host
from other_daemon import OLD, other_daemon
from records import DEAD, boot_id, leave_socket, private, record


def test_sockets_of_hops_that_do_not_fit(gears: Gears) -> None:
    conf = gears.home / "etc/gears.conf"
    room = 107 - len(f"{gears.home}/run/.sck")
    service = "s" * 32
    assert room > 64, "the home of a test is short"
    deep = gears.home / ("d" * (room - 1 - len("andes+") - len(service) + 1))
    (deep / "etc").mkdir(parents=True)
    text = conf.read_text() + "[cluster:andes]\n"
    gears.environment["GEARS_HOME"] = str(deep)
    (deep / "etc/gears.conf").write_text(text)
    assert not [f for f in examine(gears)["findings"] if f["check"] == "hop-paths"]
    (deep / "etc/gears.conf").write_text(text + f"forward = tb\n  {service}\n")
    found = [f for f in examine(gears)["findings"] if f["check"] == "hop-paths"]
    gears.environment["GEARS_HOME"] = str(gears.home)
    assert [f["remedy"] for f in found] == [
        "set GEARS_HOME to a shorter path and run: gearsctl init"
    ]
    assert f"{deep}/run/andes+{service}.sck has 108 bytes" in found[0]["message"]


def lease_findings(gears: Gears, *words: str) -> tuple[list[dict[str, Any]], list[str]]:
    report = examine(gears, *words)
    assert {finding["check"] for finding in report["findings"]} <= {"hop-leases"}
    notes = [note["message"] for note in report["notes"] if note["check"] == "hop-leases"]
    return report["findings"], notes


def test_who_has_the_right_to_a_cluster(gears: Gears) -> None:
    host, run = this_host(gears), gears.home / "run"
    private(run, gears.home / "state", gears.home / "state" / host)
    lease = record(run / "andes.lease", host="hub2.olcf", boot_id="b", **DEAD)
    found, notes = lease_findings(gears, "--fix")
    assert found == []
    assert "run/andes.sck is the matter of hub2.olcf" in notes[0]
    assert notes[0].endswith("gearsctl takeover andes")
    started = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19]
    own = {"host": host, "boot_id": boot_id(), "nonce": "1" * 32}
    record(lease, pid=os.getpid(), start_time=started, **own)
    assert lease_findings(gears, "--fix") == ([], [])
    record(lease, pid=os.getpid(), start_time=int(started) + 1, **own)
    wanted = record(gears.home / "state" / host / "hop/andes.rec", cluster="andes", wanted=1)
    found, notes = lease_findings(gears, "--fix")
    assert found == []
    assert "the next one takes it again" in notes[0]
    record(wanted, cluster="andes", wanted=0)
    (finding,), _ = lease_findings(gears)
    assert finding["remedy"] == f"rm {lease}"
    assert lease.exists()
    (finding,), _ = lease_findings(gears, "--fix")
    assert finding["fixed"]
    assert not lease.exists()
    record(lease, pid=os.getpid(), start_time=started, **{**own, "boot_id": "an earlier one"})
    assert lease_findings(gears, "--fix")[0][0]["fixed"]
    lease.write_text("gears-record 1\nhost=hu")
    assert lease_findings(gears, "--fix")[0][0]["fixed"]
    assert not list(run.glob("*.lease"))


def test_sockets_of_hops_that_nobody_serves(gears: Gears) -> None:
    gears.run("daemon", "start")
    host = this_host(gears)
    run, link = gears.home / "run", gears.home / "run" / host / "link"
    for name in ("t", "f"):
        leave_socket(link / f"{name}-andes.sck", socket.SOCK_SEQPACKET)
    leave_socket(link / "g-andes.sck")
    for name in ("andes", "andes+tb", "frontier", "summit"):
        leave_socket(run / f"{name}.sck")
    (run / "notes.txt").touch()
    started = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19]
    record(
        run / "andes.lease",
        host=host,
        boot_id=boot_id(),
        pid=os.getpid(),
        start_time=started,
        nonce="1" * 32,
    )
    record(run / "frontier.lease", host="hub2.olcf", boot_id="b", **DEAD)
    report = examine(gears)
    dead = [link / "t-andes.sck", link / "f-andes.sck", link / "g-andes.sck"]
    dead += [run / "andes.sck", run / "andes+tb.sck"]
    found = {finding["remedy"] for finding in report["findings"]}
    assert found == {f"rm {path}" for path in dead}
    assert {finding["check"] for finding in report["findings"]} == {"hop-sockets"}
    notes = [n["message"] for n in report["notes"] if n["check"] == "hop-sockets"]
    assert [f"nobody here serves {run}/summit.sck" in note for note in notes] == [True]
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as living:
        dead[0].unlink()
        living.bind(str(dead[0]))
        living.listen()
        assert all(finding["fixed"] for finding in examine(gears, "--fix")["findings"])
        assert [path.exists() for path in dead] == [True, False, False, False, False]
        assert (run / "frontier.sck").exists()
        assert (run / "summit.sck").exists()
    (run / "andes.lease").unlink()


def tunnel(**fields: object) -> dict[str, Any]:
    since = int((time.time() - 300) * 1e6)
    return {
        "cluster": "andes",
        "transport": "libssh2",
        "wanted": True,
        "state": "down",
        "since": since,
        "reconnects": 0,
        "connections": 0,
        "bytes_in": 0,
        "bytes_out": 0,
        "human": True,
        "service": "lab",
        "port": 38888,
        **fields,
    }


LOST = "andes.olcf: connection timed out"


HOPS = [
    ({"state": "up"}, None, ""),
    ({"wanted": False}, None, ""),
    ({"wanted": False, "cause": "cancelled"}, None, ""),
    ({"state": "connecting"}, None, ""),
    ({"wanted": False, "held_by": "hub2.olcf"}, None, ""),
    ({"state": "auth-needed", "cause": "auth-needed"}, "gearsctl login andes", "the login"),
    ({"cause": "host-key-changed"}, "ssh-keygen -R", "the server's identity"),
    ({"cause": "network-down", "message": LOST}, "gearsctl login andes", LOST),
    ({"cause": "network-down", "human": False}, "wait: it connects again by itself", "the network"),
    ({"cause": "refused"}, "whether its sshd runs", "the server's port"),
    ({"cause": "no-common-algorithm"}, "transport = openssh", "the SSH handshake"),
    ({"cause": "policy"}, "gearsctl login andes", "the site's limit"),
    ({"state": "degraded"}, "wait: it is kept", "the server does not answer"),
    (
        {"state": "up", "message": "Gears is not installed there; run: sh contrib/quickstart.sh"},
        "in Gears' sources on andes run: sh contrib/quickstart.sh",
        "gearsd there does not answer",
    ),
]


def test_the_layer_of_a_hop_that_fails(gears: Gears) -> None:
    tunnels = [tunnel(**{**fields, "cluster": f"c{i}"}) for i, (fields, _, _) in enumerate(HOPS)]
    status = {"epoch": "e", "seq": 1, "services": [], "tunnels": tunnels}
    answers = {"Hello": {"parameters": OLD}, "Status": {"parameters": status}}
    with other_daemon(gears, answers):
        report = examine(gears)
    hops = [finding for finding in report["findings"] if finding["check"] == "hops"]
    for i, (fields, remedy, words) in enumerate(HOPS):
        found = [f for f in hops if f["message"].startswith(f"the hop to c{i} is ")]
        assert len(found) == (remedy is not None), (fields, found)
        for finding in found:
            assert remedy is not None
            assert remedy.replace("andes", f"c{i}") in finding["remedy"]
            assert words in finding["message"]
            assert f"is {fields.get('state', 'down')} since 5m" in finding["message"]
    notes = [note["message"] for note in report["notes"] if note["check"] == "hops"]
    assert notes == [
        "the hop to c3 is connecting",
        "run/c4.sck is on hub2.olcf; to have it here: gearsctl takeover c4",
    ]


def test_a_cluster_is_no_host(gears: Gears) -> None:
    state = gears.home / "state"
    gears.run("daemon", "start")
    private(state / "@cluster")
    for name in ("andes", "service", "link"):
        record(state / f"@cluster/{name}.rec", cluster=name, host="login1.andes", at=1)
    record(gears.home / "run/andes.lease", host="hub2.olcf", boot_id="b", **DEAD)
    told = gears.run("status").stderr + gears.run("status", "--json").stdout
    told += gears.run("doctor", "--json").stdout + gears.run("url", "lab", check=False).stderr
    assert "@cluster" not in told
    (gears.home / "run/andes.lease").unlink()
