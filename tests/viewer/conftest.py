"""One browser and one server for all tests of the page."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parent))
from chromium import ARGUMENTS, find_chromium
from running_server import LIMIT_S, Server


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
        """Until it is true. (Playwright's own waiting evaluates text in the page, which its policy forbids.)"""
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
    server = Server("serve", "--workers", "1", "--config", str(config))
    yield server
    server.stop()


@pytest.fixture
def serving() -> Iterator[Callable[..., Server]]:
    """serving("replay", …): a server of one test."""
    started: list[Server] = []

    def start(*arguments: str) -> Server:
        started.append(Server(*arguments))
        return started[-1]

    yield start
    for server in started:
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


@pytest.fixture(scope="session")
def modules(browser: Browser, live: Server) -> Iterator[Tab]:
    """A page of the server's origin that runs nothing, to import the viewer's modules in."""
    page = browser.new_page()
    page.goto(f"{live.url}healthz")
    yield Tab(page)
    page.close()


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
