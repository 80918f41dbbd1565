"""Pages of a running server, in the one browser of all tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route
from running_server import LIMIT_S, Relay, Server

HOLDS = """async ([argument, limit_ms]) => {
    const until_ms = performance.now() + limit_ms;
    for (;;) {
        const value = (%s);
        if (typeof value === 'function' ? value(argument) : value) return true;
        if (performance.now() > until_ms) return false;
        await new Promise((resolve) => setTimeout(resolve, 15));
    }
}"""


class Tab:
    """An open page, and what its console printed: a healthy page prints nothing."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.console: list[str] = []
        page.on("console", lambda message: self.console.append(message.text))
        page.on("pageerror", lambda error: self.console.append(str(error)))

    def open(self, url: str) -> Tab:
        self.page.goto(url)
        self.until("!!window.vfctl")
        return self

    def ask(self, expression: str, argument: Any = None) -> Any:
        return self.page.evaluate(expression, argument)

    def until(self, expression: str, argument: Any = None, limit_s: float = LIMIT_S) -> None:
        """Wait until `expression` is true; a function is called with `argument`.

        Playwright's own `wait_for_function` compiles text in the page, which the Content-Security-Policy forbids.
        """
        holds = self.ask(HOLDS % expression, [argument, 1000 * limit_s])
        assert holds, f"{expression} is not true after {limit_s:g} s; console: {self.console}"

    def drawn(self) -> Tab:
        self.until("vfctl.drawn.nodes > 0 && vfctl.state === 'Connected'")
        return self


OpenTab = Callable[..., Tab]


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of 120 nodes that never settle."""
    config = tmp_path_factory.mktemp("viewer") / "active.toml"
    config.write_text('[server]\nstate = "active"\nnodes = 120\ngenerator = "tree"\n')
    server = Server("serve", "--workers", "1", "--config", str(config))
    yield server
    server.stop()


@pytest.fixture
def relay(live: Server) -> Iterator[Relay]:
    """A way to the server that can be cut."""
    running = Relay(live.url)
    yield running
    running.cut()


@pytest.fixture
def serving() -> Iterator[Callable[..., Server]]:
    """serving("replay", …): a server of one test."""
    with ExitStack() as running:

        def start(*arguments: str) -> Server:
            server = Server(*arguments)
            running.callback(server.stop)
            return server

        yield start


@pytest.fixture
def modules(browser: Browser, live: Server) -> Iterator[Tab]:
    """A page of the server's origin that runs no script, to import the viewer's modules into."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{live.url}healthz")
        yield Tab(page)


@pytest.fixture
def tab(browser: Browser, live: Server, serving: Callable[..., Server], relay: Relay) -> Iterator[OpenTab]:
    """tab(path="", url=…, width=…, …): the server's page in a context of its own. Its console has to stay empty.

    `script` runs before the page's own. `answers` are JSON documents that the page gets instead of the server's.
    Everything else goes to `Browser.new_context`. Pages close before the servers of `serving` and the `relay` stop.
    """
    tabs: list[Tab] = []
    with ExitStack() as contexts:

        def open_tab(
            path: str = "",
            url: str | None = None,
            *,
            width: int = 900,
            height: int = 560,
            script: str = "",
            answers: dict[str, Any] | None = None,
            **options: Any,
        ) -> Tab:
            context = browser.new_context(viewport={"width": width, "height": height}, **options)
            page = contexts.enter_context(context).new_page()
            if script:
                page.add_init_script(script)
            for name, answer in (answers or {}).items():
                page.route(f"**/{name}", partial(_fulfill, answer))
            tabs.append(Tab(page))
            return tabs[-1].open((live.url if url is None else url) + path)

        yield open_tab
    assert [line for each in tabs for line in each.console] == []


def _fulfill(answer: Any, route: Route) -> None:
    route.fulfill(json=answer)
