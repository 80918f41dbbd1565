"""Writes docs/cli.md and vfctl/cli/commands.json from the commands themselves (`make docs`)."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import typer
import typer.main
from typer.core import TyperArgument, TyperGroup, TyperOption

from vfctl.cli.app import app
from vfctl.cli.completion import LISTING

MARKDOWN = Path(__file__).with_name("cli.md")


def main() -> None:
    """Write both."""
    root: Any = typer.main.get_command(app)
    LISTING.write_text(listing(root), encoding="utf-8")
    MARKDOWN.write_text(markdown(root), encoding="utf-8")


def listing(root: Any) -> str:
    """The text of commands.json."""
    return json.dumps(_described(root, typer.Context(root))["commands"], indent=1, ensure_ascii=False) + "\n"


def markdown(root: Any) -> str:
    """The text of cli.md: the help of every command, in 100 columns."""
    os.environ["COLUMNS"] = "100"
    parts = ["# Command line reference\n\nThe output of `--help` of every command. `make docs` writes this page.\n"]
    contexts = _contexts(root, typer.Context(root, info_name="vfctl", help_option_names=["-h", "--help"]))
    parts += [f"## `{each.command_path}`\n\n```text\n{_plain(each.command.get_help(each))}\n```\n" for each in contexts]
    return "\n".join(parts)


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[\d*m", "", text)


def _contexts(command: Any, context: typer.Context) -> list[typer.Context]:
    found = [context]
    if isinstance(command, TyperGroup):
        for name in command.list_commands(context):
            child: Any = command.get_command(context, name)
            found += _contexts(child, typer.Context(child, info_name=name, parent=context))
    return found


def _described(command: Any, context: typer.Context) -> dict[str, Any]:
    described: dict[str, Any] = {
        "help": " ".join((command.help or "").split("\n\n")[0].split()),
        "options": {
            name: {"help": _first_sentence(each.help), "flag": each.is_flag, "values": _values(each, context)}
            for each in command.params
            if isinstance(each, TyperOption) and "completion" not in each.name
            for name in each.opts
        },
    }
    if isinstance(command, TyperGroup):
        children = {name: command.get_command(context, name) for name in command.list_commands(context)}
        described["commands"] = {
            name: _described(child, typer.Context(child, info_name=name, parent=context))
            for name, child in children.items()
        }
    else:
        arguments = [each for each in command.params if isinstance(each, TyperArgument)]
        described["arguments"] = [{"name": each.name, "values": _values(each, context)} for each in arguments]
    return described


def _first_sentence(text: str | None) -> str:
    return " ".join((text or "").split()).split(". ")[0].rstrip(".")


def _values(parameter: Any, context: typer.Context) -> list[str]:
    return [item.value for item in parameter.shell_complete(context, "") if item.type == "plain"]


if __name__ == "__main__":
    main()
