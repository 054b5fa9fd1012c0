"""A headless Chromium, driven over a pipe by the DevTools protocol.

The pipe needs no port, so browsers of tests side by side cannot meet, and nobody else on the
host can drive one.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

OPTIONS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",  # refused to root otherwise; what is visited is our own
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--lang=en-US",
)


class Page:
    """One tab."""

    def __init__(self, browser: Browser, target: str, session: str) -> None:
        self.browser = browser
        self.target = target
        self.session = session
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride",
            **{"width": 1200, "height": 860, "deviceScaleFactor": 1, "mobile": False},
        )

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self.browser.call(method, self.session, **parameters)

    def open(self, url: str) -> None:
        answer = self.call("Page.navigate", url=url)
        assert not answer.get("errorText"), answer["errorText"]

    def evaluate(self, expression: str) -> Any:
        """The JSON value of an expression (true for an element); None between two documents."""
        value = f"(value => value instanceof Node ? true : value)({expression})"
        try:
            answer = self.call("Runtime.evaluate", expression=value, returnByValue=True)
        except ProtocolError:
            return None
        assert "exceptionDetails" not in answer, f"{expression}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def wait(self, expression: str, what: str, timeout: float = 60) -> Any:
        """Wait until the expression is true in the page; its value."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            value = self.evaluate(expression)
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError(
            f"{what}: not within {timeout} s; the page says:\n{self.text()}\n"
            + "\n".join(self.browser.console[-20:])
        )

    def text(self) -> str:
        return self.evaluate("document.body ? document.body.innerText : ''") or ""

    def click(self, selector: str, count: int = 1) -> None:
        """A real mouse click in the middle of what is there and visible, once it is."""
        place = self.wait(
            f"""(() => {{
                const box = document.querySelector({json.dumps(selector)})
                    ?.getBoundingClientRect();
                return box && box.width && box.height
                    ? [box.x + box.width / 2, box.y + box.height / 2] : null;
            }})()""",
            f"{selector} to click on",
        )
        mouse = {"x": place[0], "y": place[1], "button": "left"}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
        for number in range(1, count + 1):
            for kind in ("mousePressed", "mouseReleased"):
                self.call("Input.dispatchMouseEvent", type=kind, clickCount=number, **mouse)

    def screenshot(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        data = self.call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self) -> None:
        self.browser.call("Target.closeTarget", targetId=self.target)
        self.browser.pages.remove(self)


class ProtocolError(Exception):
    """The browser refused a command."""


class Browser:
    """One Chromium with a profile of its own; `prefix` leads onto another host."""

    def __init__(self, prefix: Sequence[str] = ()) -> None:
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        assert program, "chromium is missing; contrib/test.sh installs it"
        self.home = Path(tempfile.mkdtemp(prefix="gb", dir="/tmp"))
        self.console: list[str] = []
        self.pages: list[Page] = []
        self.numbers = 0
        self.pending = b""
        self.answers: dict[int, dict[str, Any]] = {}
        theirs, self.orders = os.pipe()
        orders_read = fcntl.fcntl(theirs, fcntl.F_DUPFD, 10)
        os.close(theirs)
        self.reports, theirs = os.pipe()
        reports_write = fcntl.fcntl(theirs, fcntl.F_DUPFD, 10)
        os.close(theirs)

        def give_pipes() -> None:  # Chromium reads its orders from descriptor 3, writes to 4
            os.dup2(orders_read, 3)
            os.dup2(reports_write, 4)

        self.log = (self.home / "log").open("wb")
        self.process = subprocess.Popen(
            [*prefix, program, *OPTIONS, f"--user-data-dir={self.home / 'profile'}", "about:blank"],
            pass_fds=(3, 4),
            preexec_fn=give_pipes,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
            env={**os.environ, "HOME": str(self.home)},
        )
        os.close(orders_read)
        os.close(reports_write)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        number = self.send(method, session, parameters)
        end = time.monotonic() + 60
        while number not in self.answers:
            self.receive(end - time.monotonic(), method)
        answer = self.answers.pop(number)
        if "error" in answer:
            raise ProtocolError(f"{method}: {answer['error']}")
        return answer["result"]

    def send(self, method: str, session: str | None, parameters: dict[str, Any]) -> int:
        self.numbers += 1
        order: dict[str, Any] = {"id": self.numbers, "method": method, "params": parameters}
        if session:
            order["sessionId"] = session
        os.write(self.orders, json.dumps(order).encode() + b"\0")
        return self.numbers

    def receive(self, timeout: float, method: str) -> None:
        ready, _, _ = select.select([self.reports], [], [], max(0, timeout))
        data = os.read(self.reports, 1 << 20) if ready else b""
        if not data:
            log = (self.home / "log").read_text("utf-8", "replace")
            raise AssertionError(f"chromium did not answer {method}; it wrote:\n{log[-1500:]}")
        *messages, self.pending = (self.pending + data).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self.answers[message["id"]] = message
            elif message["method"] == "Runtime.consoleAPICalled":
                words = [str(arg.get("value", "")) for arg in message["params"]["args"]]
                self.console.append(" ".join(words)[:400])
            elif message["method"] == "Log.entryAdded":
                self.console.append(message["params"]["entry"]["text"][:400])
            elif message["method"] == "Page.javascriptDialogOpening":  # "Leave site?": yes
                accept = {"accept": True}
                self.send("Page.handleJavaScriptDialog", message["sessionId"], accept)

    def new_page(self) -> Page:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.pages.append(Page(self, target, session))
        return self.pages[-1]

    def close(self) -> None:
        with contextlib.suppress(OSError, AssertionError, ProtocolError):
            self.call("Browser.close")
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self.orders)
        os.close(self.reports)
        self.log.close()
        shutil.rmtree(self.home, ignore_errors=True)
