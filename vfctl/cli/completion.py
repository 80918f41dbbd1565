"""What the shell completes. Reads `commands.json` alone, so that the shell waits for no import of a command.

`make docs` writes `commands.json` from the commands themselves; a test compares the two.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from functools import cache
from pathlib import Path
from typing import Any

LISTING = Path(__file__).with_name("commands.json")


@cache
def described_commands() -> dict[str, Any]:
    """Each command by name: `help`; `options` with `help`, `values` and `flag`; `arguments` with `values`; `commands`
    if it is a group."""
    commands: dict[str, Any] = json.loads(LISTING.read_bytes())
    return commands


def described_root() -> dict[str, Any]:
    """`vfctl` itself, in the same form."""
    return {
        "commands": described_commands(),
        "options": {
            "--version": {"help": "Print the version", "flag": True, "values": []},
            "--log-level": {"help": "Print log lines", "flag": False, "values": ["debug", "info", "warning", "error"]},
            "--help": {"help": "Print help", "flag": True, "values": []},
        },
    }


def complete(instruction: str) -> int:
    """Answer a shell that asks what may follow; returns the exit code.

    Args:
        instruction: what the script of `vfctl --show-completion` puts in `_VFCTL_COMPLETE`, such as `complete_bash`.
    """
    shell = instruction.removeprefix("complete_")
    if shell == "bash":
        words = _split(os.environ.get("COMP_WORDS", ""))
        at = int(os.environ.get("COMP_CWORD", len(words)))
        words, typed = words[1:at], words[at] if at < len(words) else ""
    else:
        line = os.environ.get("_TYPER_COMPLETE_ARGS", "")
        words, typed = _split(line)[1:], ""
        if words and not line.endswith(" "):
            typed = words.pop()
    found = completions(words, typed)
    if os.environ.get("_TYPER_COMPLETE_FISH_ACTION") == "is-args":
        return 0 if found else 1  # 1 makes fish complete file names
    print_found = {"zsh": _for_zsh, "bash": "\n".join}.get(shell, _with_help)
    sys.stdout.write(print_found(found) + "\n")
    return 0


def completions(words: list[str], typed: str) -> dict[str, str]:
    """What may stand in place of a word that has been typed in part, each with its help.

    Args:
        words: those before it, without `vfctl`.
        typed: the part.
    """
    command = described_root()
    options = command["options"]
    arguments: list[dict[str, Any]] = []
    previous: dict[str, Any] = {}
    for word in words:
        takes_value, previous = bool(previous) and not previous["flag"], {}
        if takes_value:
            continue
        if word.startswith("-"):
            previous = options.get(word, {})
        elif word in command.get("commands", ()):
            command = command["commands"][word]
            options, arguments = command["options"], list(command.get("arguments", ()))
        elif arguments:
            arguments.pop(0)
    if previous and not previous["flag"]:
        found = dict.fromkeys(previous["values"], "")
    elif typed.startswith("-"):
        name, equals, typed_value = typed.partition("=")
        if equals and name in options:
            return _starting(dict.fromkeys(options[name]["values"], ""), typed_value)
        found = {name: option["help"] for name, option in options.items()} | {"--help": "Print help and exit."}
    elif "commands" in command:
        found = {name: each["help"] for name, each in command["commands"].items()}
    else:
        found = dict.fromkeys(arguments[0]["values"], "") if arguments else {}
    return _starting(found, typed)


def _starting(found: dict[str, str], typed: str) -> dict[str, str]:
    return {value: help for value, help in found.items() if value.startswith(typed)}


def _split(line: str) -> list[str]:
    """The words of a command line whose last quote may still be open."""
    words = shlex.shlex(line, posix=True)
    words.whitespace_split, words.commenters = True, ""
    found: list[str] = []
    try:
        found.extend(words)
    except ValueError:
        found.append(words.token)
    return found


def _for_zsh(found: dict[str, str]) -> str:
    def quoted(text: str) -> str:
        for old, new in (('"', '""'), ("'", "''"), ("$", "\\$"), ("`", "\\`"), (":", r"\\:")):
            text = text.replace(old, new)
        return f'"{text}"'

    entries = [quoted(value) + (f":{quoted(help)}" if help else "") for value, help in found.items()]
    return "_arguments '*: :(({}))'".format("\n".join(entries)) if entries else "_files"


def _with_help(found: dict[str, str]) -> str:
    between = "\t" if "_TYPER_COMPLETE_FISH_ACTION" in os.environ else ":::"
    return "\n".join(f"{value}{between}{help}" if help else value for value, help in found.items())
