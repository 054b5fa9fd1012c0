"""What a scientist does in JupyterLab with the mouse."""

from __future__ import annotations

import json

from chromium import Browser, Page
from conftest import Gears


class LabUser:
    """One user, one browser, one lab behind `gearsctl forward`."""

    def __init__(self, gears: Gears, browser: Browser) -> None:
        self.gears = gears
        self.browser = browser

    def write_notebook(self, name: str, *sources: str) -> None:
        """Code cells, and text where a source begins with #␣."""
        cells = []
        for number, source in enumerate(sources):
            cell = {"id": f"cell-{number}", "metadata": {}, "source": source}
            if source.startswith("# "):
                cells.append({**cell, "cell_type": "markdown"})
            else:
                cells.append({**cell, "cell_type": "code", "execution_count": None, "outputs": []})
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = {"cells": cells, "metadata": {"kernelspec": kernel}}
        (self.gears.workspace / name).write_text(
            json.dumps({**notebook, "nbformat": 4, "nbformat_minor": 5})
        )

    def open_page(self) -> Page:
        page = self.browser.new_page()
        page.open(self.gears.url())
        page.wait("document.querySelector('.jp-DirListing-item')", "the list of files")
        return page

    def open_notebook(self, page: Page, name: str) -> None:
        page.click(f".jp-DirListing-item[title*='Name: {name}']", 2)
        self.await_kernel(page)

    def await_kernel(self, page: Page) -> None:
        page.wait(
            "document.querySelector('.jp-Notebook .jp-CodeCell') && "
            "document.body.innerText.includes('| Idle')",
            "an idle kernel",
        )

    def run_all(self, page: Page) -> None:
        page.click("#jp-MainMenu .lm-MenuBar-item:nth-child(4)")
        page.click(".lm-Menu-item[data-command='runmenu:run-all']")

    def output(self, page: Page) -> str:
        """What the cells of the open notebook show below their code."""
        return page.evaluate(
            "[...document.querySelectorAll('.jp-OutputArea-output')]"
            ".map(e => e.innerText).join('\\n')"
        )
