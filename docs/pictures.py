"""Make the pictures of the documentation: `make pictures`, or `python docs/pictures.py NAME …` for some of them.

Chromium draws all of them, also the terminal: its output becomes HTML, so the picture needs no terminal emulator.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import select
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "viewer"))
from chromium import ARGUMENTS, find_chromium  # noqa: E402
from running_server import Server  # noqa: E402

VFCTL = [sys.executable, "-m", "vfctl"]
SELECTED = "Instrument"
SETTLED = "!!window.vfctl && vfctl.settled && vfctl.drawn.nodes > 0 && vfctl.statistics.p95_ms !== null"
TERMINAL_PAGE = """<style>body {{ margin: 0; background: #0c0c0c }}
pre {{ margin: 0; padding: 14px 18px; font: 15px/1.25 "DejaVu Sans Mono", monospace; display: inline-block }}
{stylesheet}</style><pre style="color: {foreground}; background: {background}">{code}</pre>"""


def save(png: bytes, path: Path) -> None:
    """Write a PNG with a palette of 256 colours, which keeps it below 150 kB."""
    path.parent.mkdir(exist_ok=True)
    with Image.open(io.BytesIO(png)) as image:
        few_colours = image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few_colours.save(path, optimize=True)
    sys.stdout.write(f"{path}: {path.stat().st_size / 1000:.0f} kB\n")


def picture_of_terminal(browser: Browser, output: str, width: int) -> bytes:
    """A picture of a terminal that shows `output`, which may have ANSI colours."""
    console = Console(width=width, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(output), overflow="crop", no_wrap=True, crop=True)
    html = console.export_html(theme=DIMMED_MONOKAI, code_format=TERMINAL_PAGE)
    page = browser.new_page(viewport={"width": 1600, "height": 1200})
    page.set_content(html)
    return page.locator("pre").screenshot()


def run_in_terminal(
    arguments: list[str], size: tuple[int, int], *, stop_after_s: float | None = None, folder: str = "."
) -> str:
    """The output of `vfctl` on a terminal of (columns, rows); Ctrl-C ends it after a while, if that is given."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    process = subprocess.Popen(
        [*VFCTL, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        cwd=folder,
        start_new_session=True,
    )
    os.close(theirs)
    output = b""
    stop_s = None if stop_after_s is None else time.monotonic() + stop_after_s
    while True:
        if stop_s is not None and time.monotonic() > stop_s:
            process.send_signal(signal.SIGINT)
            stop_s = None
        if not select.select([ours], [], [], 0.2)[0]:
            continue
        try:
            output += os.read(ours, 65536)
        except OSError:  # the command has ended
            break
    process.wait()
    return output.decode(errors="replace").replace("\r\n", "\n")


def make_viewer(browser: Browser, server: Server) -> None:
    """docs/viewer.png: the bundled graph, settled, with one node selected."""
    page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="dark")
    page.goto(server.url)
    while not page.evaluate(SETTLED):
        time.sleep(0.2)
    time.sleep(12)  # the plots need data
    search = page.get_by_label("Search labels")
    search.fill(SELECTED)
    time.sleep(1)
    search.press("Enter")
    search.fill("")
    time.sleep(3)
    save(page.screenshot(), HERE / "viewer.png")


def make_report(browser: Browser, server: Server) -> None:
    """docs/images/report.png and loadtest.png: the HTML report of a load test, and what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.html"
        url = server.url.replace("http", "ws") + "ws"
        gates = ["--gate", "clients.lost == 0", "--gate", "latency_ms.p95 < 250ms"]
        test = ["loadtest", url, "--clients", "200", "--duration", "10", "--html", report.name, *gates]
        output = run_in_terminal(test, (100, 40), folder=folder)
        page = browser.new_page(viewport={"width": 1100, "height": 900}, color_scheme="light")
        page.goto(report.as_uri())
        save(page.screenshot(), HERE / "images" / "report.png")
    command = f"$ vfctl loadtest {url} --clients 200 --duration 10 \\\n    " + shlex.join(gates).replace(
        "'--gate'", "--gate"
    )
    tables = output.rpartition("\x1b[2K")[2]  # what remains after the live display has been erased
    save(picture_of_terminal(browser, f"{command}\n{tables}", 100), HERE / "images" / "loadtest.png")


def make_watch(browser: Browser, server: Server) -> None:
    """docs/images/watch.png: `vfctl watch` on a terminal."""
    size = (110, 34)
    output = run_in_terminal(["watch", server.url.replace("http", "ws") + "ws"], size, stop_after_s=25)
    screen = output.split("\x1b[?1049l")[0].split("\x1b[H")[-1]
    save(picture_of_terminal(browser, screen, size[0]), HERE / "images" / "watch.png")


PICTURES: dict[str, tuple[Callable[[Browser, Server], None], list[str]]] = {
    "viewer": (make_viewer, []),
    "report": (make_report, ["--config", "demo"]),
    "watch": (make_watch, ["--config", "demo"]),
}


def main() -> None:
    """Make the pictures that the command line names, or all."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
        for name in sys.argv[1:] or PICTURES:
            make, options = PICTURES[name]
            server = Server("serve", "--workers", "1", *options)
            try:
                make(browser, server)
            finally:
                server.stop()
        browser.close()


if __name__ == "__main__":
    main()
