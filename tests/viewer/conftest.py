"""One browser and one server for all tests of the page."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parent))
from chromium import ARGUMENTS, find_chromium

LIMIT_S = 20.0


class Server:
    """A `vfctl serve` or `vfctl replay` that can be killed and started again on the same port."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self._port = "0"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "vfctl", *self._arguments, "--workers", "1", "--port", self._port]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        said = ""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            said += line
            if found := re.search(r"serving .* on ws://(\S+?):(\d+)/ws", line):
                self._port = found[2]
                self.url = f"http://{found[1]}:{found[2]}/"
                break
        else:
            raise AssertionError(said)
        threading.Thread(target=self._process.stderr.read, daemon=True).start()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(LIMIT_S)

    def kill(self) -> None:
        self._process.kill()  # its children end with it
        self._process.wait()


class Tab:
    """A page that is open, and what it complains of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, url: str) -> Tab:
        self.page.goto(url)
        self.until("!!window.vfctl")
        return self

    def ask(self, expression: str, argument: Any = None) -> Any:
        return self.page.evaluate(expression, argument)

    def until(self, expression: str, argument: Any = None, limit_s: float = LIMIT_S) -> None:
        """Until it is true. (Playwright's own waiting evaluates text in the page, which its security policy forbids.)"""
        until_s = time.monotonic() + limit_s
        while not self.ask(expression, argument):
            assert time.monotonic() < until_s, f"{expression} is not true; {self.complaints}"
            time.sleep(0.03)

    def drawn(self) -> Tab:
        self.until("vfctl.drawn.nodes > 0 && vfctl.state === 'Connected'")
        return self


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """120 nodes that never rest."""
    config = tmp_path_factory.mktemp("viewer") / "active.toml"
    config.write_text('[server]\nstate = "active"\nnodes = 120\ngenerator = "tree"\n')
    server = Server("serve", "--config", str(config))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = find_chromium()
    if found is None:
        pytest.fail("there is no Chromium or Chrome to look at the page with: `make browser` installs one (Debian)")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield running
        running.close()


OpenTab = Callable[..., Tab]


@pytest.fixture
def tab(browser: Browser, live: Server) -> Iterator[OpenTab]:
    """tab(path="", url=…, width=…, …): the page of the server in a tab of its own; it must not complain."""
    tabs: list[Tab] = []

    def open_tab(
        path: str = "", url: str | None = None, *, width: int = 900, height: int = 560, script: str = "", **options: Any
    ) -> Tab:
        page = browser.new_page(viewport={"width": width, "height": height}, **options)
        if script:
            page.add_init_script(script)
        tabs.append(Tab(page))
        return tabs[-1].open((live.url if url is None else url) + path)

    yield open_tab
    complaints = [complaint for each in tabs for complaint in each.complaints]
    for each in tabs:
        each.page.close()
    assert complaints == []
