"""Starts the installed Chromium or Chrome so that it draws WebGL 2 without a display or a GPU.

`docs/screenshot.py` and `benchmarks/viewer.py` use `ARGUMENTS` and `find_chromium` as well.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Playwright, sync_playwright

NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
ARGUMENTS: Final = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
_TEST_ARGUMENTS: Final = [
    "--headless",
    "--remote-debugging-port=0",
    "--disable-dev-shm-usage",  # /dev/shm is small in containers
    "--disable-background-timer-throttling",  # several pages are open, and each has to run as if in front
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--hide-scrollbars",
    "--mute-audio",
    "--use-fake-device-for-media-stream",
]
_STOP_LIMIT_S: Final = 10.0


def find_chromium() -> str | None:
    """The path of the browser, or None if none is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """One browser process for a whole test session.

    Playwright's synchronous API keeps an event loop running in this thread, and no asynchronous test can run beside it.
    So the connection to the browser is made when a test needs it (`connect`), and `disconnect` ends it before a test
    that does not. The browser itself stays.

    Args:
        microphone: a WAV file that the browser plays as its microphone, over and over.

    Raises:
        RuntimeError: no browser is installed, or it does not start.
    """

    def __init__(self, microphone: Path) -> None:
        executable = find_chromium()
        if executable is None:
            raise RuntimeError("no Chromium or Chrome is installed: run `make browser` (Debian)")
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._playwright: Playwright | None = None
        self._browser: Browser | None = None
        command = [executable, *ARGUMENTS, *_TEST_ARGUMENTS, f"--user-data-dir={self._profile.name}"]
        command += [f"--use-file-for-fake-audio-capture={microphone}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        text = ""
        for line in self._process.stderr:
            text += line
            if found := re.search(r"DevTools listening on (ws://\S+)", line):
                self._endpoint = found[1]
                break
        else:
            raise RuntimeError(f"{executable} does not start: {text}")
        self._reader = threading.Thread(target=self._process.stderr.read, daemon=True)
        self._reader.start()

    def connect(self) -> Browser:
        if self._browser is None:
            self._playwright = sync_playwright().start()
            self._browser = self._playwright.chromium.connect_over_cdp(self._endpoint)
        return self._browser

    def disconnect(self) -> None:
        if self._playwright is not None:
            self._playwright.stop()
        self._playwright = self._browser = None

    def stop(self) -> None:
        self.disconnect()
        self._process.terminate()
        self._process.wait(_STOP_LIMIT_S)
        self._reader.join(_STOP_LIMIT_S)
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._profile.cleanup()
