"""--log-level and VFCTL_LOG: which lines are printed, in the command itself and in child processes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from vfctl.cli.app import run
from vfctl.logs import LogLevel, set_level, set_up_child


@pytest.fixture(autouse=True)
def logging_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("VFCTL_LOG", raising=False)
    root, ours = logging.getLogger(), logging.getLogger("vfctl")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    os.environ.pop("VFCTL_LOG", None)
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


@pytest.mark.parametrize(
    "command", ["--log-level info scenario list", "scenario list --log-level info", "scenario --log-level=info list"]
)
def test_the_option_may_stand_anywhere_and_reaches_child_processes(
    command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(command.split()) == 0
    assert os.environ["VFCTL_LOG"] == "info"
    logging.getLogger("vfctl.x").info("one")
    set_up_child("gateway 3")
    logging.getLogger("vfctl.x").info("two")
    logging.getLogger("vfctl.x").debug("three")
    logging.getLogger("jax").info("four")
    errors = capfd.readouterr().err.splitlines()
    assert errors == ["vfctl INFO vfctl.x: one", f"vfctl gateway 3[{os.getpid()}] INFO vfctl.x: two"]


def test_the_environment_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VFCTL_LOG", "debug")
    assert run(["scenario", "list"]) == 0
    assert logging.getLogger("vfctl.x").isEnabledFor(logging.DEBUG)


def test_children_print_warnings_if_nothing_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    set_up_child("source")
    logging.getLogger("vfctl.x").info("one")
    logging.getLogger("vfctl.x").warning("two")
    assert capfd.readouterr().err == f"vfctl source[{os.getpid()}]: two\n"


def test_errors_only(capfd: pytest.CaptureFixture[str]) -> None:
    set_level(LogLevel.ERROR)
    logging.getLogger("vfctl.x").warning("one")
    logging.getLogger("vfctl.x").error("two")
    assert capfd.readouterr().err == "vfctl: two\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--log-level", "verbose", "doctor"], "--log-level is 'verbose', expected debug, info, warning or error"),
        (["doctor", "--log-level", "inf"], "did you mean info?"),
        (["doctor", "--log-level"], "--log-level needs a value"),
        (["--log-level", "info", "doctr"], "did you mean vfctl doctor?"),
    ],
)
def test_mistakes(arguments: list[str], expected: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert expected in capfd.readouterr().err
