"""gearsd or a keeper is killed at every step of every write of a state record."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Gears, private_gears
from once import Once
from processes import alive, parent, tell, wait_until
from tracing import (
    KEEPER_CALLS,
    LOOP_CALLS,
    RECORD_CALLS,
    Point,
    Tracer,
    each_point,
    needs_strace,
    thread_named,
)

pytestmark = needs_strace


def attempt(gears: Gears, thread: str, point: Point, *words: str) -> tuple[bool, bool]:
    """Run gearsctl while gearsd is to be killed at the point: (killed, answered)."""
    daemon = gears.daemon_pid()
    with Tracer(thread_named(daemon, thread), *point.killing()):
        answer = gears.run("--no-autostart", *words, check=False)
        killed = wait_until(lambda: outcome(gears, daemon), "the end of the act or of gearsd")
    return killed == "killed", answer.returncode == 0


def outcome(gears: Gears, daemon: int) -> str:
    """ "killed", "done" when nothing is under way any more, or "" before that."""
    reply = gears.run("--no-autostart", "status", "--json", check=False)
    if reply.returncode:
        return "" if alive(daemon) else "killed"
    states = {service["state"] for service in json.loads(reply.stdout)["services"]}
    return "done" if states <= {"ready", "stopped", "failed"} else ""


def no_torn_record(gears: Gears) -> None:
    for record in gears.home.glob("state/*/*/*.rec"):
        lines = record.read_text().splitlines()
        assert lines[0] == "gears-record 1", record
        assert lines[-1] == f"end {len(lines) - 2}", record
    log = "".join(path.read_text() for path in gears.home.glob("log/*/gearsd/*.log"))
    assert "record ignored" not in log


def sweep(
    thread: str,
    calls: str,
    words: Callable[[Once], list[str]],
    prepare: Callable[[Gears, Once], None],
    check: Callable[[Gears, Once, bool], None],
) -> int:
    """How many points there were, each tried in a home of its own."""

    def one(point: Point) -> bool:
        with private_gears() as gears:
            once = Once(gears)
            gears.run("status")
            prepare(gears, once)
            killed, answered = attempt(gears, thread, point, *words(once))
            try:
                check(gears, once, answered)
                once.check_never_doubled()
                no_torn_record(gears)
            except BaseException:
                print(f"at {point}: killed={killed} answered={answered}\n{gears.explain()}")
                raise
            return killed

    return each_point(calls, one)


def nothing(gears: Gears, once: Once) -> None:
    pass


def started(gears: Gears, once: Once) -> None:
    gears.run("start", "once")


def settled(gears: Gears, name: str = "once") -> str:
    return wait_until(
        lambda: (s := gears.status(name)["state"]) in ("ready", "stopped", "failed") and s,
        "a lasting state",
    )


def check_start(gears: Gears, once: Once, answered: bool) -> None:
    state = settled(gears)
    assert state == "ready" if answered else state in ("ready", "stopped")
    assert len(once.running()) == (state == "ready")
    assert once.starts() == (state == "ready")


def check_stop(gears: Gears, once: Once, answered: bool) -> None:
    state = settled(gears)
    assert state == "stopped" if answered else state in ("ready", "stopped")
    assert len(once.running()) == (state == "ready")
    assert once.starts() == 1


def check_restart(gears: Gears, once: Once, answered: bool) -> None:
    assert settled(gears) == "ready"
    if answered:
        wait_until(lambda: once.starts() == 2 and settled(gears) == "ready", "the restart")
    assert len(once.running()) == 1
    assert once.starts() <= 2


THREADS = pytest.mark.parametrize("thread", ["io", "gearsd"])
CALLS = {"io": RECORD_CALLS, "gearsd": LOOP_CALLS}


@THREADS
def test_start(thread: str) -> None:
    words = ["start", "once", "--no-wait"]
    points = sweep(thread, CALLS[thread], lambda _: words, nothing, check_start)
    assert points >= (16 if thread == "io" else 4)


@THREADS
def test_stop(thread: str) -> None:
    words = ["stop", "once", "--no-wait"]
    points = sweep(thread, CALLS[thread], lambda _: words, started, check_stop)
    assert points >= (8 if thread == "io" else 2)


@THREADS
def test_restart(thread: str) -> None:
    words = ["restart", "once", "--no-wait"]
    points = sweep(thread, CALLS[thread], lambda _: words, started, check_restart)
    assert points >= (16 if thread == "io" else 4)


def test_run() -> None:
    def check(gears: Gears, once: Once, answered: bool) -> None:
        known = "adhoc" in gears.names()
        assert known or not answered
        state = settled(gears, "adhoc") if known else "stopped"
        assert state == "ready" if answered else state in ("ready", "stopped")
        if state == "ready":  # that is: executed; it says so itself a moment later
            wait_until(lambda: once.starts() == 1, "its first line")
        assert once.starts() == len(once.running()) == (state == "ready")

    def words(once: Once) -> list[str]:
        return ["run", "adhoc", "--no-wait", "--", *once.argv]

    assert sweep("io", RECORD_CALLS, words, nothing, check) >= 16


def test_remove() -> None:
    def prepare(gears: Gears, once: Once) -> None:
        gears.run("run", "adhoc", "--", "true", check=False)
        gears.run("wait", "adhoc", "--for", "stopped")

    def check(gears: Gears, once: Once, answered: bool) -> None:
        known = "adhoc" in gears.names()
        assert not (answered and known)
        if known:
            service = gears.status("adhoc")
            assert (service["state"], service["exit"]["code"]) == ("stopped", 0)

    assert sweep("io", RECORD_CALLS, lambda _: ["remove", "adhoc"], prepare, check) >= 4


@pytest.mark.parametrize("word", ["enable", "disable"])
def test_enable(word: str) -> None:
    after = word == "enable"

    def prepare(gears: Gears, once: Once) -> None:
        gears.run("disable" if after else "enable", "once")

    def check(gears: Gears, once: Once, answered: bool) -> None:
        enabled = gears.status("once")["enabled"]
        assert enabled == after if answered else isinstance(enabled, bool)
        # What is enabled is started by a new gearsd.
        assert settled(gears) in ("ready", "stopped")

    assert sweep("io", RECORD_CALLS, lambda _: [word, "once"], prepare, check) >= 8


LINGERS = """
cd {home}
sh -c 'trap "read line <fifo; exit" TERM; echo up; while :; do sleep 0.02; done' &
read line <end
exit 5
"""


@pytest.mark.parametrize("away", [False, True], ids=["gearsd-serves", "gearsd-away"])
@pytest.mark.parametrize("which", ["first", "last"])
def test_the_keeper_while_it_records_an_exit(which: str, away: bool) -> None:
    """Either the true end is told, or that it is unknown; and nothing is left running."""

    def one(point: Point) -> bool:
        with private_gears() as gears:
            killed = end_with_keeper_killed(gears, which, away, point)
            wait_until(lambda: settled(gears, "ends") == "failed", "the report")
            service = gears.status("ends")
            end = service["exit"]
            try:
                assert end.get("code") == 5 or (killed and end.get("unknown"))
                no_torn_record(gears)
            except BaseException:
                print(f"at {point}: killed={killed} {service}\n{gears.explain()}")
                raise
            return killed

    assert each_point(KEEPER_CALLS, one) >= 5


def end_with_keeper_killed(gears: Gears, which: str, away: bool, point: Point) -> bool:
    """Let the service end; its keeper is killed before the point-th call of a record's write."""
    script = gears.home / "ends.sh"
    script.write_text(LINGERS.format(home=gears.home))
    for fifo in ("fifo", "end"):
        os.mkfifo(gears.home / fifo)
    gears.run("run", "ends", "--", "sh", str(script))
    wait_until(lambda: "up" in gears.run("logs", "ends").stdout, "the service")
    keeper = parent(gears.status("ends")["pid"])
    tree = [gears.status("ends")["pid"]]
    tree += [int(p) for p in Path(f"/proc/{tree[0]}/task/{tree[0]}/children").read_text().split()]
    if away:
        gears.kill_daemon()
    if which == "last":
        tell(gears.home / "end", "go\n")
        wait_until(lambda: list(gears.home.glob("state/*/exit/ends.rec")), "the first record")
        wait_until(lambda: len(list(Path(f"/proc/{keeper}/task").iterdir())) == 2, "its thread")
    with Tracer(keeper, *point.killing(), follow=True) as tracer:
        tell(gears.home / ("fifo" if which == "last" else "end"), "go\n")
        if which == "first":
            # Not before its record: the tree goes on until it is told.
            wait_until(
                lambda: not alive(keeper) or list(gears.home.glob("state/*/exit/ends.rec")),
                "the record or the end of the keeper",
            )
            release(gears)
        wait_until(lambda: not alive(keeper), "the end of the keeper")
        wait_until(lambda: "+++" in tracer.calls(), "its report")
        killed = "+++ killed by SIGKILL" in tracer.calls()
    gears.run("status")
    wait_until(lambda: not any(alive(pid) for pid in tree), "the end of the tree")
    return killed


def release(gears: Gears) -> None:
    """Let the lingering child end if it still waits; nobody reads when it was killed."""
    pipe = os.open(gears.home / "fifo", os.O_RDWR | os.O_NONBLOCK)
    os.write(pipe, b"go\n")
