"""How `--help` looks: options in groups, each with its default, in any width.

Options of one `rich_help_panel` are a group. A paragraph that begins with `Examples:` keeps its lines.
"""

from __future__ import annotations

import inspect
import shutil
from enum import Enum
from typing import Any, Final

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

MAX_WIDTH: Final = 100
NARROW: Final = 60
"""Below this many columns, the help of an option is on the lines below it."""


class Command(TyperCommand):
    """A command with our help."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write usage, text, arguments and groups of options."""
        _write_head(self, ctx, formatter)
        _write_parameters(self, ctx, formatter)


class Group(TyperGroup):
    """A group of commands with our help."""

    def summaries(self, ctx: Any) -> dict[str, str]:
        """The first paragraph of the help of each command."""
        return {name: _paragraphs(self.get_command(ctx, name))[0] for name in self.list_commands(ctx)}

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write usage, text, options and commands."""
        _write_head(self, ctx, formatter)
        _write_parameters(self, ctx, formatter)
        _write_rows(formatter, "Commands", list(self.summaries(ctx).items()))


def default_of(parameter: Any, ctx: Any) -> str:
    """What happens without the option, as `--help` shows it; empty for flags, and where nothing happens."""
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    default = parameter.get_default(ctx, call=False)
    if default is None or default is False:
        return ""
    return str(
        default.value if isinstance(default, Enum) else f"{default:g}" if isinstance(default, float) else default
    )


def _write_head(command: Any, ctx: Any, formatter: Any) -> None:
    formatter.width = min(shutil.get_terminal_size().columns, MAX_WIDTH)
    formatter.write(f"{typer.style('Usage:', bold=True)} {' '.join([ctx.command_path, *_pieces(command, ctx)])}\n")
    for paragraph in _paragraphs(command):
        formatter.write_paragraph()
        if paragraph.startswith("Examples:"):
            title, _, lines = paragraph.partition("\n")
            formatter.write(f"{typer.style(title, bold=True)}\n")
            formatter.write("".join(f"  {line}\n" for line in inspect.cleandoc(lines).splitlines()))
        else:
            formatter.write_text(paragraph)


def _paragraphs(command: Any) -> list[str]:
    return inspect.cleandoc(command.help or "").split("\n\n")


def _pieces(command: Any, ctx: Any) -> list[str]:
    pieces = ["[OPTIONS]"]
    for parameter in command.get_params(ctx):
        if isinstance(parameter, TyperArgument):
            name = _argument_name(parameter)
            pieces.append(name if parameter.required or name.startswith("[") else f"[{name}]")
    return [*pieces, "COMMAND ..."] if isinstance(command, TyperGroup) else pieces


def _argument_name(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper().rstrip("_")
    return f"{name}..." if parameter.nargs == -1 and "..." not in name else name


def _write_parameters(command: Any, ctx: Any, formatter: Any) -> None:
    groups: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
    for parameter in command.get_params(ctx):
        if isinstance(parameter, TyperArgument):
            groups["Arguments"].append((_argument_name(parameter), _described(parameter, ctx)))
        elif isinstance(parameter, TyperOption):
            names = ", ".join(sorted(parameter.opts, key=len))
            value = "" if parameter.is_flag else f" {_metavar(parameter)}"
            group = groups.setdefault(parameter.rich_help_panel or "Options", [])
            group.append((names + value, _described(parameter, ctx)))
    for title, rows in groups.items():
        _write_rows(formatter, title, rows)


def _metavar(parameter: Any) -> str:
    if parameter.metavar:
        return str(parameter.metavar)
    type_ = parameter.type_descriptor
    if type_.is_choice:
        return "|".join(str(getattr(choice, "value", choice)) for choice in type_.choices)
    return "FILE" if type_.is_path else "TEXT" if type_.annotation is str else "N"


def _described(parameter: Any, ctx: Any) -> str:
    notes = [f"default: {default}"] if (default := default_of(parameter, ctx)) else []
    low, high = parameter.min, parameter.max
    if low is not None or high is not None:
        notes.append(f"{low:g} or more" if high is None else f"{low:g} to {high:g}")
    if parameter.required:
        notes.append("required")
    if parameter.type_descriptor.is_choice and isinstance(parameter, TyperArgument):
        notes.append(_metavar_of_choices(parameter))
    if getattr(parameter, "multiple", False):
        notes.append("repeatable")
    return " ".join([parameter.help or "", *([f"[{'; '.join(notes)}]"] if notes else [])])


def _metavar_of_choices(parameter: Any) -> str:
    return ", ".join(str(getattr(choice, "value", choice)) for choice in parameter.type_descriptor.choices)


def _write_rows(formatter: Any, title: str, rows: list[tuple[str, str]]) -> None:
    if not rows:
        return
    formatter.write_paragraph()
    formatter.write(f"{typer.style(f'{title}:', bold=True)}\n")
    formatter.indent()
    styled = [(typer.style(name, fg="cyan"), " ".join(help.split())) for name, help in rows]
    formatter.write_dl(styled, col_max=28 if formatter.width >= NARROW else 4)
    formatter.dedent()
