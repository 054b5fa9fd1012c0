"""JupyterLab as a scientist sees it: a real browser in front of `gearsctl forward`."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
from pathlib import Path

from conftest import Gears
from lab_user import LabUser
from processes import wait_until

LORENZ = """\
def lorenz(steps=9000, dt=0.006):
    x, y, z = 1.0, 1.0, 20.0
    for _ in range(steps):
        dx, dy, dz = 10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z
        x, y, z = x + dt * dx, y + dt * dy, z + dt * dz
        yield x, z

points = list(lorenz())
print(len(points), "points, the highest at", round(max(z for _, z in points), 3))"""
DRAWING = """\
from IPython.display import SVG

line = " ".join(f"{120 + 5 * x:.1f},{130 - 2.6 * z:.1f}" for x, z in points)
SVG(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 240 135" width="540">'
    f'<polyline points="{line}" fill="none" stroke="#1976d2" stroke-width=".25"/></svg>')"""


def test_a_notebook_and_the_page_of_a_stopped_lab(lab: LabUser, artifacts: Path) -> None:
    gears = lab.gears
    text = "# The Lorenz attractor\nThis kernel goes on when the laptop is closed."
    lab.write_notebook("lorenz.ipynb", text, LORENZ, DRAWING)
    page = lab.open_page()
    assert "token=" not in page.evaluate("location.href")
    lab.open_notebook(page, "lorenz.ipynb")
    lab.run_all(page)
    page.wait("document.querySelector('.jp-RenderedSVG img')", "the drawing")
    lab.await_kernel(page)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(LORENZ, {})
    assert printed.getvalue().strip() in lab.output(page)
    page.click("[data-command='docmanager:save']")
    notebook = gears.workspace / "lorenz.ipynb"
    wait_until(lambda: "9000 points" in notebook.read_text(), "the saved notebook")
    page.screenshot(artifacts / "notebook.png")

    # It was a live kernel that drew: another client finds its variables.
    kernel = gears.client().call("GET", "/api/sessions")[0]["kernel"]["id"]
    assert gears.client().run(kernel, "print(len(points))") == "9000\n"

    gears.run("stop", "lab")
    page.call("Page.reload")
    page.wait("document.title.includes('Gears')", "the page of a stopped lab")
    assert page.evaluate("performance.getEntriesByType('navigation')[0].responseStatus") == 503
    page.screenshot(artifacts / "stopped.png")
    said = page.text()
    assert said.startswith("lab is not running")
    assert re.search(r"State\s+stopped\s+Cause\s+it was told to stop\s+Since\s+\d", said), said
    assert "gearsctl start lab" in said and "gearsctl logs lab" in said

    gears.run("start", "lab")
    # Who comes back from the terminal finds it; the cookie of before still opens it.
    page.evaluate("void dispatchEvent(new Event('focus'))")
    lab.await_kernel(page)
    lab.run_all(page)
    kernel = gears.client().call("GET", "/api/sessions")[0]["kernel"]["id"]
    code = "print(len(globals().get('points', [])))"
    wait_until(lambda: gears.client().run(kernel, code) == "9000\n", "the notebook's second run")
    lab.await_kernel(page)
    page.screenshot(artifacts / "again.png")


COUNT = """\
import os, time
number = 0
while not os.path.exists({end!r}):
    if os.path.exists({pause!r}):
        print("paused", end=" ", flush=True)
        while os.path.exists({pause!r}):
            time.sleep(0.01)
    print(number, end=" ", flush=True)
    number += 1
    time.sleep(0.01)
print("counted", number)"""


def kill_relays(gears: Gears) -> None:
    """All connections end as when the network goes; one may still serve what it had before."""
    for pid in gears.processes():
        if Path(f"/proc/{pid}/comm").read_text() == "gears-relay\n":
            os.kill(pid, signal.SIGKILL)


def test_a_running_cell_goes_on_in_its_page(lab: LabUser, artifacts: Path) -> None:
    gears = lab.gears
    pause, end = gears.home / "pause", gears.home / "end"
    lab.write_notebook("count.ipynb", COUNT.format(pause=str(pause), end=str(end)))
    page = lab.open_page()
    lab.open_notebook(page, "count.ipynb")
    lab.run_all(page)
    page.wait("document.querySelector('.jp-OutputArea-output')", "the first output")

    def await_more(what: str) -> None:
        shown = len(lab.output(page))
        wait_until(lambda: len(lab.output(page)) > shown + 200, what)

    gears.run("daemon", "upgrade")
    await_more("output after the upgrade")
    os.kill(gears.daemon_pid(), signal.SIGKILL)
    await_more("output without gearsd")
    gears.status()

    # The laptop sleeps: what is said meanwhile comes when it is back.
    pause.touch()
    wait_until(lambda: lab.output(page).rstrip().endswith("paused"), "the pause")
    kill_relays(gears)
    pause.unlink()
    await_more("output after the relay was killed")
    end.touch()
    wait_until(lambda: "counted" in lab.output(page), "the end of the cell")
    *numbers, _counted, last = lab.output(page).replace("paused ", "").split()
    assert numbers == [str(number) for number in range(int(last))]
    page.screenshot(artifacts / "counted.png")
