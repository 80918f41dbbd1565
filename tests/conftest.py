"""For all tests: time limits that a busy machine cannot break, and one browser for every test that looks at a page."""

from __future__ import annotations

import sys
import wave
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from chromium import Chromium
    from playwright.sync_api import Browser

TESTS = Path(__file__).parent
sys.path.insert(0, str(TESTS / "viewer"))

settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("suite")

MICROPHONE_HZ = 660
_CHROMIUM = pytest.StashKey["Chromium"]()


_running: pytest.Item | None = None
"""The test that runs now."""


def pytest_configure(config: pytest.Config) -> None:
    for marker in (
        "processes: starts processes or a browser; `make test-fast` leaves it out",
        "xdist_group(name): tests that pytest-xdist runs one after the other in the same process",
    ):
        config.addinivalue_line("markers", marker)
    sys.addaudithook(lambda event, _: _refuse_unmarked_process() if event == "subprocess.Popen" else None)
    start = BaseProcess.start

    def checked_start(process: BaseProcess) -> None:
        _refuse_unmarked_process()
        start(process)

    BaseProcess.start = checked_start  # type: ignore[method-assign]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts processes, and group it: those tests run one after the other, and first, beside all others."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if _needs_browser(item) or folder == "e2e":
            item.add_marker(pytest.mark.processes)
        if item.get_closest_marker("processes"):
            item.add_marker(pytest.mark.xdist_group("processes"))
        elif folder == "physics":
            item.add_marker(pytest.mark.xdist_group("physics"))  # compiles once for all
    items.sort(key=lambda item: item.get_closest_marker("processes") is None)


def _refuse_unmarked_process() -> None:
    """Fail a test that starts a process but is not marked. Otherwise `make test-fast` could become slow unnoticed."""
    if _running is not None and not _running.get_closest_marker("processes"):
        raise RuntimeError(f"{_running.nodeid} starts a process: mark it with pytest.mark.processes")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    global _running
    _running = item
    try:
        return (yield)
    finally:
        _running = None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    chromium = item.config.stash.get(_CHROMIUM, None)
    if chromium is not None and not _needs_browser(item):
        chromium.disconnect()


def _needs_browser(item: pytest.Item) -> bool:
    return "browser" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session")
def chromium(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """The browser process. Its microphone plays a tone of `MICROPHONE_HZ`."""
    from chromium import Chromium

    path = tmp_path_factory.mktemp("chromium") / "microphone.wav"
    tone = 0.5 * np.sin(2 * np.pi * MICROPHONE_HZ * np.arange(48_000) / 48_000)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes((32767 * tone).astype("<i2").tobytes())
    try:
        running = Chromium(path)
    except RuntimeError as error:
        pytest.fail(str(error))
    pytestconfig.stash[_CHROMIUM] = running
    yield running
    del pytestconfig.stash[_CHROMIUM]
    running.stop()


@pytest.fixture
def browser(chromium: Chromium) -> Browser:
    """The connection to the browser. A test opens its pages in contexts of its own, and closes them."""
    return chromium.connect()
