"""A lab under the real gearsd: its kernels outlive the daemon, and its own death is told."""

from __future__ import annotations

import os
import signal

from conftest import Gears
from processes import wait_until


def test_a_kernel_outlives_the_daemon(gears: Gears) -> None:
    gears.run("start", "lab")
    _, kernel = gears.client().start_notebook("work.ipynb")
    assert gears.client().run(kernel, "hours = 41 + 1; print(hours)") == "42\n"
    before, server = gears.daemon_pid(), gears.status()["pid"]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: before not in gears.processes(), "the end of gearsd")
    assert gears.status()["pid"] == server
    assert gears.daemon_pid() != before
    assert gears.client().run(kernel, "print(hours)") == "42\n"


def test_the_exit_record_names_the_lost_kernels(gears: Gears) -> None:
    gears.run("start", "lab")
    gears.client().start_notebook("analysis.ipynb")
    server = gears.status()["pid"]
    os.kill(server, signal.SIGKILL)

    def recorded() -> bool:
        records = gears.home.glob("state/*/exit/lab.rec")
        return any("analysis.ipynb (python3)" in record.read_text() for record in records)

    wait_until(recorded, "an exit record with the lost kernel")

    def again() -> bool:
        service = gears.status()
        return service["state"] == "ready" and service["pid"] not in (None, server)

    wait_until(again, "the restart of the lab")
