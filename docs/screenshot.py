"""Makes docs/viewer.png: the viewer with the bundled graph at rest, one node selected. `make screenshot` runs it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "viewer"))
from chromium import ARGUMENTS, find_chromium  # noqa: E402
from running_server import Server  # noqa: E402

SELECTED = "Instrument"
AT_REST = "!!window.vfctl && vfctl.settled && vfctl.drawn.nodes > 0 && vfctl.statistics.p95_ms !== null"


def main() -> None:
    server = Server("serve", "--workers", "1")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
            page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="dark")
            page.goto(server.url)
            while not page.evaluate(AT_REST):
                time.sleep(0.2)
            time.sleep(12)  # something to plot
            search = page.get_by_label("Search labels")
            search.fill(SELECTED)
            time.sleep(1)
            search.press("Enter")
            search.fill("")
            time.sleep(3)
            page.screenshot(path=HERE / "viewer.png")
            browser.close()
    finally:
        server.stop()


if __name__ == "__main__":
    main()
