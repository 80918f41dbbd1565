"""What the shell completes, and that no command is imported for it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from vfctl.cli.completion import complete, completions


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("lo", {"loadtest"}),
        ("loadtest --scenario smo", {"smoke"}),
        ("loadtest --encoding ", {"raw", "lz4", "compact"}),
        ("loadtest --encoding=l", {"lz4"}),
        ("loadtest --clients 5 --enc", {"--encoding"}),
        ("serve --generator g", {"grid"}),
        ("serve --device ", {"auto", "cpu", "gpu"}),
        ("serve --set spring", {"spring_k="}),
        ("capture ", {"info", "check", "repair", "cut", "merge", "convert"}),
        ("capture convert a.mcap b.mcap --encoding ", {"raw", "lz4"}),
        ("scenario show dem", {"demo"}),
        ("schema a", {"ab"}),
        ("decode a.mcap --type Pos", {"PositionUpdate"}),
        ("decode ", set()),  # files, which the shell knows
        ("loadtest --gate roles.dr", {"roles.dragger.latency_ms.p95"}),
        ("--ver", {"--version"}),
    ],
)
def test_completions(line: str, expected: set[str]) -> None:
    *words, typed = line.split(" ")
    assert set(completions(words, typed)) == expected


def test_options_come_with_help() -> None:
    found = completions(["record"], "--max")
    assert found == {"--max-size": "Stop when all files together reach this size"}


@pytest.mark.parametrize(
    ("instruction", "environment", "printed"),
    [
        ("complete_bash", {"COMP_WORDS": "vfctl scen", "COMP_CWORD": "1"}, "scenario\n"),
        ("complete_bash", {"COMP_WORDS": "vfctl watch 'ws://a", "COMP_CWORD": "2"}, "\n"),
        ("complete_zsh", {"_TYPER_COMPLETE_ARGS": "vfctl schema no"}, "_arguments '*: :((\"noise\"))'\n"),
        ("complete_zsh", {"_TYPER_COMPLETE_ARGS": "vfctl decode "}, "_files\n"),
        (
            "complete_fish",
            {"_TYPER_COMPLETE_ARGS": "vfctl scenario l", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
            "list\tList the shipped scenarios.\n",
        ),
    ],
)
def test_what_shells_get(
    instruction: str,
    environment: dict[str, str],
    printed: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert complete(instruction) == 0
    assert capsys.readouterr().out == printed


@pytest.mark.processes
def test_completion_imports_no_library() -> None:
    """So that it answers within 0.2 s."""
    environment = {**os.environ, "_VFCTL_COMPLETE": "complete_bash", "COMP_CWORD": "3"}
    environment["COMP_WORDS"] = "vfctl loadtest --encoding l"
    script = """
import sys
from vfctl.cli import main
try:
    main()
finally:
    print(*{"typer", "rich", "numpy", "pydantic", "jax", "aiohttp"} & set(sys.modules), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("lz4\n", "\n")
